package core

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
)

// podConditions say that a pod has ended, and how.
func podConditions(p *corev1.Pod) []metav1.TableRowCondition {
	message := ""
	switch p.Status.Phase {
	case corev1.PodSucceeded:
		message = "The pod has completed successfully."
	case corev1.PodFailed:
		message = "The pod failed."
	default:
		return nil
	}
	return []metav1.TableRowCondition{{Type: metav1.RowCompleted, Status: metav1.ConditionTrue, Reason: string(p.Status.Phase), Message: message}}
}

func podColumns() []registry.Column {
	return []registry.Column{
		row.NameColumn(),
		row.Text("Ready", func(p *corev1.Pod) any { s := podLine(p); return fmt.Sprintf("%d/%d", s.ready, s.total) }),
		row.Text("Status", func(p *corev1.Pod) any { return podLine(p).reason }),
		row.Aged("Restarts", func(p *corev1.Pod, now time.Time) any { return podLine(p).restartCell(now) }),
		row.AgeColumn(),
		row.Wide(row.Text("IP", func(p *corev1.Pod) any {
			if len(p.Status.PodIPs) > 0 {
				return row.Or(p.Status.PodIPs[0].IP)
			}
			return row.Or(p.Status.PodIP)
		})),
		row.Wide(row.Text("Node", func(p *corev1.Pod) any { return row.Or(p.Spec.NodeName) })),
		row.Wide(row.Text("Nominated Node", func(p *corev1.Pod) any { return row.Or(p.Status.NominatedNodeName) })),
		row.Wide(row.Text("Readiness Gates", func(p *corev1.Pod) any { return readinessGates(p) })),
	}
}

func readinessGates(p *corev1.Pod) string {
	if len(p.Spec.ReadinessGates) == 0 {
		return row.None
	}
	met := 0
	for _, g := range p.Spec.ReadinessGates {
		if hasPodCondition(p, g.ConditionType) {
			met++
		}
	}
	return fmt.Sprintf("%d/%d", met, len(p.Spec.ReadinessGates))
}

func hasPodCondition(p *corev1.Pod, t corev1.PodConditionType) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == t {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// line is what one line of kubectl get pods says about a pod's containers.
type line struct {
	ready, total, restarts int
	restarted              metav1.Time
	reason                 string
}

func (l line) restartCell(now time.Time) string {
	if l.restarts == 0 || l.restarted.IsZero() {
		return fmt.Sprint(l.restarts)
	}
	return fmt.Sprintf("%d (%s ago)", l.restarts, row.Age(l.restarted, now))
}

func podLine(p *corev1.Pod) line {
	l := line{total: len(p.Spec.Containers), reason: string(p.Status.Phase)}
	if p.Status.Reason != "" {
		l.reason = p.Status.Reason
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Reason == corev1.PodReasonSchedulingGated {
			l.reason = corev1.PodReasonSchedulingGated
		}
	}
	sidecars := sidecarNames(p)
	l.total += len(sidecars)
	if !l.initializing(p, sidecars) || hasPodCondition(p, corev1.PodInitialized) {
		l.running(p, sidecars)
	}
	if p.DeletionTimestamp != nil {
		l.deleting(p)
	}
	return l
}

// initializing accounts for the init containers and reports whether one of
// them is not done.
func (l *line) initializing(p *corev1.Pod, sidecars map[string]bool) bool {
	for i := range p.Status.InitContainerStatuses {
		c := &p.Status.InitContainerStatuses[i]
		l.count(c)
		if sidecars[c.Name] {
			if c.Ready {
				l.ready++
			}
			if c.Started != nil && *c.Started {
				continue
			}
		}
		if t := c.State.Terminated; t != nil && t.ExitCode == 0 {
			continue
		}
		l.reason = initReason(c, i, len(p.Spec.InitContainers))
		return true
	}
	return false
}

func initReason(c *corev1.ContainerStatus, i, n int) string {
	switch t, w := c.State.Terminated, c.State.Waiting; {
	case t != nil && t.Reason != "":
		return "Init:" + t.Reason
	case t != nil && t.Signal != 0:
		return fmt.Sprintf("Init:Signal:%d", t.Signal)
	case t != nil:
		return fmt.Sprintf("Init:ExitCode:%d", t.ExitCode)
	case w != nil && w.Reason != "" && w.Reason != "PodInitializing":
		return "Init:" + w.Reason
	}
	return fmt.Sprintf("Init:%d/%d", i, n)
}

// running accounts for the main containers. What the init containers counted
// as restarts stays only for sidecars.
func (l *line) running(p *corev1.Pod, sidecars map[string]bool) {
	l.restarts, l.restarted = 0, metav1.Time{}
	for i := range p.Status.InitContainerStatuses {
		if c := &p.Status.InitContainerStatuses[i]; sidecars[c.Name] {
			l.count(c)
		}
	}
	alive, failing := false, ""
	for i := len(p.Status.ContainerStatuses) - 1; i >= 0; i-- {
		c := &p.Status.ContainerStatuses[i]
		l.count(c)
		if reason := endReason(c); reason != "" {
			l.reason = reason
			if reason != "Completed" && c.State.Terminated != nil {
				failing = reason
			}
		}
		if c.Ready && c.State.Running != nil {
			l.ready++
		}
		alive = alive || c.State.Running != nil
	}
	if l.reason != "Completed" {
		return
	}
	switch {
	case alive && hasPodCondition(p, corev1.PodReady):
		l.reason = "Running"
	case alive:
		l.reason = "NotReady"
	case failing != "":
		l.reason = failing
	}
}

// endReason is why a container does not run, empty when it does.
func endReason(c *corev1.ContainerStatus) string {
	switch t, w := c.State.Terminated, c.State.Waiting; {
	case w != nil && w.Reason != "":
		return w.Reason
	case t != nil && t.Reason != "":
		return t.Reason
	case t != nil && t.Signal != 0:
		return fmt.Sprintf("Signal:%d", t.Signal)
	case t != nil:
		return fmt.Sprintf("ExitCode:%d", t.ExitCode)
	}
	return ""
}

func (l *line) deleting(p *corev1.Pod) {
	switch {
	case p.Status.Reason == "NodeLost":
		l.reason = "Unknown"
	case p.Status.Phase != corev1.PodFailed && p.Status.Phase != corev1.PodSucceeded:
		l.reason = "Terminating"
	}
}

func (l *line) count(c *corev1.ContainerStatus) {
	l.restarts += int(c.RestartCount)
	if t := c.LastTerminationState.Terminated; t != nil && l.restarted.Before(&t.FinishedAt) {
		l.restarted = t.FinishedAt
	}
}

func sidecarNames(p *corev1.Pod) map[string]bool {
	names := map[string]bool{}
	for _, c := range p.Spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			names[c.Name] = true
		}
	}
	return names
}
