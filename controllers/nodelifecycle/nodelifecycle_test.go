package nodelifecycle

import (
	"fmt"
	"slices"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func nodeWith(status corev1.ConditionStatus) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "node", CreationTimestamp: metav1.NewTime(noon)},
		Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: status, LastHeartbeatTime: metav1.NewTime(noon)}}},
	}
}

func TestSilenceIsMeasuredFromTheLastSign(t *testing.T) {
	p := patience{grace: 50 * time.Second, startup: 60 * time.Second}
	node := nodeWith(corev1.ConditionTrue)
	first := nextSign(nil, node, nil, noon)
	renewed := metav1.NewMicroTime(noon)
	lease := &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{RenewTime: &renewed}}
	second := nextSign(&first, node, lease, noon.Add(40*time.Second))
	third := nextSign(&second, node, lease, noon.Add(80*time.Second))
	if p.silent(node, second, noon.Add(89*time.Second)) || p.silent(node, third, noon.Add(90*time.Second)) {
		t.Error("a node whose lease was renewed 50 s ago counts as silent")
	}
	if !p.silent(node, third, noon.Add(91*time.Second)) {
		t.Error("a node silent for 51 s does not count as such")
	}
	mute := &corev1.Node{ObjectMeta: node.ObjectMeta}
	sign := nextSign(nil, mute, nil, noon.Add(55*time.Second))
	if p.silent(mute, sign, noon.Add(60*time.Second)) || !p.silent(mute, sign, noon.Add(61*time.Second)) {
		t.Error("a node that never reported has 60 s from its creation")
	}
}

func TestDoubtIsWordedAsUsersKnowIt(t *testing.T) {
	node := nodeWith(corev1.ConditionTrue)
	if !doubt(node, noon) || doubt(node, noon.Add(time.Second)) {
		t.Error("doubt must change a node once")
	}
	want := map[corev1.NodeConditionType]string{
		corev1.NodeReady:          "NodeStatusUnknown: Kubelet stopped posting node status.",
		corev1.NodeMemoryPressure: "NodeStatusNeverUpdated: Kubelet never posted node status.",
	}
	for kind, text := range want {
		c := conditionOf(node, kind)
		if c == nil || c.Status != corev1.ConditionUnknown || c.Reason+": "+c.Message != text {
			t.Errorf("%s is %v", kind, c)
		}
	}
}

func TestTaintsFollowConditions(t *testing.T) {
	custom := corev1.Taint{Key: "example.com/own", Effect: corev1.TaintEffectNoSchedule}
	stale := corev1.Taint{Key: corev1.TaintNodeUnreachable, Effect: corev1.TaintEffectNoSchedule}
	node := nodeWith(corev1.ConditionFalse)
	node.Spec.Unschedulable = true
	node.Spec.Taints = []corev1.Taint{custom, stale}
	node.Status.Conditions = append(node.Status.Conditions, corev1.NodeCondition{Type: corev1.NodeDiskPressure, Status: corev1.ConditionTrue})
	var keys []string
	for _, taint := range noScheduleTaints(node, noon) {
		keys = append(keys, taint.Key)
	}
	slices.Sort(keys)
	if want := []string{"example.com/own", "node.kubernetes.io/disk-pressure", "node.kubernetes.io/not-ready", "node.kubernetes.io/unschedulable"}; !slices.Equal(keys, want) {
		t.Errorf("taints are %v", keys)
	}
}

// Never is a node tainted faster than its zone allows, and never at all when
// every zone is down.
func TestClearingKeepsToItsRates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		z := newZones(Rates{Eviction: 0.1, Secondary: 0.01, Threshold: 0.55, LargeCluster: 50})
		healthy, down := rapid.IntRange(0, 80).Draw(t, "healthy"), rapid.IntRange(1, 80).Draw(t, "down")
		var nodes []*corev1.Node
		for i := range healthy + down {
			status := corev1.ConditionTrue
			if i < down {
				status = corev1.ConditionUnknown
			}
			node := nodeWith(status)
			node.Name = fmt.Sprint(i)
			nodes = append(nodes, node)
		}
		allowed, seconds := 0, rapid.IntRange(0, 100).Draw(t, "seconds")
		for second := range seconds + 1 {
			now := noon.Add(time.Duration(second) * time.Second)
			allDown := z.adjust(nodes, now)
			if allDown != (healthy == 0) {
				t.Fatalf("all down: %t with %d healthy nodes", allDown, healthy)
			}
			if !allDown && z.allow(zoneOf(nodes[0]), now) {
				allowed++
			}
		}
		limit := 1 + seconds/10
		if partly := down > 2 && float32(down)/float32(healthy+down) >= 0.55; partly {
			limit = 1 + seconds/100
			if healthy+down <= 50 {
				limit = 0
			}
		}
		if allowed > limit {
			t.Fatalf("%d nodes cleared in %d s, %d allowed (%d of %d down)", allowed, seconds, limit, down, healthy+down)
		}
	})
}
