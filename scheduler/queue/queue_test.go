package queue

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	clocktesting "k8s.io/utils/clock/testing"
	"pgregory.net/rapid"

	"github.com/yare-io/yare/scheduler/framework"
)

func pod(name string, priority int32) *framework.PodInfo {
	info, err := framework.NewPodInfo(&v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(name)},
		Spec:       v1.PodSpec{Priority: &priority},
	})
	if err != nil {
		panic(err)
	}
	return info
}

func newQueue(t *testing.T, cfg Config) (*Queue, *clocktesting.FakeClock) {
	t.Helper()
	clock := clocktesting.NewFakeClock(time.Unix(1000, 0))
	cfg.Clock = clock
	return New(cfg), clock
}

func pop(t *testing.T, q *Queue) *Pod {
	t.Helper()
	return popWithin(t, q, 10*time.Second)
}

func popWithin(t *testing.T, q *Queue, limit time.Duration) *Pod {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	p, err := q.Pop(ctx)
	if err != nil {
		t.Fatalf("pop: %v; %+v", err, q.Counts())
	}
	return p
}

func TestPopsByPriorityThenByArrival(t *testing.T) {
	q, clock := newQueue(t, Config{})
	for i, p := range []*framework.PodInfo{pod("low-1", 0), pod("low-2", 0), pod("high", 10), pod("low-3", 0)} {
		q.Add(p)
		clock.Step(time.Duration(i+1) * time.Millisecond)
	}
	for _, want := range []string{"high", "low-1", "low-2", "low-3"} {
		if got := pop(t, q).Info.Pod.Name; got != want {
			t.Errorf("popped %s, want %s", got, want)
		}
	}
}

func TestPopEndsWithItsContext(t *testing.T) {
	q, _ := newQueue(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := q.Pop(ctx); err == nil {
		t.Fatal("pop on an empty queue returned without an error")
	}
}

func TestBackoffDoublesUpToTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(Config{})
		ctx, cancel := context.WithCancel(t.Context())
		go q.Run(ctx)
		q.Add(pod("p", 0))
		p := pop(t, q)
		for _, want := range []time.Duration{1, 2, 4, 8, 10, 10} {
			failed := time.Now()
			q.Requeue(p, nil)
			p = popWithin(t, q, time.Minute)
			if got := time.Since(failed); got != want*time.Second {
				t.Errorf("tried again after %v, want %v", got, want*time.Second)
			}
		}
		cancel()
		synctest.Wait()
	})
}

func wakesOn(kind framework.Event, hint func(*v1.Pod, any, any) bool) func(string) ([]framework.Wake, bool) {
	return func(string) ([]framework.Wake, bool) { return []framework.Wake{{On: kind, Hint: hint}}, true }
}

func TestRejectedPodWaitsForTheChangeItsPluginNames(t *testing.T) {
	q, clock := newQueue(t, Config{Wakes: wakesOn(framework.NodeAdd, nil)})
	q.Add(pod("p", 0))
	q.Requeue(pop(t, q), sets.New("Fit"))
	clock.Step(time.Minute)
	q.Changed(framework.NodeTaints, nil, nil)
	if c := q.Counts(); c != (Counts{Unschedulable: 1}) {
		t.Fatalf("after an unrelated change: %+v", c)
	}
	q.Changed(framework.NodeAdd, nil, nil)
	if c := q.Counts(); c != (Counts{Active: 1}) {
		t.Fatalf("after the change it waited for: %+v", c)
	}
}

func TestHintCanRefuseAChange(t *testing.T) {
	useful := false
	q, clock := newQueue(t, Config{Wakes: wakesOn(framework.NodeAdd, func(*v1.Pod, any, any) bool { return useful })})
	q.Add(pod("p", 0))
	q.Requeue(pop(t, q), sets.New("Fit"))
	clock.Step(time.Minute)
	q.Changed(framework.NodeAdd, nil, nil)
	if c := q.Counts(); c.Unschedulable != 1 {
		t.Fatalf("woken by a change that the hint refused: %+v", c)
	}
	useful = true
	q.Changed(framework.NodeAdd, nil, nil)
	if c := q.Counts(); c.Active != 1 {
		t.Fatalf("not woken: %+v", c)
	}
}

func TestChangeDuringTheAttemptIsNotLost(t *testing.T) {
	q, _ := newQueue(t, Config{Wakes: wakesOn(framework.NodeAdd, nil)})
	q.Add(pod("p", 0))
	attempt := pop(t, q)
	q.Changed(framework.NodeAdd, nil, nil)
	q.Requeue(attempt, sets.New("Fit"))
	if c := q.Counts(); c != (Counts{Backoff: 1}) {
		t.Fatalf("pod that missed a change while in flight: %+v", c)
	}
	if len(q.events) != 0 || len(q.flying) != 0 {
		t.Errorf("%d events kept with %d pods in flight", len(q.events), len(q.flying))
	}
}

func TestUpdateDuringTheAttemptIsNotLost(t *testing.T) {
	q, _ := newQueue(t, Config{Wakes: wakesOn(0, nil)})
	q.Add(pod("p", 0))
	attempt := pop(t, q)
	changed := pod("p", 0)
	changed.Pod.Labels = map[string]string{"a": "b"}
	q.Add(changed)
	q.Requeue(attempt, sets.New("Fit"))
	if c := q.Counts(); c.Backoff != 1 {
		t.Fatalf("changed pod waits for the cluster: %+v", c)
	}
	q.Activate("p")
	if got := pop(t, q).Info; got != changed {
		t.Error("the next attempt sees the old pod")
	}
}

