package nftables

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"sigs.k8s.io/knftables"

	"github.com/yare-io/yare/kubeproxy/model"
)

// TableName is the name of the tables, in families ip and ip6.
const TableName = "kube-proxy"

// DefaultMasqueradeBit is the bit of the packet mark that asks for masquerading.
const DefaultMasqueradeBit = 14

// Config sets the backend up.
type Config struct {
	// PodNetworks are the cluster's pod CIDRs. Traffic to cluster IPs from
	// elsewhere is masqueraded; without any, only hairpin traffic is.
	PodNetworks []netip.Prefix
	// MasqueradeAll masquerades all traffic to cluster IPs.
	MasqueradeAll bool
	// MasqueradeBit is the bit of the mark to use, 0 to 31; 0 means 14.
	MasqueradeBit int
	// Families to handle; both if empty.
	Families []model.Family
}

// Backend is the pair of tables. Not safe for concurrent use.
type Backend struct{ tables map[model.Family]*table }

// New checks that nft works for the families and returns a backend that has
// not touched anything yet; the first call must be Reset.
func New(cfg Config) (*Backend, error) {
	bit := cfg.MasqueradeBit
	if bit == 0 {
		bit = DefaultMasqueradeBit
	}
	if bit < 0 || bit > 31 {
		return nil, fmt.Errorf("masquerade bit %d is not within 0..31", bit)
	}
	families := cfg.Families
	if len(families) == 0 {
		families = []model.Family{model.IPv4, model.IPv6}
	}
	b := &Backend{tables: map[model.Family]*table{}}
	for _, family := range families {
		nft, err := knftables.New(nftFamily(family), TableName)
		if err != nil {
			return nil, fmt.Errorf("nftables for IPv%d: %w", family, err)
		}
		b.tables[family] = newTable(nft, family, cfg, 1<<bit)
	}
	return b, nil
}

func newTable(nft knftables.Interface, family model.Family, cfg Config, mark uint32) *table {
	t := &table{nft: nft, mark: mark, renderer: renderer{ip: string(nftFamily(family)), masqueradeAll: cfg.MasqueradeAll}}
	for _, prefix := range cfg.PodNetworks {
		if model.FamilyOf(prefix.Addr()) == family {
			t.renderer.pods = append(t.renderer.pods, prefix)
		}
	}
	return t
}

func nftFamily(family model.Family) knftables.Family {
	if family == model.IPv6 {
		return knftables.IPv6Family
	}
	return knftables.IPv4Family
}

// Reset replaces whatever is in the tables, each in one transaction.
func (b *Backend) Reset(ctx context.Context, rules []model.Rule, around model.Surroundings) error {
	var errs []error
	for family, t := range b.tables {
		var own []model.Rule
		for i := range rules {
			if rules[i].Family == family {
				own = append(own, rules[i])
			}
		}
		if err := t.reset(ctx, own, ofFamily(around, family)); err != nil {
			errs = append(errs, fmt.Errorf("replace nftables table for IPv%d: %w", family, err))
		}
	}
	return errors.Join(errs...)
}

// Apply makes the changes, and nothing else, in one transaction for each
// family. After an error, Reset MUST be the next call.
func (b *Backend) Apply(ctx context.Context, changes []model.Change, around model.Surroundings) error {
	var errs []error
	for family, t := range b.tables {
		var own []model.Change
		for _, change := range changes {
			if change.Key().Family == family {
				own = append(own, change)
			}
		}
		if err := t.apply(ctx, own, ofFamily(around, family)); err != nil {
			errs = append(errs, fmt.Errorf("change nftables table for IPv%d: %w", family, err))
		}
	}
	return errors.Join(errs...)
}

func ofFamily(around model.Surroundings, family model.Family) model.Surroundings {
	var own model.Surroundings
	for _, addr := range around.NodeAddrs {
		if model.FamilyOf(addr) == family {
			own.NodeAddrs = append(own.NodeAddrs, addr)
		}
	}
	for _, network := range around.ServiceNetworks {
		if model.FamilyOf(network.Addr()) == family {
			own.ServiceNetworks = append(own.ServiceNetworks, network)
		}
	}
	return own
}

// Cleanup removes both tables. It does nothing where they do not exist.
func Cleanup(ctx context.Context) error {
	var errs []error
	for _, family := range []knftables.Family{knftables.IPv4Family, knftables.IPv6Family} {
		nft, err := knftables.New(family, TableName)
		if err != nil {
			errs = append(errs, fmt.Errorf("nftables for %s: %w", family, err))
			continue
		}
		tx := nft.NewTransaction()
		tx.Add(&knftables.Table{})
		tx.Delete(&knftables.Table{})
		if err := nft.Run(ctx, tx); err != nil {
			errs = append(errs, fmt.Errorf("remove nftables table for %s: %w", family, err))
		}
	}
	return errors.Join(errs...)
}
