package probe_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/yare-io/yare/kubelet/cri"
	"github.com/yare-io/yare/kubelet/probe"
)

// bench is one container on a stepped clock, with an HTTP server whose health a test sets.
type bench struct {
	t       *testing.T
	m       *probe.Manager
	clock   *testingclock.FakeClock
	healthy atomic.Bool
	asked   atomic.Int64
	target  probe.Target
}

func newBench(t *testing.T, set func(*v1.Container, v1.ProbeHandler)) *bench {
	b := &bench{t: t, clock: testingclock.NewFakeClock(time.Now())}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.asked.Add(1)
		if !b.healthy.Load() {
			http.Error(w, "no", http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(server.Close)
	address, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(address.Port())
	if err != nil {
		t.Fatal(err)
	}
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "u"}, Spec: v1.PodSpec{Containers: []v1.Container{{Name: "c"}}}}
	set(&pod.Spec.Containers[0], v1.ProbeHandler{HTTPGet: &v1.HTTPGetAction{Port: intstr.FromInt32(int32(port))}})
	b.target = probe.Target{Pod: pod, Host: "127.0.0.1", Runtime: &cri.Pod{Containers: []*cri.Container{{
		ID: "id", Name: "c", State: runtimeapi.ContainerState_CONTAINER_RUNNING, StartedAt: b.clock.Now().Add(-time.Minute),
	}}}}
	b.m = &probe.Manager{Clock: b.clock, Logger: slog.New(slog.DiscardHandler), OnChange: func(types.UID) {}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); b.m.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	b.until("probing", func() bool { b.m.Update(b.target, false); return b.asked.Load() > 0 })
	return b
}

func (b *bench) until(what string, condition func() bool) {
	b.t.Helper()
	deadline := time.After(10 * time.Second)
	for !condition() {
		select {
		case <-deadline:
			b.t.Fatalf("%s: never", what)
		case <-time.After(time.Millisecond):
		}
	}
}

// period lets one more answer come in.
func (b *bench) period() {
	b.t.Helper()
	before := b.asked.Load()
	b.until("the prober waits", b.clock.HasWaiters)
	b.clock.Step(10 * time.Second)
	b.until("the next question", func() bool { return b.asked.Load() > before })
	b.until("the answer is counted", b.clock.HasWaiters)
}

func (b *bench) results() probe.Results { return b.m.Results(b.target.Pod, b.target.Runtime) }

func TestReadinessFollowsThresholds(t *testing.T) {
	b := newBench(t, func(c *v1.Container, h v1.ProbeHandler) {
		c.ReadinessProbe = &v1.Probe{ProbeHandler: h, SuccessThreshold: 2, FailureThreshold: 2, PeriodSeconds: 10}
	})
	steps := []struct{ healthy, ready bool }{{true, false}, {true, true}, {false, true}, {false, false}, {true, false}, {false, false}, {true, false}, {true, true}}
	for i, step := range steps {
		b.healthy.Store(step.healthy)
		b.period()
		if got := b.results().Ready["id"]; got != step.ready {
			t.Fatalf("after answer %d ready is %v", i, got)
		}
	}
}

func TestLivenessGivesUpAfterItsThreshold(t *testing.T) {
	b := newBench(t, func(c *v1.Container, h v1.ProbeHandler) {
		c.LivenessProbe = &v1.Probe{ProbeHandler: h, FailureThreshold: 3, PeriodSeconds: 10, TerminationGracePeriodSeconds: new(int64(7))}
	})
	b.period()
	if _, failed := b.results().Failed["id"]; failed {
		t.Fatal("gave up too early")
	}
	b.until("the prober waits", b.clock.HasWaiters)
	b.clock.Step(10 * time.Second)
	b.until("it gives up", func() bool { _, failed := b.results().Failed["id"]; return failed })
	failure := b.results().Failed["id"]
	if failure.Message != "Container c failed liveness probe, will be restarted" || failure.Grace == nil || *failure.Grace != 7 {
		t.Errorf("failure: %+v", failure)
	}
}

func TestNothingElseIsAskedBeforeStartup(t *testing.T) {
	b := newBench(t, func(c *v1.Container, h v1.ProbeHandler) {
		c.StartupProbe = &v1.Probe{ProbeHandler: h, FailureThreshold: 30, PeriodSeconds: 10}
		c.ReadinessProbe = &v1.Probe{ProbeHandler: v1.ProbeHandler{TCPSocket: &v1.TCPSocketAction{Port: intstr.FromInt32(1)}}, PeriodSeconds: 10}
	})
	// Two probers wait on the clock here, so that one step may pass the other by.
	before := b.asked.Load()
	b.until("another question", func() bool {
		b.clock.Step(10 * time.Second)
		return b.asked.Load() > before
	})
	if r := b.results(); r.Started["id"] || r.Ready["id"] {
		t.Errorf("before startup: %+v", r)
	}
	b.healthy.Store(true)
	b.until("it has started", func() bool {
		b.clock.Step(10 * time.Second)
		return b.results().Started["id"]
	})
	if r := b.results(); r.Ready["id"] {
		t.Error("ready although the readiness probe has not succeeded")
	}
}
