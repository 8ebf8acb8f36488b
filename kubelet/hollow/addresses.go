package hollow

import (
	"errors"
	"net/netip"
	"strings"
)

// errNoAddress says that all addresses of the range are taken.
var errNoAddress = errors.New("all pod addresses are in use")

// addresses hands out the addresses of a range, the one that was free for the
// longest time first.
type addresses struct {
	prefix netip.Prefix
	// last is the address handed out most recently.
	last netip.Addr
	used map[netip.Addr]bool
}

func firstPrefix(cidrs string) (netip.Prefix, error) {
	first, _, _ := strings.Cut(cidrs, ",")
	prefix, err := netip.ParsePrefix(strings.TrimSpace(first))
	return prefix.Masked(), err
}

// use changes the range; addresses that are taken stay taken.
func (a *addresses) use(prefix netip.Prefix) {
	if prefix != a.prefix {
		a.prefix, a.last = prefix, netip.Addr{}
	}
}

// take returns a free address, or none where there is no range.
func (a *addresses) take() (netip.Addr, error) {
	if !a.prefix.IsValid() {
		return netip.Addr{}, nil
	}
	// The first addresses are the network's and, by custom, the gateway's.
	first := a.prefix.Addr().Next().Next()
	next := first
	if a.last.IsValid() {
		next = a.last.Next()
	}
	// One of len(used)+2 addresses in a row must be free, be the end of the
	// range among them or not.
	for range len(a.used) + 2 {
		if !a.prefix.Contains(next) || isBroadcast(a.prefix, next) {
			next = first
		}
		if !a.prefix.Contains(next) || isBroadcast(a.prefix, next) {
			break
		}
		if !a.used[next] {
			a.used[next], a.last = true, next
			return next, nil
		}
		next = next.Next()
	}
	return netip.Addr{}, errNoAddress
}

func (a *addresses) release(address netip.Addr) { delete(a.used, address) }

func isBroadcast(prefix netip.Prefix, address netip.Addr) bool {
	return address.Is4() && !prefix.Contains(address.Next())
}
