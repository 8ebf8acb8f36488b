package core_test

import (
	"fmt"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/yare-io/yare/apiserver/allocation"
	"github.com/yare-io/yare/apiserver/api/core"
	"github.com/yare-io/yare/apiserver/api/rowtest"
	"github.com/yare-io/yare/apiserver/registry"
	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/memory"
)

const service = `
metadata: {name: web, namespace: default}
spec: {selector: {app: web}, ports: [{port: 80}]}
`

func serviceRow(t *testing.T, networks ...string) (*registry.Resource, storage.Store) {
	t.Helper()
	store := memory.New(memory.Config{})
	t.Cleanup(func() { store.Close() })
	if len(networks) == 0 {
		networks = []string{"10.96.0.0/24"}
	}
	var prefixes []netip.Prefix
	for _, n := range networks {
		prefixes = append(prefixes, netip.MustParsePrefix(n))
	}
	from, err := allocation.New(allocation.Config{Store: store, Networks: prefixes})
	if err != nil {
		t.Fatal(err)
	}
	return rowtest.Row(t, core.Resources(core.Deps{Services: from}), "services"), store
}

// write takes a service through the row as a request does; old is nil on
// create.
func write(t *testing.T, r *registry.Resource, s, old *corev1.Service, written bool) error {
	t.Helper()
	var done func(bool)
	var err error
	if old == nil {
		if errs := rowtest.Create(r, s); len(errs) > 0 {
			return errs.ToAggregate()
		}
		done, err = r.Strategy.Allocate(t.Context(), s, nil, false)
	} else {
		if errs := rowtest.Update(&r.Strategy, s, old); len(errs) > 0 {
			return errs.ToAggregate()
		}
		done, err = r.Strategy.Allocate(t.Context(), s, old, false)
	}
	if err != nil {
		return err
	}
	done(written)
	return nil
}

func made(t *testing.T, r *registry.Resource, change string) *corev1.Service {
	t.Helper()
	s := rowtest.Object(t, r, service, change).(*corev1.Service)
	if err := write(t, r, s, nil, true); err != nil {
		t.Fatal(err)
	}
	return s
}

// held is how many addresses the store has locked.
func held(t *testing.T, store storage.Store) int {
	t.Helper()
	list, err := store.List(t.Context(), storage.ListRequest{Prefix: "/registry/ipaddresses/"})
	if err != nil {
		t.Fatal(err)
	}
	return len(list.KVs)
}

func TestServiceRules(t *testing.T) {
	r, _ := serviceRow(t)
	rowtest.Creates(t, r, service, rowtest.Cases{
		{"no port", "spec: {ports: []}", []string{"Required spec.ports"}},
		{"headless without a port", "spec: {ports: [], clusterIP: None}", nil},
		{"two ports without names", "spec: {ports: [{port: 80}, {port: 81}]}", []string{"Required spec.ports[0].name", "Required spec.ports[1].name"}},
		{"a port twice", "spec: {ports: [{name: a, port: 80}, {name: b, port: 80}]}", []string{"Duplicate spec.ports[1]"}},
		{"port out of range", "spec: {ports: [{port: 0, targetPort: 1}]}", []string{"Invalid spec.ports[0].port"}},
		{"bad protocol", "spec: {ports: [{port: 80, protocol: ICMP}]}", []string{"NotSupported spec.ports[0].protocol"}},
		{"bad target port", "spec: {ports: [{port: 80, targetPort: Not-A-Name}]}", []string{"Invalid spec.ports[0].targetPort"}},
		{"bad type", "spec: {type: Magic}", []string{"NotSupported spec.type"}},
		{"node port of a cluster IP", "spec: {ports: [{port: 80, nodePort: 30000}]}", []string{"Forbidden spec.ports[0].nodePort"}},
		{"headless load balancer", "spec: {type: LoadBalancer, clusterIP: None}", []string{"Invalid spec.clusterIPs[0]"}},
		{"the kubelet's port to the world", "spec: {type: LoadBalancer, ports: [{port: 10250}]}", []string{"Invalid spec.ports[0]"}},
		{"external name without a name", "spec: {type: ExternalName}", []string{"Required spec.externalName"}},
		{"external name with an address", "spec: {type: ExternalName, externalName: a.b, clusterIP: 10.96.0.1}", []string{"Forbidden spec.clusterIPs"}},
		{"bad affinity", "spec: {sessionAffinity: Cookie}", []string{"NotSupported spec.sessionAffinity"}},
		{"affinity for ever", "spec: {sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 86401}}}", []string{"Invalid spec.sessionAffinityConfig.clientIP.timeoutSeconds"}},
		{"bad address", "spec: {clusterIP: 10.96.0.300}", []string{"Invalid spec.clusterIPs[0]"}},
		{"two addresses of a family", "spec: {clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1, 10.96.0.2], ipFamilyPolicy: PreferDualStack}", []string{"Invalid spec.clusterIPs"}},
		{"first address is another", "spec: {clusterIP: 10.96.0.1, clusterIPs: [10.96.0.2]}", []string{"Invalid spec.clusterIPs"}},
		{"two families on one stack", "spec: {ipFamilies: [IPv4, IPv6]}", []string{"Invalid spec.ipFamilyPolicy"}},
		{"loopback from outside", "spec: {externalIPs: [127.0.0.1]}", []string{"Invalid spec.externalIPs[0]"}},
		{"traffic policy of the inside", "spec: {externalTrafficPolicy: Local}", []string{"Invalid spec.externalTrafficPolicy"}},
		{"health port of the inside", "spec: {healthCheckNodePort: 30000}", []string{"Invalid spec.healthCheckNodePort"}},
		{"source ranges of the inside", "spec: {loadBalancerSourceRanges: [10.0.0.0/8]}", []string{"Forbidden spec.LoadBalancerSourceRanges"}},
		{"bad distribution", "spec: {trafficDistribution: Far}", []string{"NotSupported spec.trafficDistribution"}},
	})
}

