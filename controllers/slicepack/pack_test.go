package slicepack

import (
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
)

func blank(family discoveryv1.AddressType) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
		AddressType: family,
	}
}

func endpointAt(i int, ready bool) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{
		Addresses:  []string{fmt.Sprintf("10.0.%d.%d", i/256, i%256)},
		Conditions: discoveryv1.EndpointConditions{Ready: &ready},
		TargetRef:  &corev1.ObjectReference{Kind: "Pod", Name: fmt.Sprint("pod-", i)},
	}
}

func groupOn(port int32, endpoints ...discoveryv1.Endpoint) Group {
	ports := []discoveryv1.EndpointPort{}
	if port != 0 {
		ports = append(ports, discoveryv1.EndpointPort{Port: &port})
	}
	return Group{AddressType: discoveryv1.AddressTypeIPv4, Ports: ports, Endpoints: endpoints}
}

// store plays the API server.
type store struct {
	slices []*discoveryv1.EndpointSlice
	seq    int
}

func (s *store) apply(changes Changes) {
	for _, gone := range changes.Delete {
		s.slices = slices.DeleteFunc(s.slices, func(have *discoveryv1.EndpointSlice) bool { return have.UID == gone.UID })
	}
	for _, updated := range changes.Update {
		at := slices.IndexFunc(s.slices, func(have *discoveryv1.EndpointSlice) bool { return have.UID == updated.UID })
		s.slices[at] = updated
	}
	for _, created := range changes.Create {
		s.seq++
		created.UID = types.UID(fmt.Sprint(s.seq))
		s.slices = append(s.slices, created)
	}
}

// Whatever the history, the slices hold exactly the desired endpoints, none
// twice, at most 100 each, and packing again changes nothing.
func TestSlicesHoldExactlyWhatIsDesired(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s store
		for range rapid.IntRange(1, 4).Draw(t, "rounds") {
			desired, want := drawGroups(t)
			s.apply(Pack(desired, s.slices, blank))
			checkSlices(t, s.slices, want)
			if again := Pack(desired, s.slices, blank); !again.Empty() {
				t.Fatalf("packing again creates %d, updates %d, deletes %d", len(again.Create), len(again.Update), len(again.Delete))
			}
		}
	})
}

func drawGroups(t *rapid.T) ([]Group, map[string]bool) {
	var groups []Group
	want := map[string]bool{}
	for port := int32(1); port <= rapid.Int32Range(1, 3).Draw(t, "ports"); port++ {
		from := rapid.IntRange(0, 300).Draw(t, "from")
		var endpoints []discoveryv1.Endpoint
		for i := range rapid.IntRange(0, 230).Draw(t, "endpoints") {
			ready := rapid.IntRange(0, 9).Draw(t, "ready") > 0
			endpoints = append(endpoints, endpointAt(from+i, ready))
			want[fmt.Sprint(port, endpoints[i].Addresses, ready)] = true
		}
		groups = append(groups, groupOn(port, endpoints...))
	}
	return groups, want
}

func checkSlices(t *rapid.T, all []*discoveryv1.EndpointSlice, want map[string]bool) {
	seen := map[string]bool{}
	for _, slice := range all {
		if len(slice.Endpoints) > MaxEndpoints {
			t.Fatalf("a slice holds %d endpoints", len(slice.Endpoints))
		}
		for _, e := range slice.Endpoints {
			key := fmt.Sprint(*slice.Ports[0].Port, e.Addresses, *e.Conditions.Ready)
			if seen[key] || !want[key] {
				t.Fatalf("endpoint %s: seen %t, wanted %t", key, seen[key], want[key])
			}
			seen[key] = true
		}
	}
	if len(seen) != len(want) {
		t.Fatalf("%d endpoints of %d", len(seen), len(want))
	}
}

func TestOneChangedEndpointIsOneWrite(t *testing.T) {
	var endpoints []discoveryv1.Endpoint
	for i := range 250 {
		endpoints = append(endpoints, endpointAt(i, true))
	}
	var s store
	s.apply(Pack([]Group{groupOn(80, endpoints...)}, nil, blank))
	if len(s.slices) != 3 {
		t.Fatalf("%d slices for 250 endpoints", len(s.slices))
	}
	endpoints[7] = endpointAt(7, false)
	endpoints = append(endpoints, endpointAt(300, true))
	changes := Pack([]Group{groupOn(80, endpoints...)}, s.slices, blank)
	if len(changes.Create) != 0 || len(changes.Delete) != 0 || len(changes.Update) != 2 {
		t.Errorf("creates %d, updates %d, deletes %d; want two updates", len(changes.Create), len(changes.Update), len(changes.Delete))
	}
}

func TestServiceWithoutEndpointsKeepsOneEmptySlice(t *testing.T) {
	var s store
	s.apply(Pack([]Group{groupOn(80, endpointAt(1, true))}, nil, blank))
	uid := s.slices[0].UID
	s.apply(Pack([]Group{groupOn(0)}, s.slices, blank))
	if len(s.slices) != 1 || s.slices[0].UID != uid || len(s.slices[0].Endpoints) != 0 || len(s.slices[0].Ports) != 0 {
		t.Errorf("slices are %v", s.slices)
	}
}
