package addresses

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
)

func ParsePrefixes(flag string, texts []string) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	for _, text := range texts {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", flag, err)
		}
		prefixes = append(prefixes, prefix.Masked())
	}
	return prefixes, nil
}

// nth returns the address at an offset into a range: the first is the API
// server's service, the tenth is DNS.
func Nth(prefix netip.Prefix, offset int) (netip.Addr, error) {
	address := prefix.Addr()
	for range offset {
		address = address.Next()
	}
	if !prefix.Contains(address) {
		return netip.Addr{}, fmt.Errorf("the range %s has no address number %d", prefix, offset)
	}
	return address, nil
}

// Host is the address by which others on the network know this machine:
// the one it would send from, or the first that is not loopback.
func Host() (netip.Addr, error) {
	// Connecting a datagram socket sends nothing; it makes the kernel choose.
	if conn, err := net.Dial("udp", "192.0.2.1:9"); err == nil {
		defer conn.Close()
		address := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
		if !address.IsLoopback() {
			return address, nil
		}
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Addr{}, err
	}
	for _, a := range addresses {
		prefix, err := netip.ParsePrefix(a.String())
		if err == nil && prefix.Addr().IsGlobalUnicast() {
			return prefix.Addr(), nil
		}
	}
	return netip.Addr{}, errors.New("this machine has no address but loopback: name one with --node-ip")
}

// Local are all addresses of this machine.
func Local() ([]netip.Addr, error) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, a := range addresses {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, prefix.Addr().Unmap())
		}
	}
	return out, nil
}
