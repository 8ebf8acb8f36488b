package endpointslice

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func service(change ...func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default"},
		Spec: corev1.ServiceSpec{
			IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
			Ports:      []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromString("web")}},
		},
	}
	for _, c := range change {
		c(s)
	}
	return s
}

func pod(name string, port int32, ready bool, ips ...string) *corev1.Pod {
	status := corev1.ConditionFalse
	if ready {
		status = corev1.ConditionTrue
	}
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: types.UID(name)},
		Spec: corev1.PodSpec{NodeName: "node", Containers: []corev1.Container{
			{Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: port, Protocol: corev1.ProtocolTCP}}},
		}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: status}}},
	}
	for _, ip := range ips {
		p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: ip})
	}
	return p
}

func inZone(string) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{corev1.LabelTopologyZone: "east"}}}
}

func TestConditionsSayWhetherAPodServes(t *testing.T) {
	gone := metav1.Now()
	cases := []struct {
		name                       string
		ready, deleted, publish    bool
		isReady, serves, isLeaving bool
	}{
		{"ready", true, false, false, true, true, false},
		{"not ready", false, false, false, false, false, false},
		{"terminating, still serving", true, true, false, false, true, true},
		{"not ready, published", false, false, true, true, false, false},
		{"terminating, published", false, true, true, true, false, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := pod("a", 80, c.ready, "10.0.0.1")
			if c.deleted {
				p.DeletionTimestamp = &gone
			}
			found := groups(service(func(s *corev1.Service) { s.Spec.PublishNotReadyAddresses = c.publish }), []*corev1.Pod{p}, inZone)
			e := found[0].Endpoints[0]
			if *e.Conditions.Ready != c.isReady || *e.Conditions.Serving != c.serves || *e.Conditions.Terminating != c.isLeaving {
				t.Errorf("ready %t, serving %t, terminating %t", *e.Conditions.Ready, *e.Conditions.Serving, *e.Conditions.Terminating)
			}
			if *e.Zone != "east" || *e.NodeName != "node" || e.TargetRef.Name != "a" {
				t.Errorf("endpoint is %v", e)
			}
		})
	}
}

func TestNamedPortsAndFamiliesMakeGroups(t *testing.T) {
	s := service(func(s *corev1.Service) {
		s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}
	})
	pods := []*corev1.Pod{pod("a", 8080, true, "10.0.0.1", "fd00::1"), pod("b", 9090, true, "10.0.0.2"), pod("c", 8080, true, "10.0.0.3")}
	count := map[string]int{}
	for _, group := range groups(s, pods, inZone) {
		for range group.Endpoints {
			count[string(group.AddressType)+portNumbers(group.Ports)[0]]++
		}
	}
	if len(count) != 3 || count["IPv4http/TCP/08080"] != 2 || count["IPv4http/TCP/09090"] != 1 || count["IPv6http/TCP/08080"] != 1 {
		t.Errorf("groups are %v", count)
	}
}

func TestServiceWithoutPodsHasAnEmptyGroup(t *testing.T) {
	found := groups(service(), nil, inZone)
	if len(found) != 1 || found[0].AddressType != discoveryv1.AddressTypeIPv4 || len(found[0].Endpoints)+len(found[0].Ports) != 0 {
		t.Errorf("groups are %v", found)
	}
}

func TestSlicesWearTheServicesLabels(t *testing.T) {
	s := service(func(s *corev1.Service) {
		s.Labels = map[string]string{"tier": "front", discoveryv1.LabelManagedBy: "me"}
		s.Spec.ClusterIP = corev1.ClusterIPNone
	})
	slice := blank(s, discoveryv1.AddressTypeIPv4, time.Unix(0, 0))
	if _, headless := slice.Labels[corev1.IsHeadlessService]; !headless || slice.Labels["tier"] != "front" ||
		slice.Labels[discoveryv1.LabelManagedBy] != Managed || slice.Labels[discoveryv1.LabelServiceName] != "web" {
		t.Errorf("labels are %v", slice.Labels)
	}
	if slice.Annotations[corev1.EndpointsLastChangeTriggerTime] != "1970-01-01T00:00:00Z" || slice.GenerateName != "web-" {
		t.Errorf("annotations %v, name %q", slice.Annotations, slice.GenerateName)
	}
}

func TestHintsFollowTrafficDistribution(t *testing.T) {
	for distribution, want := range map[string]struct{ zones, nodes int }{
		corev1.ServiceTrafficDistributionPreferClose:    {1, 0},
		corev1.ServiceTrafficDistributionPreferSameNode: {1, 1},
	} {
		s := service(func(s *corev1.Service) { s.Spec.TrafficDistribution = &distribution })
		hints := groups(s, []*corev1.Pod{pod("a", 80, true, "10.0.0.1")}, inZone)[0].Endpoints[0].Hints
		if len(hints.ForZones) != want.zones || len(hints.ForNodes) != want.nodes {
			t.Errorf("%s: hints are %v", distribution, hints)
		}
	}
}
