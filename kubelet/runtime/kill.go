package runtime

import (
	"context"
	"fmt"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/yare-io/yare/kubelet/cri"
	"github.com/yare-io/yare/kubelet/plan"
)

// leastGrace is given to every container, even to one that is killed at once.
const leastGrace = 2 * time.Second

// defaultGrace is what a pod without a grace period gets.
const defaultGrace = v1.DefaultTerminationGracePeriodSeconds * time.Second

func grace(pod *v1.Pod) time.Duration {
	switch {
	case pod.DeletionGracePeriodSeconds != nil:
		return time.Duration(*pod.DeletionGracePeriodSeconds) * time.Second
	case pod.Spec.TerminationGracePeriodSeconds != nil:
		return time.Duration(*pod.Spec.TerminationGracePeriodSeconds) * time.Second
	}
	return defaultGrace
}

// KillContainer stops one container within the grace period, its preStop hook included. A negative grace means the pod's own.
func (r *Runtime) KillContainer(ctx context.Context, pod *v1.Pod, c *cri.Container, message string, period time.Duration) error {
	if period < 0 {
		period = grace(pod)
	}
	return r.kill(ctx, pod, findSpec(pod, c.Name), c.ID, message, period)
}

func (r *Runtime) kill(ctx context.Context, pod *v1.Pod, c *v1.Container, id, message string, period time.Duration) error {
	name := ""
	if c != nil {
		name = c.Name
		if message == "" {
			message = "Stopping container " + name
		}
		r.Events.Container(pod, name, v1.EventTypeNormal, "Killing", "%s", message)
	}
	period -= r.preStop(ctx, pod, c, id, podIPs(pod), period)
	if err := r.CRI.StopContainer(ctx, id, max(period, leastGrace)); err != nil {
		return fmt.Errorf("stop container %s: %w", name, err)
	}
	return nil
}

func podIPs(pod *v1.Pod) []string {
	var ips []string
	for _, ip := range pod.Status.PodIPs {
		ips = append(ips, ip.IP)
	}
	return ips
}

func findSpec(pod *v1.Pod, name string) *v1.Container {
	for _, list := range [][]v1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		if e := &pod.Spec.EphemeralContainers[i]; e.Name == name {
			return (*v1.Container)(&e.EphemeralContainerCommon)
		}
	}
	return nil
}

// StopPod stops every container of the pod within the grace period (negative: the pod's own): first the app
// containers, all at once, then sidecars from last to first. At last it stops the sandboxes.
func (r *Runtime) StopPod(ctx context.Context, pod *v1.Pod, found *cri.Pod, period time.Duration) error {
	if period < 0 {
		period = grace(pod)
	}
	deadline := r.Clock.Now().Add(period)
	for _, group := range stopOrder(pod, found) {
		left := max(0, deadline.Sub(r.Clock.Now()))
		if err := r.stopGroup(ctx, pod, group, left); err != nil {
			return err
		}
	}
	for _, s := range found.Sandboxes {
		if err := r.CRI.StopSandbox(ctx, s.ID); err != nil {
			return fmt.Errorf("stop sandbox %s: %w", s.ID, err)
		}
	}
	return nil
}

// stopOrder groups the containers that may be alive: app containers together, then each sidecar by itself.
func stopOrder(pod *v1.Pod, found *cri.Pod) [][]*cri.Container {
	sidecars := map[string]int{}
	for i := range pod.Spec.InitContainers {
		if plan.IsSidecar(&pod.Spec.InitContainers[i]) {
			sidecars[pod.Spec.InitContainers[i].Name] = len(pod.Spec.InitContainers) - i
		}
	}
	groups := make([][]*cri.Container, len(pod.Spec.InitContainers)+1)
	for _, c := range found.Containers {
		if !c.Exited() {
			at := sidecars[c.Name]
			groups[at] = append(groups[at], c)
		}
	}
	return groups
}

func (r *Runtime) stopGroup(ctx context.Context, pod *v1.Pod, group []*cri.Container, period time.Duration) error {
	var wg sync.WaitGroup
	errs := make([]error, len(group))
	for i, c := range group {
		wg.Go(func() { errs[i] = r.kill(ctx, pod, findSpec(pod, c.Name), c.ID, "", period) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
