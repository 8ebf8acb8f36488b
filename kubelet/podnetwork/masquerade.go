package podnetwork

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"sigs.k8s.io/knftables"
)

// tableName is the name of our nftables tables, in families ip and ip6.
const tableName = "yare-pod-network"

// setMasquerade gives what this node's pods send out of the cluster the node's
// address, and leaves all other traffic alone.
func (n *network) setMasquerade(ctx context.Context, plan Plan) error {
	var errs []error
	for _, family := range []knftables.Family{knftables.IPv4Family, knftables.IPv6Family} {
		rules := masqueradeRules(family, n.bridge, plan)
		if written := strings.Join(rules, "\n"); n.masquerade[family] != written {
			if err := replaceTable(ctx, family, rules); err != nil {
				errs = append(errs, fmt.Errorf("masquerading for %s: %w", family, err))
				continue
			}
			n.masquerade[family] = written
		}
	}
	return errors.Join(errs...)
}

// masqueradeRules returns none where the plan has no pods of the family, or
// does not say where the cluster ends.
func masqueradeRules(family knftables.Family, bridge string, plan Plan) []string {
	v4 := family == knftables.IPv4Family
	ours, cluster := ofFamily(plan.PodCIDRs, v4), ofFamily(plan.Cluster, v4)
	if len(ours) == 0 || len(cluster) == 0 {
		return nil
	}
	multicast := "ff00::/8"
	if v4 {
		multicast = "224.0.0.0/4"
	}
	inside := strings.Join(append(cluster, multicast), ", ")
	return []string{fmt.Sprintf("%s saddr %s %s daddr != { %s } oifname != %q masquerade fully-random", family, ours[0], family, inside, bridge)}
}

func ofFamily(prefixes []netip.Prefix, v4 bool) []string {
	var out []string
	for _, prefix := range prefixes {
		if prefix.Addr().Is4() == v4 {
			out = append(out, prefix.String())
		}
	}
	return out
}

// replaceTable replaces our table of the family in one transaction; without
// rules, it removes it.
func replaceTable(ctx context.Context, family knftables.Family, rules []string) error {
	nft, err := knftables.New(family, tableName)
	if err != nil {
		return err
	}
	tx := nft.NewTransaction()
	tx.Add(&knftables.Table{})
	tx.Delete(&knftables.Table{})
	if len(rules) > 0 {
		tx.Add(&knftables.Table{Comment: knftables.PtrTo("pod traffic that leaves the cluster")})
		tx.Add(&knftables.Chain{Name: "postrouting", Type: knftables.PtrTo(knftables.NATType),
			Hook: knftables.PtrTo(knftables.PostroutingHook), Priority: knftables.PtrTo(knftables.SNATPriority)})
		for _, rule := range rules {
			tx.Add(&knftables.Rule{Chain: "postrouting", Rule: rule})
		}
	}
	return nft.Run(ctx, tx)
}
