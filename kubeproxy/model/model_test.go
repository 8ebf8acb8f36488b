package model

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
)

var here = Node{Name: "here", Zone: "east"}

func newService(name string, options ...func(*v1.Service)) *v1.Service {
	s := &v1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: v1.ServiceSpec{Type: v1.ServiceTypeClusterIP, ClusterIP: "10.96.0.1", ClusterIPs: []string{"10.96.0.1"}, Ports: []v1.ServicePort{{Port: 80, Protocol: v1.ProtocolTCP}}}}
	for _, option := range options {
		option(s)
	}
	return s
}

type endpointOption func(*discoveryv1.Endpoint)

func newEndpointObject(address string, options ...endpointOption) discoveryv1.Endpoint {
	e := discoveryv1.Endpoint{Addresses: []string{address}}
	for _, option := range options {
		option(&e)
	}
	return e
}

func conditions(ready, serving, terminating bool) endpointOption {
	return func(e *discoveryv1.Endpoint) {
		e.Conditions = discoveryv1.EndpointConditions{Ready: &ready, Serving: &serving, Terminating: &terminating}
	}
}

func onNode(name string) endpointOption { return func(e *discoveryv1.Endpoint) { e.NodeName = &name } }

func forZone(zone string) endpointOption {
	return func(e *discoveryv1.Endpoint) {
		e.Hints = &discoveryv1.EndpointHints{ForZones: []discoveryv1.ForZone{{Name: zone}}}
	}
}

func newSlice(service, name string, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	port, protocol, portName := int32(8080), v1.ProtocolTCP, ""
	return &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "default", Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: &portName, Port: &port, Protocol: &protocol}}, Endpoints: endpoints,
	}
}

func TestChoosesEndpoints(t *testing.T) {
	local := v1.ServiceInternalTrafficPolicyLocal
	nodePortLocal := func(s *v1.Service) {
		s.Spec.Type, s.Spec.ExternalTrafficPolicy = v1.ServiceTypeNodePort, v1.ServiceExternalTrafficPolicyLocal
		s.Spec.Ports[0].NodePort = 30080
	}
	for name, tc := range map[string]struct {
		service   *v1.Service
		endpoints []discoveryv1.Endpoint
		cluster   string
		local     string
		exists    bool
	}{
		"none": {service: newService("s"), cluster: "[]", local: "[]"},
		"ready ones": {
			service:   newService("s"),
			endpoints: []discoveryv1.Endpoint{newEndpointObject("10.0.0.2"), newEndpointObject("10.0.0.1"), newEndpointObject("10.0.0.3", conditions(false, false, false))},
			cluster:   "[10.0.0.1:8080 10.0.0.2:8080]", local: "[]", exists: true,
		},
		"terminating only while nothing is ready": {
			service:   newService("s"),
			endpoints: []discoveryv1.Endpoint{newEndpointObject("10.0.0.1", conditions(false, true, true)), newEndpointObject("10.0.0.2", conditions(false, false, true))},
			cluster:   "[10.0.0.1:8080]", local: "[]", exists: true,
		},
		"terminating not beside ready": {
			service:   newService("s"),
			endpoints: []discoveryv1.Endpoint{newEndpointObject("10.0.0.1", conditions(false, true, true)), newEndpointObject("10.0.0.2")},
			cluster:   "[10.0.0.2:8080]", local: "[]", exists: true,
		},
		"internal policy local": {
			service:   newService("s", func(s *v1.Service) { s.Spec.InternalTrafficPolicy = &local }),
			endpoints: []discoveryv1.Endpoint{newEndpointObject("10.0.0.1", onNode("here")), newEndpointObject("10.0.0.2", onNode("there"))},
			cluster:   "[]", local: "[10.0.0.1:8080]", exists: true,
		},
		"external policy local": {
			service:   newService("s", nodePortLocal),
			endpoints: []discoveryv1.Endpoint{newEndpointObject("10.0.0.1", onNode("here")), newEndpointObject("10.0.0.2", onNode("there"))},
			cluster:   "[10.0.0.1:8080 10.0.0.2:8080]", local: "[10.0.0.1:8080]", exists: true,
		},
		"external policy local, none here": {
			service:   newService("s", nodePortLocal),
			endpoints: []discoveryv1.Endpoint{newEndpointObject("10.0.0.2", onNode("there"))},
			cluster:   "[10.0.0.2:8080]", local: "[]", exists: true,
		},
		"external policy local, terminating here": {
			service:   newService("s", nodePortLocal),
			endpoints: []discoveryv1.Endpoint{newEndpointObject("10.0.0.1", onNode("here"), conditions(false, true, true)), newEndpointObject("10.0.0.2", onNode("there"))},
			cluster:   "[10.0.0.2:8080]", local: "[10.0.0.1:8080]", exists: true,
		},
		"hints for our zone": {
			service:   newService("s"),
			endpoints: []discoveryv1.Endpoint{newEndpointObject("10.0.0.1", forZone("east")), newEndpointObject("10.0.0.2", forZone("west"))},
			cluster:   "[10.0.0.1:8080]", local: "[]", exists: true,
		},
		"hints that not all have": {
			service:   newService("s"),
			endpoints: []discoveryv1.Endpoint{newEndpointObject("10.0.0.1", forZone("east")), newEndpointObject("10.0.0.2")},
			cluster:   "[10.0.0.1:8080 10.0.0.2:8080]", local: "[]", exists: true,
		},
		"hints only for other zones": {
			service:   newService("s"),
			endpoints: []discoveryv1.Endpoint{newEndpointObject("10.0.0.1", forZone("west"))},
			cluster:   "[10.0.0.1:8080]", local: "[]", exists: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			rules := Build(tc.service, []*discoveryv1.EndpointSlice{newSlice("s", "a", tc.endpoints...)}, here)
			if len(rules) != 1 {
				t.Fatalf("%d rules", len(rules))
			}
			r := rules[0]
			if got := fmt.Sprint(r.ClusterEndpoints); got != tc.cluster {
				t.Errorf("cluster endpoints %s, want %s", got, tc.cluster)
			}
			if got := fmt.Sprint(r.LocalEndpoints); got != tc.local {
				t.Errorf("local endpoints %s, want %s", got, tc.local)
			}
			if r.HasEndpoints != tc.exists {
				t.Errorf("has endpoints: %v", r.HasEndpoints)
			}
		})
	}
}

