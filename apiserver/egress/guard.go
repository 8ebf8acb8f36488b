// Package egress says where the API server connects to for those who use it,
// and where not: whoever may name an address, in a webhook's configuration or a
// pod's status, must not make the server send requests to what only the server
// can reach. It makes the dialers; it does not know what is sent.
package egress

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// Guard refuses addresses of this machine, of its link, and of metadata
// services. The zero value is the strictest but for Own.
type Guard struct {
	// Own are the addresses at which the API server itself answers.
	Own func(netip.AddrPort) bool
	// Allow lists networks that may be reached in spite of all this.
	Allow []netip.Prefix
	// Flag is the one that adds to Allow; refusals name it.
	Flag string
}

// metadata are addresses at which clouds hand out credentials and that are not
// link-local.
var metadata = []netip.Addr{netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("100.100.100.200"), netip.MustParseAddr("192.0.0.192")}

// Check refuses an address, which is one that is about to be connected to.
func (g Guard) Check(to netip.AddrPort) error {
	address := embedded(to.Addr().Unmap().WithZone(""))
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
	case slices.Contains(metadata, address):
		what = "a metadata service's address"
	case g.Own != nil && g.Own(netip.AddrPortFrom(address, to.Port())):
		what = "the API server's own address"
	default:
		return nil
	}
	return fmt.Errorf("address not allowed: %s is %s; --%s can allow it", to, what, g.Flag)
}

// translated is where RFC 6052 has IPv4 addresses for hosts without IPv4: who can
// reach it can reach these.
var translated = netip.MustParsePrefix("64:ff9b::/96")

// embedded is the IPv4 address that a translated one stands for.
func embedded(address netip.Addr) netip.Addr {
	if !translated.Contains(address) {
		return address
	}
	bytes := address.As16()
	return netip.AddrFrom4([4]byte(bytes[12:]))
}

// Dialer connects to what the guard lets pass. The check is made on the very
// address that is connected to, so that a name which resolves differently a
// second time gains nothing (CVE-2020-8562).
func (g Guard) Dialer() *net.Dialer {
	return &net.Dialer{
		Timeout: 30 * time.Second, KeepAlive: 30 * time.Second,
		ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
			to, err := netip.ParseAddrPort(address)
			if err != nil {
				return err
			}
			return g.Check(to)
		},
	}
}
