package podnetwork

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"sigs.k8s.io/knftables"
)

// network changes this machine. Not safe for concurrent use.
type network struct {
	log              *slog.Logger
	bridge           string
	confDir, ipamDir string
	mtu              int
	// masquerade is what was last written to the tables.
	masquerade map[knftables.Family]string
}

func newNetwork(cfg *Config) *network {
	return &network{log: cfg.Logger, bridge: cfg.BridgeName, confDir: cfg.CNIConfDir, ipamDir: cfg.IPAMDir, mtu: cfg.MTU,
		masquerade: map[knftables.Family]string{}}
}

// apply makes the machine as the plan says, as far as it can. The CNI
// configuration comes last: when it is there, pods can start.
func (n *network) apply(ctx context.Context, plan Plan) error {
	err := errors.Join(n.setKernel(ctx), n.setRoutes(plan.Routes), n.setMasquerade(ctx, plan), n.allowForwarding(ctx))
	if len(plan.PodCIDRs) == 0 {
		return err
	}
	return errors.Join(err, n.writeConflist(plan.PodCIDRs))
}

// remove takes back all that apply did, but kernel settings, which others may
// rely on by now, and what is left of the bridge's pods.
func (n *network) remove(ctx context.Context) error {
	errs := []error{n.removeConflist(), n.setRoutes(nil), n.disallowForwarding(ctx)}
	for _, family := range []knftables.Family{knftables.IPv4Family, knftables.IPv6Family} {
		if err := replaceTable(ctx, family, nil); err != nil {
			errs = append(errs, fmt.Errorf("remove table for %s: %w", family, err))
		}
	}
	return errors.Join(append(errs, n.removeBridge(), n.forgetAddresses())...)
}

func (n *network) removeBridge() error {
	link, err := netlink.LinkByName(n.bridge)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find bridge %s: %w", n.bridge, err)
	}
	if err := netlink.LinkDel(link); err != nil {
		return fmt.Errorf("remove bridge %s: %w", n.bridge, err)
	}
	return nil
}

func (n *network) forgetAddresses() error {
	if err := os.RemoveAll(filepath.Join(n.ipamDir, n.bridge)); err != nil {
		return fmt.Errorf("forget pod addresses: %w", err)
	}
	return nil
}
