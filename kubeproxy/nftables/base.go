package nftables

import (
	"fmt"

	"sigs.k8s.io/knftables"
)

// baseChain is a chain that the kernel calls.
type baseChain struct {
	name     string
	kind     knftables.BaseChainType
	hook     knftables.BaseChainHook
	priority knftables.BaseChainPriority
	rules    []string
}

// Source ranges are checked against the address that the client used, so before
// destination NAT. What has no endpoint is refused after it: whatever was not
// translated by then still has the service's address.
const beforeDNAT = knftables.DNATPriority + "-10"

func baseChains() []baseChain {
	refuse := []string{"ct state new jump no-endpoints"}
	return []baseChain{
		{"nat-prerouting", knftables.NATType, knftables.PreroutingHook, knftables.DNATPriority, []string{"jump services"}},
		{"nat-output", knftables.NATType, knftables.OutputHook, knftables.DNATPriority, []string{"jump services"}},
		{"nat-postrouting", knftables.NATType, knftables.PostroutingHook, knftables.SNATPriority, []string{"jump masquerading"}},
		{"filter-prerouting-pre-dnat", knftables.FilterType, knftables.PreroutingHook, beforeDNAT, []string{"ct state new jump firewall-check"}},
		{"filter-output-pre-dnat", knftables.FilterType, knftables.OutputHook, beforeDNAT, []string{"ct state new jump firewall-check"}},
		{"filter-input", knftables.FilterType, knftables.InputHook, knftables.FilterPriority, refuse},
		{"filter-forward", knftables.FilterType, knftables.ForwardHook, knftables.FilterPriority, refuse},
		{"filter-output", knftables.FilterType, knftables.OutputHook, knftables.FilterPriority, refuse},
	}
}

// plainChains are called by the base chains and by those of services.
func (t *table) plainChains() map[string][]string {
	ip, mark := t.renderer.ip, fmt.Sprintf("%#x", t.mark)
	frontend := ip + " daddr . meta l4proto . th dport vmap @"
	nodePort := ip + " daddr @" + nodePortIPs + " meta l4proto . th dport vmap @"
	return map[string][]string{
		"services":       {frontend + serviceIPs, nodePort + serviceNodePorts},
		"firewall-check": {frontend + firewallIPs},
		"no-endpoints": {
			frontend + noEndpointServices,
			nodePort + noEndpointNodePorts,
			ip + " daddr @" + clusterIPs + " reject",
			"jump " + unallocatedChain,
		},
		unallocatedChain: nil,
		rejectChain:      {"reject"},
		masqueradeChain:  {"meta mark set meta mark or " + mark},
		"masquerading": {
			"meta mark and " + mark + " == 0 return",
			"meta mark set meta mark xor " + mark,
			"masquerade fully-random",
		},
	}
}

// begin makes tx start from an empty table with everything but services.
func (t *table) begin(tx *knftables.Transaction) {
	tx.Add(&knftables.Table{})
	tx.Delete(&knftables.Table{})
	tx.Add(&knftables.Table{Comment: knftables.PtrTo("rules for kube-proxy")})
	address := t.addressType()
	for _, name := range []string{clusterIPs, nodePortIPs} {
		tx.Add(&knftables.Set{Name: name, Type: address})
	}
	for _, name := range []string{serviceIPs, noEndpointServices, firewallIPs} {
		tx.Add(&knftables.Map{Name: name, Type: address + " . inet_proto . inet_service : verdict"})
	}
	for _, name := range []string{serviceNodePorts, noEndpointNodePorts} {
		tx.Add(&knftables.Map{Name: name, Type: "inet_proto . inet_service : verdict"})
	}
	plain := t.plainChains()
	for _, name := range sortedKeys(plain) {
		tx.Add(&knftables.Chain{Name: name})
	}
	for _, name := range sortedKeys(plain) {
		addRules(tx, name, plain[name])
	}
	for _, chain := range baseChains() {
		tx.Add(&knftables.Chain{Name: chain.name, Type: &chain.kind, Hook: &chain.hook, Priority: &chain.priority})
		addRules(tx, chain.name, chain.rules)
	}
}

func (t *table) addressType() string {
	if t.renderer.ip == "ip6" {
		return "ipv6_addr"
	}
	return "ipv4_addr"
}

func addRules(tx *knftables.Transaction, chain string, rules []string) {
	for _, rule := range rules {
		tx.Add(&knftables.Rule{Chain: chain, Rule: rule})
	}
}
