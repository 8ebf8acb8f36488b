package probe

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/yare-io/yare/kubelet/handler"
)

const (
	agent = "kube-probe/1.37"
	// settling is how long after its start a container may fail readiness and startup probes without being counted, so
	// that one that needs a moment to listen need not wait for a whole period.
	settling      = time.Second
	settlingPause = 200 * time.Millisecond
)

// worker runs one probe of one container.
type worker struct {
	m         *Manager
	pod       *v1.Pod
	container *v1.Container
	id        string
	started   time.Time
	host      string
	kind      kind
	spec      *v1.Probe
	cancel    context.CancelFunc

	last   bool // the last single answer
	streak int  // how many times in a row it was given

	mu     sync.Mutex
	ok     bool
	failed *Failure
}

func (w *worker) result() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ok
}

func (w *worker) failure() *Failure {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failed
}

// run asks until the container is gone, or the answer can no longer change.
func (w *worker) run(ctx context.Context) {
	wait := seconds(w.spec.InitialDelaySeconds, 0) - w.m.Clock.Since(w.started)
	for {
		if wait > 0 {
			select {
			case <-ctx.Done():
				return
			case <-w.m.Clock.After(wait):
			}
		}
		if ctx.Err() != nil {
			return
		}
		var done bool
		if wait, done = w.ask(ctx); done {
			return
		}
	}
}

// ask asks once and says how long to wait before the next time.
func (w *worker) ask(ctx context.Context) (time.Duration, bool) {
	if w.kind != startup && !w.m.hasStarted(w) {
		return settlingPause, false
	}
	ok, output := w.probe(ctx)
	if ctx.Err() != nil {
		return 0, true
	}
	period := seconds(w.spec.PeriodSeconds, 10)
	if !ok && w.kind != liveness && w.m.Clock.Since(w.started) < seconds(w.spec.InitialDelaySeconds, 0)+settling {
		return min(settlingPause, period), false
	}
	if !ok {
		w.m.Events.Container(w.pod, w.container.Name, v1.EventTypeWarning, "Unhealthy", "%s probe failed: %s", w.kind, output)
	}
	return period, w.count(ok)
}

// count adds an answer to the run of equal ones and says whether asking is over.
func (w *worker) count(ok bool) bool {
	if ok != w.last || w.streak == 0 {
		w.last, w.streak = ok, 0
	}
	w.streak++
	threshold := max(w.spec.FailureThreshold, 1)
	if w.spec.FailureThreshold == 0 {
		threshold = 3
	}
	if ok {
		threshold = max(w.spec.SuccessThreshold, 1)
	}
	if w.streak < int(threshold) {
		return false
	}
	over := (w.kind == startup && ok) || (w.kind != readiness && !ok)
	w.set(ok)
	return over
}

func (w *worker) set(ok bool) {
	w.mu.Lock()
	changed := w.ok != ok
	w.ok = ok
	if w.kind != readiness && !ok && w.failed == nil {
		w.failed = &Failure{
			Message: fmt.Sprintf("Container %s failed %s probe, will be restarted", w.container.Name, lower(w.kind)),
			Grace:   w.spec.TerminationGracePeriodSeconds,
		}
		changed = true
	}
	w.mu.Unlock()
	if changed {
		w.m.OnChange(w.pod.UID)
	}
}

func lower(k kind) string {
	switch k {
	case liveness:
		return "liveness"
	case startup:
		return "startup"
	}
	return "readiness"
}

// probe carries the handler out once.
func (w *worker) probe(ctx context.Context) (bool, string) {
	timeout := seconds(w.spec.TimeoutSeconds, 1)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	switch {
	case w.spec.Exec != nil:
		return w.exec(ctx, timeout)
	case w.spec.HTTPGet != nil:
		return w.http(ctx)
	case w.spec.TCPSocket != nil:
		return w.tcp(ctx)
	case w.spec.GRPC != nil:
		service := ""
		if w.spec.GRPC.Service != nil {
			service = *w.spec.GRPC.Service
		}
		return outcome(handler.GRPC(ctx, w.host, int(w.spec.GRPC.Port), service, agent, timeout))
	}
	return false, "missing probe handler"
}

func outcome(err error) (bool, string) {
	if err != nil {
		return false, err.Error()
	}
	return true, ""
}

func (w *worker) exec(ctx context.Context, timeout time.Duration) (bool, string) {
	result, err := w.m.CRI.ExecSync(ctx, w.id, w.spec.Exec.Command, timeout)
	if err != nil {
		return false, fmt.Sprintf("command timed out or failed: %v", err)
	}
	return result.ExitCode == 0, string(result.Stdout) + string(result.Stderr)
}

func (w *worker) http(ctx context.Context) (bool, string) {
	request, err := handler.Request(ctx, w.spec.HTTPGet, w.container, w.host, agent)
	if err != nil {
		return false, err.Error()
	}
	code, _, err := handler.HTTP(request)
	if err != nil {
		return false, err.Error()
	}
	if code >= http.StatusOK && code < http.StatusBadRequest {
		return true, ""
	}
	return false, fmt.Sprintf("HTTP probe failed with statuscode: %d", code)
}

func (w *worker) tcp(ctx context.Context) (bool, string) {
	port, err := handler.Port(w.spec.TCPSocket.Port, w.container)
	if err != nil {
		return false, err.Error()
	}
	host := w.host
	if w.spec.TCPSocket.Host != "" {
		host = w.spec.TCPSocket.Host
	}
	return outcome(handler.TCP(ctx, host, port))
}
