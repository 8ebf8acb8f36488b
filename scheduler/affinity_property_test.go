package scheduler

import (
	"fmt"
	"testing"

	v1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"
)

// onNodes maps nodes to the pods placed on them.
type onNodes map[*v1.Node][]*v1.Pod

// naiveAntiAffinity says whether no pair of pods in one domain of the key
// would have one keep away from the other's app.
func naiveAntiAffinity(placed onNodes, target *v1.Node, pod *v1.Pod, key string) bool {
	for node, pods := range placed {
		if node.Labels[key] == "" || node.Labels[key] != target.Labels[key] {
			continue
		}
		for _, other := range pods {
			if keepsAwayFrom(pod, other) || keepsAwayFrom(other, pod) {
				return false
			}
		}
	}
	return true
}

func keepsAwayFrom(a, b *v1.Pod) bool {
	if a.Spec.Affinity == nil || a.Spec.Affinity.PodAntiAffinity == nil {
		return false
	}
	for _, t := range a.Spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution {
		if t.LabelSelector.MatchLabels["app"] == b.Labels["app"] {
			return true
		}
	}
	return false
}

// naiveSpread says whether the pod's zone would not be more than one above the
// emptiest.
func naiveSpread(placed onNodes, target *v1.Node, pod *v1.Pod) bool {
	if len(pod.Spec.TopologySpreadConstraints) == 0 {
		return true
	}
	counts := map[string]int{}
	for node, pods := range placed {
		zone := node.Labels[v1.LabelTopologyZone]
		if zone == "" {
			continue
		}
		counts[zone] += 0
		for _, other := range pods {
			if other.Labels["app"] == pod.Labels["app"] {
				counts[zone]++
			}
		}
	}
	zone := target.Labels[v1.LabelTopologyZone]
	for _, count := range counts {
		if counts[zone]+1-count > 1 {
			return false
		}
	}
	return zone != ""
}

// Pods are placed exactly where neither side's anti-affinity nor the spread
// objects, as a naive count of what is where tells.
func TestAffinityAndSpreadAgreeWithANaiveCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		placed, byName := onNodes{}, map[string]*v1.Node{}
		var nodes []*v1.Node
		for i := range rapid.IntRange(1, 5).Draw(t, "nodes") {
			node := newNode(fmt.Sprintf("n%d", i))
			if z := rapid.SampledFrom([]string{"", "east", "west"}).Draw(t, "zone"); z != "" {
				zone(z)(node)
			}
			nodes = append(nodes, node)
			placed[node], byName[node.Name] = nil, node
		}
		b := newBench(nodes)
		for i := range rapid.IntRange(1, 12).Draw(t, "pods") {
			pod := newPod(fmt.Sprint(i), app(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "app")))
			if rapid.Bool().Draw(t, "keeps away") {
				away(term(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "from"), v1.LabelTopologyZone))(pod)
			}
			if rapid.Bool().Draw(t, "spreads") {
				spread(v1.LabelTopologyZone, 1, v1.DoNotSchedule)(pod)
			}
			chosen := b.place(pod)
			for _, node := range nodes {
				allowed := naiveAntiAffinity(placed, node, pod, v1.LabelTopologyZone) && naiveSpread(placed, node, pod)
				if chosen == node.Name && !allowed {
					t.Fatalf("pod %d is on %s, which is not allowed", i, chosen)
				}
				if byName[chosen] == nil && allowed {
					t.Fatalf("pod %d could be on %s, but: %s", i, node.Name, chosen)
				}
			}
			if node := byName[chosen]; node != nil {
				placed[node] = append(placed[node], pod)
			}
		}
	})
}