func TestServiceGetsAnAddress(t *testing.T) {
	r, store := serviceRow(t)
	s := made(t, r, "")
	if s.Spec.ClusterIP == "" || len(s.Spec.ClusterIPs) != 1 || s.Spec.ClusterIPs[0] != s.Spec.ClusterIP {
		t.Errorf("addresses %q, %q", s.Spec.ClusterIP, s.Spec.ClusterIPs)
	}
	if f := s.Spec.IPFamilies; len(f) != 1 || f[0] != corev1.IPv4Protocol || *s.Spec.IPFamilyPolicy != corev1.IPFamilyPolicySingleStack {
		t.Errorf("families %v, policy %v", f, *s.Spec.IPFamilyPolicy)
	}
	done, err := r.Strategy.Allocate(t.Context(), nil, s, false)
	if err != nil {
		t.Fatal(err)
	}
	if n := held(t, store); n != 1 {
		t.Errorf("%d addresses held before the service is gone", n)
	}
	done(true)
	if n := held(t, store); n != 0 {
		t.Errorf("%d addresses held after the service is gone", n)
	}
}

func TestFailedWriteGivesEverythingBack(t *testing.T) {
	r, store := serviceRow(t)
	s := rowtest.Object(t, r, service, "spec: {type: NodePort, ports: [{port: 80, nodePort: 30500}]}").(*corev1.Service)
	if err := write(t, r, s, nil, false); err != nil {
		t.Fatal(err)
	}
	if n := held(t, store); n != 0 {
		t.Errorf("%d addresses held", n)
	}
	again := made(t, r, "{metadata: {name: other}, spec: {type: NodePort, ports: [{port: 80, nodePort: 30500}]}}")
	if again.Spec.Ports[0].NodePort != 30500 {
		t.Error("port was not given back")
	}
	clash := rowtest.Object(t, r, service, "spec: {type: NodePort, ports: [{port: 80, nodePort: 30500}]}").(*corev1.Service)
	if err := write(t, r, clash, nil, true); err == nil {
		t.Error("one node port for two services")
	}
	if n := held(t, store); n != 1 {
		t.Errorf("%d addresses held after a clash of ports, want the other service's one", n)
	}
}

func TestServiceTypesChange(t *testing.T) {
	types := map[string]string{
		"ClusterIP":    "spec: {type: ClusterIP}",
		"NodePort":     "spec: {type: NodePort}",
		"LoadBalancer": "spec: {type: LoadBalancer, externalTrafficPolicy: Local}",
		"ExternalName": "spec: {type: ExternalName, externalName: example.com}",
	}
	for from := range types {
		for to := range types {
			t.Run(fmt.Sprintf("%s to %s", from, to), func(t *testing.T) {
				r, store := serviceRow(t)
				old := made(t, r, types[from])
				s := old.DeepCopy()
				s.Spec.Type = corev1.ServiceType(to)
				switch {
				case to == "ExternalName":
					s.Spec.ExternalName = "example.com"
				case to == "LoadBalancer":
					s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
				}
				if err := write(t, r, s, old, true); err != nil {
					t.Fatal(err)
				}
				checkType(t, s)
				want := 1
				if to == "ExternalName" {
					want = 0
				}
				if n := held(t, store); n != want {
					t.Errorf("%d addresses held, want %d", n, want)
				}
			})
		}
	}
}

