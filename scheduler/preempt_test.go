package scheduler

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"

	"github.com/yare-io/yare/scheduler/framework"
)

// victimsFor returns, for each node on which it would help, who must go.
func victimsFor(b *bench, pod *v1.Pod, budgets ...budget) map[string]string {
	result, err := b.decider.decide(b.profile, compiled(pod), b.cluster.Snapshot())
	if err != nil || result.attempt == nil {
		panic(fmt.Sprint("no attempt to preempt for: ", result.node, err))
	}
	out := map[string]string{}
	for _, node := range result.attempt.snapshot.Nodes {
		if c, reasons := result.attempt.selectVictims(node, budgets); len(reasons) == 0 {
			out[c.node] = describe(c)
		}
	}
	return out
}

func describe(c candidate) string {
	var names []string
	for _, victim := range c.victims {
		names = append(names, victim.Pod.Name)
	}
	return strings.Join(names, " ")
}

func TestSelectsTheFewestAndLeastImportantVictims(t *testing.T) {
	nodes := []*v1.Node{newNode("a", capacity("4", "8Gi", 10))}
	running := []*v1.Pod{
		newPod("small", on("a"), priority(1), requests("1", "")),
		newPod("large", on("a"), priority(2), requests("2", "")),
		newPod("equal", on("a"), priority(10), requests("1", "")),
	}
	for name, tc := range map[string]struct {
		asks string
		want string
	}{
		"one is enough":       {"1", "map[a:small]"},
		"the small one isn't": {"2", "map[a:large]"},
		"both":                {"3", "map[a:large small]"},
		"never an equal one":  {"4", "map[]"},
	} {
		if got := fmt.Sprint(victimsFor(newBench(nodes, running...), newPod("p", priority(10), requests(tc.asks, "")))); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}

func TestSparesPodsThatABudgetProtects(t *testing.T) {
	one := intstr.FromInt32(1)
	protect := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: "default"},
		Spec: policyv1.PodDisruptionBudgetSpec{MinAvailable: &one, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "db"}}}}
	nodes := []*v1.Node{newNode("a", capacity("2", "8Gi", 10))}
	b := newBench(nodes, newPod("db", on("a"), app("db"), priority(1), requests("1", "")), newPod("web", on("a"), priority(5), requests("1", "")))
	if got := victimsFor(b, newPod("p", priority(10), requests("1", "")), protect)["a"]; got != "web" {
		t.Errorf("victims %q, want the unprotected one though it matters more", got)
	}
}

func TestPicksTheCandidateThatHurtsLeast(t *testing.T) {
	victim := func(p int32, started int64) *framework.PodInfo {
		pod := newPod("v", priority(p))
		start := metav1.NewTime(time.Unix(started, 0))
		pod.Status.StartTime = &start
		return compiled(pod)
	}
	base := candidate{node: "base", victims: []*framework.PodInfo{victim(5, 100), victim(3, 100)}}
	for name, better := range map[string]candidate{
		"lower highest priority": {node: "better", victims: []*framework.PodInfo{victim(4, 1), victim(4, 1)}},
		"lower sum":              {node: "better", victims: []*framework.PodInfo{victim(5, 1), victim(2, 1)}},
		"fewer":                  {node: "better", victims: []*framework.PodInfo{victim(5, 1)}},
		"younger":                {node: "better", victims: []*framework.PodInfo{victim(5, 200), victim(3, 1)}},
	} {
		if got := pickCandidate([]candidate{base, better}); got.node != "better" {
			t.Errorf("%s: picked %s", name, got.node)
		}
	}
	protected := candidate{node: "protected", violations: 1}
	if got := pickCandidate([]candidate{protected, base}); got.node != "base" {
		t.Error("a violated budget was preferred")
	}
}

// Victims are of lower priority, removing them makes room, and no one of them
// could have been spared.
func TestVictimsAreNeededAndEnough(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		node := drawNode(t, "n")
		var running []*v1.Pod
		b := newBench([]*v1.Node{node})
		for i := range rapid.IntRange(0, 8).Draw(t, "running") {
			pod := drawPod(t, fmt.Sprintf("r%d", i))
			priority(int32(rapid.IntRange(0, 3).Draw(t, "priority")))(pod)
			if b.place(pod) == "n" {
				running = append(running, pod)
			}
		}
		pod := drawPod(t, "p")
		priority(2)(pod)
		if b.decide(pod) == "n" {
			return
		}
		victims, helps := victimsFor(b, pod)["n"]
		names := strings.Fields(victims)
		remaining := slices.DeleteFunc(slices.Clone(running), func(p *v1.Pod) bool { return slices.Contains(names, p.Name) })
		keepers := slices.DeleteFunc(slices.Clone(running), func(p *v1.Pod) bool { return *p.Spec.Priority < 2 })
		if possible := naiveFits(node, keepers, pod) && len(keepers) < len(running); possible != helps {
			t.Fatalf("preemption possible: %v, found: %v", possible, helps)
		}
		for _, victim := range running {
			if !slices.Contains(names, victim.Name) {
				continue
			}
			if *victim.Spec.Priority >= 2 {
				t.Fatalf("victim %s has priority %d", victim.Name, *victim.Spec.Priority)
			}
			if naiveFits(node, append(slices.Clone(remaining), victim), pod) {
				t.Fatalf("victim %s could have stayed", victim.Name)
			}
		}
		if helps && !naiveFits(node, remaining, pod) {
			t.Fatalf("no room without %v", names)
		}
	})
}

func TestPreemptsThroughTheAPI(t *testing.T) {
	a := newAPI(newNode("a", capacity("1", "1Gi", 10)), newPod("low", on("a"), priority(1), requests("1", "")))
	run(t, Config{Client: a})
	a.create(t, newPod("never", priority(10), requests("1", ""), func(p *v1.Pod) {
		never := v1.PreemptNever
		p.Spec.PreemptionPolicy = &never
	}))
	eventually(t, "polite pod told", func() bool {
		return a.hasEvent("Warning FailedScheduling 0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never.")
	})
	a.create(t, newPod("same", priority(1), requests("1", "")))
	eventually(t, "equal pod told", func() bool {
		return a.hasEvent("Warning FailedScheduling 0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.")
	})
	a.create(t, newPod("high", priority(20), requests("1", "")))
	eventually(t, "victim deleted", func() bool {
		_, err := a.CoreV1().Pods("default").Get(t.Context(), "low", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	eventually(t, "bound in its place", func() bool { return a.pod(t, "high").Spec.NodeName == "a" })
	eventually(t, "event", func() bool { return a.hasEvent("Normal Preempted Preempted by pod pod-high on node a") })
}
