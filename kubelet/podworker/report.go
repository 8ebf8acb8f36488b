package podworker

import (
	"context"
	"maps"

	v1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"

	"github.com/yare-io/yare/kubelet/cri"
	"github.com/yare-io/yare/kubelet/plan"
	"github.com/yare-io/yare/kubelet/probe"
	"github.com/yare-io/yare/kubelet/runtime"
	"github.com/yare-io/yare/kubelet/status"
)

// report computes the pod's status and hands it on if it has changed.
func (w *worker) report(pod *v1.Pod, next plan.Plan, probes probe.Results, stopped bool) {
	waiting := maps.Clone(w.waiting)
	maps.Copy(waiting, next.Waiting)
	w.announce(pod, next.Waiting)
	computed := status.Compute(status.Input{
		Pod: pod, Runtime: w.found, RuntimeName: w.RuntimeName(), Now: w.Clock.Now(),
		HostIPs: w.Environment(pod).Addresses.HostIPs,
		Waiting: waiting, Ready: probes.Ready, Started: probes.Started,
		Message: w.message, Stopped: stopped, Verdict: w.verdict,
	})
	if w.status != nil && apiequality.Semantic.DeepEqual(*w.status, computed) {
		return
	}
	w.status = &computed
	w.Statuses.Set(w.uid, computed)
}

// announce tells each new back-off once.
func (w *worker) announce(pod *v1.Pod, waiting map[string]plan.Waiting) {
	for name, reason := range waiting {
		if w.announced[name] == reason.Message {
			continue
		}
		w.announced[name] = reason.Message
		w.Events.Container(pod, name, v1.EventTypeWarning, "BackOff", "Back-off restarting failed container %s in pod %s_%s(%s)",
			name, pod.Name, pod.Namespace, pod.UID)
	}
}

// message returns a dead container's last words, read once: the file goes before the status does.
func (w *worker) message(c *cri.Container) string {
	text, ok := w.messages[c.ID]
	if !ok {
		text = runtime.Message(c)
		w.messages[c.ID] = text
	}
	return text
}

// prune removes dead containers and sandboxes that nobody will ask for: of each container the newest dead one is kept,
// and the one before it while none runs.
func (w *worker) prune(ctx context.Context, pod *v1.Pod) {
	kept := map[string]int{}
	inUse := map[string]bool{}
	for _, c := range w.found.Containers {
		kept[c.Name]++
		if c.Running() || kept[c.Name] <= 2 {
			inUse[c.SandboxID] = true
			continue
		}
		if err := w.Runtime.RemoveContainer(ctx, w.found, c); err != nil {
			w.Logger.Warn("a dead container could not be removed", "pod", w.name(), "container", c.Name, "error", err)
			return
		}
		delete(w.messages, c.ID)
	}
	for i, s := range w.found.Sandboxes {
		if i == 0 || s.Ready || inUse[s.ID] {
			continue
		}
		if err := w.CRI.RemoveSandbox(ctx, s.ID); err != nil {
			w.Logger.Warn("a dead sandbox could not be removed", "pod", w.name(), "sandbox", s.ID, "error", err)
		}
	}
}