// checkType wants a service to have what its type has, and no more.
func checkType(t *testing.T, s *corev1.Service) {
	t.Helper()
	has := func(what string, got, want bool) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	kind := s.Spec.Type
	outside := kind == corev1.ServiceTypeNodePort || kind == corev1.ServiceTypeLoadBalancer
	has("cluster address", s.Spec.ClusterIP != "", kind != corev1.ServiceTypeExternalName)
	has("node port", s.Spec.Ports[0].NodePort != 0, outside)
	has("external traffic policy", s.Spec.ExternalTrafficPolicy != "", outside)
	has("health port", s.Spec.HealthCheckNodePort != 0, kind == corev1.ServiceTypeLoadBalancer)
	has("load balancer's own fields", s.Spec.AllocateLoadBalancerNodePorts != nil, kind == corev1.ServiceTypeLoadBalancer)
	has("external name", s.Spec.ExternalName != "", kind == corev1.ServiceTypeExternalName)
}

func TestUpdateKeepsWhatWasAllocated(t *testing.T) {
	r, store := serviceRow(t)
	old := made(t, r, "spec: {type: NodePort}")
	// A client that replaces the object does not know what was allocated.
	s := rowtest.Object(t, r, service, "spec: {type: NodePort, selector: {app: other}}").(*corev1.Service)
	if err := write(t, r, s, old, true); err != nil {
		t.Fatal(err)
	}
	if s.Spec.ClusterIP != old.Spec.ClusterIP || s.Spec.Ports[0].NodePort != old.Spec.Ports[0].NodePort {
		t.Errorf("address %q, port %d became %q, %d", old.Spec.ClusterIP, old.Spec.Ports[0].NodePort, s.Spec.ClusterIP, s.Spec.Ports[0].NodePort)
	}
	if n := held(t, store); n != 1 {
		t.Errorf("%d addresses held", n)
	}
	moved := s.DeepCopy()
	moved.Spec.ClusterIP, moved.Spec.ClusterIPs = "10.96.0.200", []string{"10.96.0.200"}
	rowtest.Expect(t, rowtest.Update(&r.Strategy, moved, s), "Invalid spec.clusterIPs[0]")
}

func TestDualStack(t *testing.T) {
	r, store := serviceRow(t, "10.96.0.0/24", "fd00::/112")
	both := made(t, r, "spec: {ipFamilyPolicy: RequireDualStack}")
	if len(both.Spec.ClusterIPs) != 2 || len(both.Spec.IPFamilies) != 2 {
		t.Fatalf("addresses %q of %v", both.Spec.ClusterIPs, both.Spec.IPFamilies)
	}
	single := both.DeepCopy()
	policy := corev1.IPFamilyPolicySingleStack
	single.Spec.IPFamilyPolicy, single.Spec.ClusterIPs, single.Spec.IPFamilies = &policy, both.Spec.ClusterIPs[:1:1], both.Spec.IPFamilies[:1:1]
	if err := write(t, r, single, both, true); err != nil {
		t.Fatal(err)
	}
	if n := held(t, store); n != 1 {
		t.Errorf("%d addresses held after the second was dropped", n)
	}
	one, _ := serviceRow(t)
	s := rowtest.Object(t, one, service, "spec: {ipFamilyPolicy: RequireDualStack}").(*corev1.Service)
	if err := write(t, one, s, nil, true); err == nil {
		t.Error("two families on a cluster that has one")
	}
}

func TestProtocolsShareANodePort(t *testing.T) {
	r, _ := serviceRow(t)
	s := made(t, r, "spec: {type: NodePort, ports: [{name: a, port: 53}, {name: b, port: 53, protocol: UDP}]}")
	if s.Spec.Ports[0].NodePort != s.Spec.Ports[1].NodePort {
		t.Errorf("node ports %d and %d", s.Spec.Ports[0].NodePort, s.Spec.Ports[1].NodePort)
	}
}
