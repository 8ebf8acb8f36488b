// Package guard keeps the API server from connecting, on behalf of who may name
// a webhook, to what only the API server can reach.
package guard

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// Guard says where connections to webhooks, of admission and of conversion, may
// not go.
type Guard struct {
	// Own are the addresses at which the API server itself answers.
	Own func(netip.AddrPort) bool
	// Allow lists networks that may be reached in spite of all this.
	Allow []netip.Prefix
}

// metadata are addresses at which clouds hand out credentials and that are not
// link-local.
var metadata = []netip.Addr{netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("100.100.100.200"), netip.MustParseAddr("192.0.0.192")}

// check refuses an address, which is one that is about to be connected to.
func (g Guard) check(to netip.AddrPort) error {
	address := to.Addr().Unmap().WithZone("")
	for _, allowed := range g.Allow {
		if allowed.Contains(address) {
			return nil
		}
	}
	what := ""
	switch {
	case address.IsLoopback():
		what = "a loopback address"
	case address.IsUnspecified():
		what = "no address"
	case address.IsLinkLocalUnicast():
		what = "a link-local address"
	case address.IsMulticast():
		what = "a multicast address"
	case isMetadata(address):
		what = "a metadata service's address"
	case g.Own != nil && g.Own(netip.AddrPortFrom(address, to.Port())):
		what = "the API server's own address"
	default:
		return nil
	}
	return fmt.Errorf("webhooks may not be at %s, which is %s; --admission-webhook-allowed-networks can allow it", to, what)
}

func isMetadata(address netip.Addr) bool {
	for _, m := range metadata {
		if m == address {
			return true
		}
	}
	return false
}

// Dialer connects to what the guard lets pass. The check is made on the very
// address that is connected to, so that a name which resolves differently a
// second time gains nothing.
func (g Guard) Dialer() *net.Dialer {
	return &net.Dialer{
		Timeout: 30 * time.Second, KeepAlive: 30 * time.Second,
		ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(address)
			if err != nil {
				return err
			}
			return g.check(to)
		},
	}
}