func TestLeavesServicesOfOthersAlone(t *testing.T) {
	for name, service := range map[string]*v1.Service{
		"headless":      newService("s", func(s *v1.Service) { s.Spec.ClusterIP = v1.ClusterIPNone }),
		"external name": newService("s", func(s *v1.Service) { s.Spec.Type = v1.ServiceTypeExternalName }),
		"other proxy":   newService("s", func(s *v1.Service) { s.Labels = map[string]string{labelProxyName: "mine"} }),
		"no address":    newService("s", func(s *v1.Service) { s.Spec.ClusterIP = "" }),
		"deleted":       nil,
	} {
		if rules := Build(service, nil, here); len(rules) > 0 {
			t.Errorf("%s: %v", name, rules)
		}
	}
}

func TestDualStackServiceHasARuleForEachFamily(t *testing.T) {
	service := newService("s", func(s *v1.Service) {
		s.Spec.ClusterIPs = []string{"10.96.0.1", "fd00::1"}
		s.Spec.ExternalIPs = []string{"1.2.3.4", "2001:db8::1"}
	})
	rules := Build(service, nil, here)
	if len(rules) != 2 || rules[0].Family != IPv4 || rules[1].Family != IPv6 ||
		fmt.Sprint(rules[0].ExternalIPs) != "[1.2.3.4]" || fmt.Sprint(rules[1].ExternalIPs) != "[2001:db8::1]" {
		t.Errorf("%+v", rules)
	}
}

func TestHealthCheckPortCountsReadyEndpointsOfThisNode(t *testing.T) {
	local := func(s *v1.Service) {
		s.Spec.Type, s.Spec.HealthCheckNodePort = v1.ServiceTypeLoadBalancer, 32000
		s.Spec.ExternalTrafficPolicy = v1.ServiceExternalTrafficPolicyLocal
	}
	slice := newSlice("s", "s-1", newEndpointObject("10.0.0.1", onNode("here")), newEndpointObject("10.0.0.2", onNode("there")),
		newEndpointObject("10.0.0.3", onNode("here"), conditions(false, true, true)))
	rules := Build(newService("s", local), []*discoveryv1.EndpointSlice{slice}, here)
	if len(rules) != 1 || rules[0].HealthCheckNodePort != 32000 || fmt.Sprint(rules[0].LocalReady) != "[10.0.0.1]" {
		t.Errorf("%+v", rules)
	}
}

func TestSourceRanges(t *testing.T) {
	for _, tc := range []struct {
		texts []string
		want  []netip.Prefix
	}{
		{nil, nil},
		{[]string{"0.0.0.0/0", "10.0.0.0/8"}, nil},
		{[]string{"10.1.2.3/8"}, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		{[]string{"2001:db8::/32"}, []netip.Prefix{}},
	} {
		if got := sourceRanges(tc.texts, IPv4); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%v: %#v, want %#v", tc.texts, got, tc.want)
		}
	}
}

func drawService(t *rapid.T, name string) *v1.Service {
	return newService(name, func(s *v1.Service) {
		s.Spec.ClusterIPs = rapid.SampledFrom([][]string{{"10.96.0.1"}, {"10.96.0.2"}, {"10.96.0.1", "fd00::1"}}).Draw(t, "ips")
		s.Spec.Ports = nil
		for i := range rapid.IntRange(1, 2).Draw(t, "ports") {
			s.Spec.Ports = append(s.Spec.Ports, v1.ServicePort{Name: []string{"", "b"}[i], Port: int32(80 + i), NodePort: int32(rapid.SampledFrom([]int{0, 30080}).Draw(t, "nodePort"))})
		}
		s.Spec.ExternalTrafficPolicy = rapid.SampledFrom([]v1.ServiceExternalTrafficPolicy{"", v1.ServiceExternalTrafficPolicyLocal}).Draw(t, "policy")
		if rapid.IntRange(0, 5).Draw(t, "headless") == 0 {
			s.Spec.ClusterIP = v1.ClusterIPNone
		}
	})
}

