package nftables

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"net/netip"
	"strings"

	"github.com/yare-io/yare/kubeproxy/model"
)

// Names of maps and sets in the table.
const (
	serviceIPs          = "service-ips"
	serviceNodePorts    = "service-nodeports"
	noEndpointServices  = "no-endpoint-services"
	noEndpointNodePorts = "no-endpoint-nodeports"
	firewallIPs         = "firewall-ips"
	clusterIPs          = "cluster-ips"
	nodePortIPs         = "nodeport-ips"
)

// Names of chains that other chains jump to.
const (
	masqueradeChain = "mark-for-masquerade"
	rejectChain     = "reject-chain"
	// unallocatedChain sees what is sent to addresses of services and met none.
	unallocatedChain = "unallocated-ips"
)

// objects are what one rule of the model contributes to the table. They share
// no name with those of any other rule, but for elements.
type objects struct {
	// chains maps names to rules.
	chains map[string][]string
	// affinity maps names of sets of clients to seconds.
	affinity map[string]int
	elements map[element]string
}

// element is a key of a map or set; its value, "" in sets, is a verdict.
type element struct {
	container string
	// key has its parts joined by " . ", as nft writes them.
	key string
}

// renderer holds what rules depend on beside the model.
type renderer struct {
	// ip is "ip" or "ip6".
	ip string
	// pods are the cluster's pod networks in this family.
	pods          []netip.Prefix
	masqueradeAll bool
}

// render returns what the rule contributes.
func (r renderer) render(rule *model.Rule) objects {
	o := objects{chains: map[string][]string{}, affinity: map[string]int{}, elements: map[element]string{}}
	names := newNames(rule)
	r.renderEndpoints(&o, rule, names)
	o.elements[element{clusterIPs, rule.ClusterIP.String()}] = ""
	r.renderInternal(&o, rule, names)
	if rule.HasExternal() {
		r.renderExternal(&o, rule, names)
	}
	return o
}

// names are the names of a rule's chains.
type names struct{ base, cluster, local, external, firewall string }

func newNames(rule *model.Rule) names {
	key := rule.Service.String() + "/" + strings.ToLower(string(rule.Protocol)) + "/" + rule.PortName
	sum := sha256.Sum256([]byte(key))
	base := base32.StdEncoding.EncodeToString(sum[:])[:8] + "-" + key
	return names{base: base, cluster: "service-" + base, local: "local-" + base, external: "external-" + base, firewall: "firewall-" + base}
}

func (n names) endpoint(addr netip.AddrPort) string {
	return fmt.Sprintf("endpoint-%s__%s/%d", n.base, strings.ReplaceAll(addr.Addr().String(), ":", "."), addr.Port())
}

// affinity has the time in its name, because a set's cannot be changed.
func (n names) affinity(addr netip.AddrPort, seconds int) string {
	return fmt.Sprintf("affinity-%s__%s/%d/%ds", n.base, strings.ReplaceAll(addr.Addr().String(), ":", "."), addr.Port(), seconds)
}

// renderEndpoints makes a chain for each endpoint, and one for each choice
// among them.
func (r renderer) renderEndpoints(o *objects, rule *model.Rule, n names) {
	for _, endpoints := range [][]netip.AddrPort{rule.ClusterEndpoints, rule.LocalEndpoints} {
		for _, addr := range endpoints {
			r.renderEndpoint(o, rule, n, addr)
		}
	}
	if len(rule.ClusterEndpoints) > 0 {
		o.chains[n.cluster] = r.choice(rule, n, rule.ClusterEndpoints)
	}
	if len(rule.LocalEndpoints) > 0 {
		o.chains[n.local] = r.choice(rule, n, rule.LocalEndpoints)
	}
}

func (r renderer) renderEndpoint(o *objects, rule *model.Rule, n names, addr netip.AddrPort) {
	rules := []string{fmt.Sprintf("%s saddr %s jump %s", r.ip, addr.Addr(), masqueradeChain)}
	if rule.AffinitySeconds > 0 {
		set := n.affinity(addr, rule.AffinitySeconds)
		o.affinity[set] = rule.AffinitySeconds
		rules = append(rules, fmt.Sprintf("update @%s { %s saddr }", set, r.ip))
	}
	rules = append(rules, fmt.Sprintf("meta l4proto %s dnat to %s", protocol(rule), addr))
	o.chains[n.endpoint(addr)] = rules
}

func protocol(rule *model.Rule) string { return strings.ToLower(string(rule.Protocol)) }

