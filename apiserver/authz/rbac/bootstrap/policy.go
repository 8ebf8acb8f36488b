// Package bootstrap holds the roles and bindings that every cluster has from
// its first start, those of Kubernetes, as data files; and brings a cluster up
// to them. It refuses to know how roles are decided upon.
package bootstrap

import (
	"embed"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
)

//go:embed *.json gates.tsv
var files embed.FS

// Policy is a set of roles and bindings.
type Policy struct {
	ClusterRoles        []rbacv1.ClusterRole
	ClusterRoleBindings []rbacv1.ClusterRoleBinding
	Roles               []rbacv1.Role
	RoleBindings        []rbacv1.RoleBinding
}

// defaultOn are the gates of gates.tsv that are on unless told otherwise: those
// whose API is stable, and the beta ones that need no API of their own.
var defaultOn = map[string]bool{
	"ClusterTrustBundle":                               true,
	"ComponentFlagz":                                   true,
	"ComponentStatusz":                                 true,
	"DRADeviceTaintRules":                              true,
	"DRADeviceTaints":                                  true,
	"DRAExtendedResource":                              true,
	"DRAResourceClaimGranularStatusAuthorization":      true,
	"DynamicResourceAllocation":                        true,
	"KubeletFineGrainedAuthz":                          true,
	"KubeletServiceAccountTokenForCredentialProviders": true,
	"MultiCIDRServiceAllocator":                        true,
	"PodCertificateRequest":                            true,
	"SELinuxChangePolicy":                              true,
	"StorageVersionMigrator":                           true,
	"VolumeAttributesClass":                            true,
}

// DefaultGates is the answer of a server whose feature gates nobody changed.
func DefaultGates(gate string) bool { return defaultOn[gate] }

// Load reads the policy, without what hangs on feature gates that are off.
func Load(enabled func(gate string) bool) (*Policy, error) {
	gates, err := readGates()
	if err != nil {
		return nil, err
	}
	all, err := readAll()
	if err != nil {
		return nil, err
	}
	kept := &Policy{Roles: all.Roles, RoleBindings: all.RoleBindings}
	dropped := map[string]bool{}
	for _, role := range all.ClusterRoles {
		if role.Rules = gates.rules(role, enabled); gates.roleOff(role.Name, enabled) {
			dropped[role.Name] = true
			continue
		}
		kept.ClusterRoles = append(kept.ClusterRoles, role)
	}
	for _, binding := range all.ClusterRoleBindings {
		if !dropped[binding.RoleRef.Name] {
			kept.ClusterRoleBindings = append(kept.ClusterRoleBindings, binding)
		}
	}
	return kept, nil
}

// NodeRules are the rules of system:node, which is bound to nobody: the node
// authorizer uses them.
func (p *Policy) NodeRules() []rbacv1.PolicyRule {
	for _, role := range p.ClusterRoles {
		if role.Name == "system:node" {
			return role.Rules
		}
	}
	return nil
}

func readAll() (*Policy, error) {
	p := &Policy{}
	for _, name := range []string{"cluster-roles", "controller-roles"} {
		var list rbacv1.ClusterRoleList
		if err := read(name, &list); err != nil {
			return nil, err
		}
		p.ClusterRoles = append(p.ClusterRoles, list.Items...)
	}
	for _, name := range []string{"cluster-role-bindings", "controller-role-bindings"} {
		var list rbacv1.ClusterRoleBindingList
		if err := read(name, &list); err != nil {
			return nil, err
		}
		p.ClusterRoleBindings = append(p.ClusterRoleBindings, list.Items...)
	}
	var roles rbacv1.RoleList
	if err := read("namespace-roles", &roles); err != nil {
		return nil, err
	}
	var bindings rbacv1.RoleBindingList
	if err := read("namespace-role-bindings", &bindings); err != nil {
		return nil, err
	}
	p.Roles, p.RoleBindings = roles.Items, bindings.Items
	return p, nil
}

func read(name string, into any) error {
	data, err := files.ReadFile(name + ".json")
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s.json: %w", name, err)
	}
	return nil
}

// gateSet says which gates roles and single rules hang on.
type gateSet struct {
	roles map[string]string
	rule  map[string]map[int]string // role → index of the rule → gate
}

func readGates() (*gateSet, error) {
	file, err := files.Open("gates.tsv")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	lines := csv.NewReader(file)
	lines.Comma = '\t'
	records, err := lines.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("gates.tsv: %w", err)
	}
	set := &gateSet{roles: map[string]string{}, rule: map[string]map[int]string{}}
	for _, record := range records[1:] {
		role, ruleGate, roleGate := record[0], record[2], record[3]
		index, err := strconv.Atoi(record[1])
		if err != nil {
			return nil, fmt.Errorf("gates.tsv: rule of %s: %w", role, err)
		}
		if roleGate != "" {
			set.roles[role] = roleGate
		}
		if ruleGate != "" {
			if set.rule[role] == nil {
				set.rule[role] = map[int]string{}
			}
			set.rule[role][index] = ruleGate
		}
	}
	return set, nil
}

func (s *gateSet) roleOff(role string, enabled func(string) bool) bool {
	return !allOn(s.roles[role], enabled)
}

// rules drops what is gated off. A rule whose gate is marked as appended adds
// its paths to the rule before it.
func (s *gateSet) rules(role rbacv1.ClusterRole, enabled func(string) bool) []rbacv1.PolicyRule {
	var kept []rbacv1.PolicyRule
	for i, rule := range role.Rules {
		gate, _, appended := strings.Cut(s.rule[role.Name][i], " (appended")
		switch {
		case !allOn(gate, enabled):
		case appended && len(kept) > 0:
			last := &kept[len(kept)-1]
			last.NonResourceURLs = append(last.NonResourceURLs, rule.NonResourceURLs...)
		default:
			kept = append(kept, rule)
		}
	}
	return kept
}

// allOn understands "A+B"; no gate is on.
func allOn(gates string, enabled func(string) bool) bool {
	if gates == "" {
		return true
	}
	for _, gate := range strings.Split(gates, "+") {
		if !enabled(gate) {
			return false
		}
	}
	return true
}
