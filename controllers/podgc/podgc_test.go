package podgc

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestSurplusTakesEvictedThenOldest(t *testing.T) {
	var pods []*corev1.Pod
	for i := range 5 {
		pods = append(pods, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint(i), CreationTimestamp: metav1.NewTime(time.Unix(int64(i), 0))},
			Status:     corev1.PodStatus{Phase: corev1.PodSucceeded},
		})
	}
	pods[3].Status = corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted"}
	pods[0].Status.Phase = corev1.PodRunning
	gone := surplus(pods, 2)
	if len(gone) != 2 || gone[0].Name != "3" || gone[1].Name != "1" {
		t.Errorf("surplus is %v", gone)
	}
	if surplus(pods, -1) != nil || len(surplus(pods, 10)) != 0 {
		t.Error("pods within the threshold are surplus")
	}
}

func TestOnlyHopelessPodsAreRemoved(t *testing.T) {
	now := metav1.Now()
	off := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "off"},
		Spec:       corev1.NodeSpec{Taints: []corev1.Taint{{Key: corev1.TaintNodeOutOfService, Effect: corev1.TaintEffectNoExecute}}},
	}
	known := map[string]*corev1.Node{"off": off, "on": {ObjectMeta: metav1.ObjectMeta{Name: "on"}}}
	cases := []struct {
		name, node string
		deleted    *metav1.Time
		reason     string
		goes       bool
	}{
		{"runs", "on", nil, "", false},
		{"terminates on its node", "on", &now, "", false},
		{"waits for a node", "", nil, "", false},
		{"deleted before it had a node", "", &now, "", true},
		{"node is gone", "gone", nil, "DeletionByPodGC", true},
		{"node is unknown for now", "new", nil, "", false},
		{"terminates on a node out of service", "off", &now, "DeletionByPodGC", true},
		{"stays on a node out of service", "off", nil, "", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: c.deleted}, Spec: corev1.PodSpec{NodeName: c.node}}
			why := verdict(pod, known, map[string]bool{"gone": true})
			if (why != nil) != c.goes || why != nil && why.Reason != c.reason {
				t.Errorf("verdict is %+v", why)
			}
		})
	}
}
