package podnetwork

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// routeProtocol marks the routes that are ours; nobody has registered it.
const routeProtocol netlink.RouteProtocol = 89

// setRoutes makes these the only routes of our protocol. It sets as many as it
// can, and returns what failed.
func (n *network) setRoutes(wanted []Route) error {
	var errs []error
	stale, err := ourRoutes()
	if err != nil {
		return err
	}
	for _, route := range wanted {
		if stale[route.To] == route.Via {
			delete(stale, route.To)
			continue
		}
		// Replacing also takes care of an old route to the same place.
		delete(stale, route.To)
		if err := netlink.RouteReplace(route.netlink()); err != nil {
			errs = append(errs, fmt.Errorf("route to %s via %s: %w", route.To, route.Via, err))
			continue
		}
		n.log.Info("route set", "to", route.To, "via", route.Via)
	}
	for to, via := range stale {
		if err := netlink.RouteDel(Route{to, via}.netlink()); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("remove route to %s: %w", to, err))
			continue
		}
		n.log.Info("route removed", "to", to, "via", via)
	}
	return errors.Join(errs...)
}

func (r Route) netlink() *netlink.Route {
	return &netlink.Route{
		Dst:      &net.IPNet{IP: r.To.Addr().AsSlice(), Mask: net.CIDRMask(r.To.Bits(), r.To.Addr().BitLen())},
		Gw:       r.Via.AsSlice(),
		Protocol: routeProtocol,
		Table:    unix.RT_TABLE_MAIN,
	}
}

// ourRoutes returns the gateways of the routes with our protocol.
func ourRoutes() (map[netip.Prefix]netip.Addr, error) {
	out := map[netip.Prefix]netip.Addr{}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		filter := &netlink.Route{Protocol: routeProtocol, Table: unix.RT_TABLE_MAIN}
		routes, err := netlink.RouteListFiltered(family, filter, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
		if err != nil {
			return nil, fmt.Errorf("list routes: %w", err)
		}
		for i := range routes {
			if to, ok := prefixOf(routes[i].Dst); ok {
				via, _ := netip.AddrFromSlice(routes[i].Gw)
				out[to] = via.Unmap()
			}
		}
	}
	return out, nil
}

func prefixOf(ipNet *net.IPNet) (netip.Prefix, bool) {
	if ipNet == nil {
		return netip.Prefix{}, false
	}
	addr, ok := netip.AddrFromSlice(ipNet.IP)
	bits, _ := ipNet.Mask.Size()
	return netip.PrefixFrom(addr.Unmap(), bits), ok
}