// choice sends a client back to where it was, with affinity, else anywhere.
func (r renderer) choice(rule *model.Rule, n names, endpoints []netip.AddrPort) []string {
	var rules []string
	if rule.AffinitySeconds > 0 {
		for _, addr := range endpoints {
			rules = append(rules, fmt.Sprintf("%s saddr @%s goto %s", r.ip, n.affinity(addr, rule.AffinitySeconds), n.endpoint(addr)))
		}
	}
	if len(endpoints) == 1 {
		return append(rules, "goto "+n.endpoint(endpoints[0]))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "numgen random mod %d vmap {", len(endpoints))
	for i, addr := range endpoints {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, " %d : goto %s", i, n.endpoint(addr))
	}
	b.WriteString(" }")
	return append(rules, b.String())
}

func (r renderer) renderInternal(o *objects, rule *model.Rule, n names) {
	target := element{serviceIPs, frontend(rule.ClusterIP, rule, rule.Port)}
	if len(rule.InternalEndpoints()) == 0 {
		target.container = noEndpointServices
		o.elements[target] = refusal(rule.InternalLocal && rule.HasEndpoints)
		return
	}
	chain := n.cluster
	if rule.InternalLocal {
		chain = n.local
	}
	o.elements[target] = "goto " + chain
	if from := r.foreigners(); from != "" {
		masquerade := fmt.Sprintf("%s daddr %s %s dport %d%s jump %s", r.ip, rule.ClusterIP, protocol(rule), rule.Port, from, masqueradeChain)
		o.chains[chain] = append([]string{masquerade}, o.chains[chain]...)
	}
}

// foreigners matches sources whose traffic to cluster IPs must look as if it
// came from this node; "" for none.
func (r renderer) foreigners() string {
	if r.masqueradeAll {
		return " "
	}
	if len(r.pods) == 0 {
		return ""
	}
	return fmt.Sprintf(" %s saddr != %s", r.ip, setOf(r.pods))
}

func setOf(prefixes []netip.Prefix) string {
	texts := make([]string, len(prefixes))
	for i, prefix := range prefixes {
		texts[i] = prefix.String()
	}
	return "{ " + strings.Join(texts, ", ") + " }"
}

func frontend(addr netip.Addr, rule *model.Rule, port uint16) string {
	return fmt.Sprintf("%s . %s . %d", addr, protocol(rule), port)
}

// refusal drops what endpoints on other nodes may still answer, by another
// way, and rejects at once what nobody can.
func refusal(elsewhere bool) string {
	if elsewhere {
		return "drop"
	}
	return "goto " + rejectChain
}

func (r renderer) renderExternal(o *objects, rule *model.Rule, n names) {
	rules := r.externalRules(rule, n)
	unanswered := len(rule.ExternalEndpoints()) == 0
	refuse := refusal(rule.ExternalLocal && rule.HasEndpoints)
	add := func(services, refusals, key string) {
		if len(rules) > 0 {
			o.elements[element{services, key}] = "goto " + n.external
		}
		if unanswered {
			o.elements[element{refusals, key}] = refuse
		}
	}
	if len(rules) > 0 {
		o.chains[n.external] = rules
	}
	if rule.NodePort != 0 {
		add(serviceNodePorts, noEndpointNodePorts, fmt.Sprintf("%s . %d", protocol(rule), rule.NodePort))
	}
	for _, addr := range rule.ExternalIPs {
		add(serviceIPs, noEndpointServices, frontend(addr, rule, rule.Port))
	}
	for _, addr := range rule.LoadBalancerIPs {
		add(serviceIPs, noEndpointServices, frontend(addr, rule, rule.Port))
		if rule.Sources != nil {
			o.elements[element{firewallIPs, frontend(addr, rule, rule.Port)}] = "goto " + n.firewall
			o.chains[n.firewall] = r.firewall(rule.Sources)
		}
	}
}

// externalRules treat traffic from pods and from this node, which stays inside
// the cluster, as internal even when the policy keeps outside traffic local.
func (r renderer) externalRules(rule *model.Rule, n names) []string {
	if !rule.ExternalLocal {
		if len(rule.ClusterEndpoints) == 0 {
			return nil
		}
		return []string{"jump " + masqueradeChain, "goto " + n.cluster}
	}
	var rules []string
	if len(rule.ClusterEndpoints) > 0 {
		if len(r.pods) > 0 {
			rules = append(rules, fmt.Sprintf("%s saddr %s goto %s", r.ip, setOf(r.pods), n.cluster))
		}
		rules = append(rules, "fib saddr type local jump "+masqueradeChain, "fib saddr type local goto "+n.cluster)
	}
	if len(rule.LocalEndpoints) > 0 {
		rules = append(rules, "goto "+n.local)
	}
	return rules
}

func (r renderer) firewall(sources []netip.Prefix) []string {
	if len(sources) == 0 {
		return []string{"drop"}
	}
	return []string{fmt.Sprintf("%s saddr != %s drop", r.ip, setOf(sources))}
}
