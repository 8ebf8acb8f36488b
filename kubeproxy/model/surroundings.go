package model

import "net/netip"

// Surroundings are what the rules of a node depend on beside services.
type Surroundings struct {
	// NodeAddrs are where node ports answer.
	NodeAddrs []netip.Addr
	// ServiceNetworks are the ranges from which services get their addresses.
	// What is sent to an address there that no service has is dropped: let
	// through, it would leave the kernel with a connection that is never
	// translated, in the way of a later one from the same port once the
	// address belongs to a service.
	ServiceNetworks []netip.Prefix
}