func drawSlice(t *rapid.T, service, name string) *discoveryv1.EndpointSlice {
	var endpoints []discoveryv1.Endpoint
	for range rapid.IntRange(0, 3).Draw(t, "endpoints") {
		endpoints = append(endpoints, newEndpointObject(fmt.Sprintf("10.0.0.%d", rapid.IntRange(1, 4).Draw(t, "address")),
			onNode(rapid.SampledFrom([]string{"here", "there"}).Draw(t, "node")),
			conditions(rapid.Bool().Draw(t, "ready"), rapid.Bool().Draw(t, "serving"), rapid.Bool().Draw(t, "terminating"))))
	}
	return newSlice(service, name, endpoints...)
}

// Applying the changes one after the other gives what building everything from
// the objects gives, and nothing is reported that did not change.
func TestChangesAddUpToTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tracker := NewTracker(here)
		node := here
		services, slicesByName := map[string]*v1.Service{}, map[string]*discoveryv1.EndpointSlice{}
		replayed := map[Key]Rule{}
		draw := func(t *rapid.T) (service, slice string) {
			service = rapid.SampledFrom([]string{"s1", "s2"}).Draw(t, "service")
			return service, service + rapid.SampledFrom([]string{"-a", "-b"}).Draw(t, "slice")
		}
		t.Repeat(map[string]func(*rapid.T){
			"set service": func(t *rapid.T) {
				name, _ := draw(t)
				services[name] = drawService(t, name)
				tracker.SetService(services[name])
			},
			"remove service": func(t *rapid.T) {
				name, _ := draw(t)
				delete(services, name)
				tracker.RemoveService(types.NamespacedName{Namespace: "default", Name: name})
			},
			"set slice": func(t *rapid.T) {
				service, name := draw(t)
				slicesByName[name] = drawSlice(t, service, name)
				tracker.SetSlice(slicesByName[name])
			},
			"remove slice": func(t *rapid.T) {
				service, name := draw(t)
				delete(slicesByName, name)
				tracker.RemoveSlice(newSlice(service, name))
			},
			"move node": func(t *rapid.T) {
				node = Node{Name: "here", Zone: rapid.SampledFrom([]string{"", "east"}).Draw(t, "zone")}
				tracker.SetNode(node)
			},
			"sync": func(t *rapid.T) {
				replay(t, replayed, tracker.Changes())
				var want []Rule
				for _, service := range services {
					want = append(want, Build(service, slicesOfService(slicesByName, service.Name), node)...)
				}
				compareRules(t, replayed, want)
				compareRules(t, replayed, tracker.Rules())
			},
		})
	})
}

func replay(t *rapid.T, rules map[Key]Rule, changes []Change) {
	for _, change := range changes {
		old, exists := rules[change.Key()]
		if exists != (change.Old != nil) || exists && !old.Equal(change.Old) {
			t.Fatalf("change of %v from %+v, but it was %+v", change.Key(), change.Old, old)
		}
		if change.New == nil {
			delete(rules, change.Key())
			continue
		}
		if exists && old.Equal(change.New) {
			t.Fatalf("%v is said to have changed, and has not", change.Key())
		}
		rules[change.Key()] = *change.New
	}
}

func slicesOfService(all map[string]*discoveryv1.EndpointSlice, service string) []*discoveryv1.EndpointSlice {
	var out []*discoveryv1.EndpointSlice
	for _, name := range []string{service + "-a", service + "-b"} {
		if all[name] != nil {
			out = append(out, all[name])
		}
	}
	return out
}

func compareRules(t *rapid.T, got map[Key]Rule, want []Rule) {
	if len(got) != len(want) {
		t.Fatalf("%d rules, want %d", len(got), len(want))
	}
	for i := range want {
		if rule := got[want[i].Key]; !rule.Equal(&want[i]) {
			t.Fatalf("got  %+v\nwant %+v", rule, want[i])
		}
	}
}

func TestEqualSeesEveryField(t *testing.T) {
	typ := reflect.TypeFor[Rule]()
	var compared []string
	for i := range typ.NumField() {
		a, b := Rule{}, Rule{}
		change(reflect.ValueOf(&b).Elem().Field(i))
		if a.Equal(&b) {
			t.Errorf("a difference in %s is not seen", typ.Field(i).Name)
		}
		compared = append(compared, typ.Field(i).Name)
	}
	if slices.Index(compared, "HasEndpoints") < 0 {
		t.Errorf("fields compared: %v", compared)
	}
}

// change makes the value differ from the zero value of its type.
func change(v reflect.Value) {
	switch x := v.Addr().Interface().(type) {
	case *Key:
		x.PortName = "x"
	case *netip.Addr:
		*x = netip.MustParseAddr("1.2.3.4")
	case *uint16:
		*x = 1
	case *int:
		*x = 1
	case *bool:
		*x = true
	default:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	}
}
