package replicaset

import (
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func setOf(replicas int32) *appsv1.ReplicaSet {
	return &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default", UID: "set", Generation: 3},
		Spec: appsv1.ReplicaSetSpec{
			Replicas: &replicas,
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}}},
		},
	}
}

func pod(name string, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, UID: types.UID(name), Labels: map[string]string{"app": "web"},
			CreationTimestamp: metav1.NewTime(noon.Add(-time.Hour)),
		},
		Spec:   corev1.PodSpec{NodeName: "node"},
		Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
	readyFor(time.Hour)(p)
	for _, c := range change {
		c(p)
	}
	return p
}

func readyFor(d time.Duration) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.Conditions = []corev1.PodCondition{{
			Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(noon.Add(-d)),
		}}
	}
}

func notReady(p *corev1.Pod) { p.Status.Conditions[0].Status = corev1.ConditionFalse }

func TestPlanReachesTheWantedNumberInOnePass(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wanted := rapid.Int32Range(0, 40).Draw(t, "wanted")
		var pods []*corev1.Pod
		for i := range rapid.IntRange(0, 40).Draw(t, "pods") {
			p := pod(fmt.Sprint(i), readyFor(time.Duration(rapid.IntRange(0, 100).Draw(t, "ready for"))*time.Minute))
			if rapid.Bool().Draw(t, "not ready") {
				notReady(p)
			}
			pods = append(pods, p)
		}
		create, doomed := plan(setOf(wanted), pods, pods, noon)
		if len(pods)+create-len(doomed) != int(wanted) || create > 0 && len(doomed) > 0 {
			t.Fatalf("of %d pods, create %d and delete %d for %d", len(pods), create, len(doomed), wanted)
		}
		gone := map[types.UID]bool{}
		readyGone := false
		for _, p := range doomed {
			gone[p.UID] = true
			readyGone = readyGone || p.Status.Conditions[0].Status == corev1.ConditionTrue
		}
		for _, p := range pods {
			if readyGone && !gone[p.UID] && p.Status.Conditions[0].Status == corev1.ConditionFalse {
				t.Fatal("a ready pod is deleted before one that is not")
			}
		}
	})
}

func TestDeletionOrder(t *testing.T) {
	cases := []struct {
		name         string
		first, later *corev1.Pod
	}{
		{"unassigned first", pod("a", func(p *corev1.Pod) { p.Spec.NodeName = "" }), pod("b")},
		{"pending first", pod("a", func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }), pod("b")},
		{"not ready first", pod("a", notReady), pod("b")},
		{"cheap first", pod("a", cost("-5")), pod("b", cost("5"))},
		{"crowded first", pod("a", onNode("crowd")), pod("b", onNode("alone"))},
		{"recently ready first", pod("a", readyFor(time.Minute)), pod("b")},
		{"restarted first", pod("a", restarts(9)), pod("b", restarts(1))},
		{"young first", pod("a", func(p *corev1.Pod) { p.CreationTimestamp = metav1.NewTime(noon.Add(-time.Minute)) }), pod("b")},
	}
	related := []*corev1.Pod{pod("x", onNode("crowd")), pod("y", onNode("crowd")), pod("z", onNode("alone"))}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for _, pods := range [][]*corev1.Pod{{c.first, c.later}, {c.later, c.first}} {
				_, doomed := plan(setOf(1), pods, related, noon)
				if len(doomed) != 1 || doomed[0] != c.first {
					t.Errorf("deletes %v", doomed)
				}
			}
		})
	}
}

func cost(value string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Annotations = map[string]string{corev1.PodDeletionCost: value} }
}

func onNode(name string) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Spec.NodeName = name } }

func restarts(n int32) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Status.ContainerStatuses = []corev1.ContainerStatus{{RestartCount: n}} }
}

func TestStatusCountsPodsByWhatTheyAre(t *testing.T) {
	set := setOf(4)
	set.Spec.MinReadySeconds = 60
	gone := metav1.NewTime(noon)
	pods := []*corev1.Pod{
		pod("available"), pod("ready", readyFor(20*time.Second)), pod("not ready", notReady),
		pod("other labels", func(p *corev1.Pod) { p.Labels = map[string]string{"tier": "x"} }),
		pod("terminating", func(p *corev1.Pod) { p.DeletionTimestamp = &gone }),
	}
	status := calculateStatus(set, pods, &failure{"FailedCreate", "quota"}, noon)
	if status.Replicas != 4 || status.FullyLabeledReplicas != 3 || status.ReadyReplicas != 3 || status.AvailableReplicas != 2 ||
		*status.TerminatingReplicas != 1 || status.ObservedGeneration != 3 {
		t.Errorf("status is %+v", status)
	}
	if len(status.Conditions) != 1 || status.Conditions[0].Reason != "FailedCreate" {
		t.Errorf("conditions are %v", status.Conditions)
	}
	if wait := nextAvailable(set, pods, noon); wait != 40*time.Second {
		t.Errorf("next pod available in %s, want 40s", wait)
	}
}