func TestStatusUpdateDoesNotWake(t *testing.T) {
	q, clock := newQueue(t, Config{Wakes: wakesOn(0, nil)})
	q.Add(pod("p", 0))
	q.Requeue(pop(t, q), sets.New("Fit"))
	clock.Step(time.Minute)
	updated := pod("p", 0)
	updated.Pod.Status.Conditions = []v1.PodCondition{{Type: v1.PodScheduled}}
	q.Add(updated)
	if c := q.Counts(); c.Unschedulable != 1 {
		t.Fatalf("woken by its own status: %+v", c)
	}
}

func TestGatedPodIsAdmittedWhenItsGateOpens(t *testing.T) {
	q, _ := newQueue(t, Config{Gate: func(p *v1.Pod) *framework.Status {
		if len(p.Spec.SchedulingGates) > 0 {
			return framework.RejectForGood("SchedulingGates", "gated")
		}
		return nil
	}})
	gatedPod := pod("p", 0)
	gatedPod.Pod.Spec.SchedulingGates = []v1.PodSchedulingGate{{Name: "g"}}
	q.Add(gatedPod)
	if c := q.Counts(); c != (Counts{Gated: 1}) {
		t.Fatalf("gated pod: %+v", c)
	}
	q.Changed(framework.NodeAdd, nil, nil)
	if c := q.Counts(); c.Gated != 1 {
		t.Fatalf("a node opened the gate: %+v", c)
	}
	q.Add(pod("p", 0))
	if c := q.Counts(); c != (Counts{Active: 1}) {
		t.Fatalf("open gate: %+v", c)
	}
}

func TestForgottenPodIsTriedAfterFiveMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New(Config{Wakes: wakesOn(0, nil)})
		ctx, cancel := context.WithCancel(t.Context())
		go q.Run(ctx)
		q.Add(pod("p", 0))
		start := time.Now()
		q.Requeue(pop(t, q), sets.New("Fit"))
		popWithin(t, q, time.Hour)
		if waited := time.Since(start); waited <= 5*time.Minute || waited > 6*time.Minute {
			t.Errorf("waited %v", waited)
		}
		cancel()
		synctest.Wait()
	})
}

func TestDeletedInFlightDoesNotComeBack(t *testing.T) {
	q, _ := newQueue(t, Config{})
	q.Add(pod("p", 0))
	attempt := pop(t, q)
	q.Delete("p")
	q.Requeue(attempt, nil)
	if c := q.Counts(); c != (Counts{}) || len(q.pods) != 0 {
		t.Fatalf("deleted pod is back: %+v", c)
	}
}

// Whatever happens, a pod that was added and not deleted or done is in exactly
// one place, and the heaps agree with it.
func TestEveryPodIsInExactlyOnePlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clock := clocktesting.NewFakeClock(time.Unix(1000, 0))
		q := New(Config{Clock: clock, Wakes: wakesOn(framework.NodeAdd, nil)})
		var flying []*Pod
		alive := sets.New[string]()
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				name := fmt.Sprint(rapid.IntRange(0, 9).Draw(t, "pod"))
				q.Add(pod(name, int32(rapid.IntRange(0, 3).Draw(t, "priority"))))
				alive.Insert(name)
			},
			"delete": func(t *rapid.T) {
				name := fmt.Sprint(rapid.IntRange(0, 9).Draw(t, "pod"))
				q.Delete(types.UID(name))
				alive.Delete(name)
			},
			"pop": func(t *rapid.T) {
				if q.Counts().Active > 0 {
					p, _ := q.Pop(context.Background())
					flying = append(flying, p)
				}
			},
			"requeue": func(t *rapid.T) {
				if len(flying) > 0 {
					q.Requeue(flying[0], sets.New("Fit"))
					flying = flying[1:]
				}
			},
			"done": func(t *rapid.T) {
				if len(flying) > 0 {
					if q.pods[flying[0].uid()] == flying[0] {
						alive.Delete(flying[0].Info.Pod.Name)
					}
					q.Done(flying[0])
					flying = flying[1:]
				}
			},
			"change": func(t *rapid.T) { q.Changed(framework.NodeAdd, nil, nil) },
			"time": func(t *rapid.T) {
				clock.Step(time.Duration(rapid.IntRange(1, 400).Draw(t, "s")) * time.Second)
				q.flushBackoff()
				q.flushUnschedulable()
			},
			"": func(t *rapid.T) {
				c := q.Counts()
				if total := c.Active + c.Backoff + c.Unschedulable + c.Gated + c.InFlight; total != alive.Len() {
					t.Fatalf("%d pods alive, %+v", alive.Len(), c)
				}
				if len(q.active.pods) != c.Active || len(q.backoff.pods) != c.Backoff {
					t.Fatalf("heaps hold %d and %d, %+v", len(q.active.pods), len(q.backoff.pods), c)
				}
				if len(q.flying) == 0 && len(q.events) > 0 {
					t.Fatalf("%d events kept for nobody", len(q.events))
				}
			},
		})
	})
}
