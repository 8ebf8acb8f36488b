package runtime

import (
	"context"
	"fmt"
	"net/http"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/yare-io/yare/kubelet/handler"
)

const hookAgent = "kube-lifecycle/1.37"

// hookTimeout bounds a postStart hook, which has no grace period of its own.
const hookTimeout = 10 * time.Minute

// postStart runs the container's postStart hook; if that fails the container is killed.
func (r *Runtime) postStart(ctx context.Context, pod Pod, c *v1.Container, id string, ips []string) error {
	if c.Lifecycle == nil || c.Lifecycle.PostStart == nil {
		return nil
	}
	if pod.Spec.HostNetwork {
		ips = pod.Env.Addresses.HostIPs
	}
	bounded, cancel := context.WithTimeout(ctx, hookTimeout)
	defer cancel()
	err := r.hook(bounded, c, id, c.Lifecycle.PostStart, ips)
	if err == nil || ctx.Err() != nil {
		return nil
	}
	r.Logger.Info("a postStart hook failed", "pod", pod.Namespace+"/"+pod.Name, "container", c.Name, "error", err)
	r.Events.Container(pod.Pod, c.Name, v1.EventTypeWarning, "FailedPostStartHook", "PostStartHook failed")
	r.kill(ctx, pod.Pod, c, id, "FailedPostStartHook", grace(pod.Pod))
	return &StartError{Reason: "PostStartHookError", Message: "PostStartHook failed"}
}

// preStop runs the container's preStop hook for at most the grace period, and returns how long it took.
func (r *Runtime) preStop(ctx context.Context, pod *v1.Pod, c *v1.Container, id string, ips []string, limit time.Duration) time.Duration {
	if c == nil || c.Lifecycle == nil || c.Lifecycle.PreStop == nil || limit <= 0 {
		return 0
	}
	began := r.Clock.Now()
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := r.hook(bounded, c, id, c.Lifecycle.PreStop, ips); err != nil {
		r.Logger.Info("a preStop hook failed", "pod", pod.Namespace+"/"+pod.Name, "container", c.Name, "error", err)
		r.Events.Container(pod, c.Name, v1.EventTypeWarning, "FailedPreStopHook", "PreStopHook failed")
	}
	return r.Clock.Since(began)
}

func (r *Runtime) hook(ctx context.Context, c *v1.Container, id string, h *v1.LifecycleHandler, ips []string) error {
	host := ""
	if len(ips) > 0 {
		host = ips[0]
	}
	switch {
	case h.Exec != nil:
		result, err := r.execHook(ctx, id, h.Exec.Command)
		if err != nil {
			return err
		}
		if result != 0 {
			return fmt.Errorf("command %q exited with %d", h.Exec.Command, result)
		}
		return nil
	case h.HTTPGet != nil:
		return httpHook(ctx, c, h.HTTPGet, host)
	case h.TCPSocket != nil:
		port, err := handler.Port(h.TCPSocket.Port, c)
		if err != nil {
			return err
		}
		if h.TCPSocket.Host != "" {
			host = h.TCPSocket.Host
		}
		return handler.TCP(ctx, host, port)
	case h.Sleep != nil:
		select {
		case <-r.Clock.After(time.Duration(h.Sleep.Seconds) * time.Second):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("the hook has no handler")
}

func (r *Runtime) execHook(ctx context.Context, id string, command []string) (int32, error) {
	deadline, _ := ctx.Deadline()
	result, err := r.CRI.ExecSync(ctx, id, command, max(time.Second, time.Until(deadline)))
	return result.ExitCode, err
}

func httpHook(ctx context.Context, c *v1.Container, action *v1.HTTPGetAction, host string) error {
	request, err := handler.Request(ctx, action, c, host, hookAgent)
	if err != nil {
		return err
	}
	code, _, err := handler.HTTP(request)
	if err != nil {
		return err
	}
	if code < http.StatusOK || code >= http.StatusBadRequest {
		return fmt.Errorf("GET %s answered %d", request.URL, code)
	}
	return nil
}
