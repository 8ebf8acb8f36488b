package scheduler

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/yare-io/yare/scheduler/framework"
)

// preempt looks for a node that could take the pod if pods of lower priority
// were evicted. It returns the node now promised to the pod, "" for none, and
// what evicts the victims; what it tried is noted in the diagnosis.
func (s *Scheduler) preempt(ctx context.Context, p *profile, pod *framework.PodInfo, result decision) (nominated string, evict func()) {
	promised := s.nominated.Node(pod.Pod.UID)
	nothing := func() {}
	if p.preemption == nil || result.diagnosis.Nodes == 0 {
		return promised, nothing
	}
	if why := ineligible(pod, promised, result.attempt); why != "" {
		result.diagnosis.Preemption = "preemption: " + why
		return promised, nothing
	}
	s.metrics.preemptions.Inc()
	budgets, err := p.sources.Budgets.List(labels.Everything())
	if err != nil {
		s.log.Error("preemption without disruption budgets", "error", err)
	}
	candidates, why := s.candidates(p, result, budgets)
	if len(candidates) == 0 {
		result.diagnosis.Preemption = fmt.Sprintf("preemption: 0/%d nodes are available: %s.", result.diagnosis.Nodes, strings.Join(histogram(why), ", "))
		return "", nothing
	}
	best := pickCandidate(candidates)
	s.metrics.victims.Observe(float64(len(best.victims)))
	for _, other := range s.nominated.Below(pod, best.node) {
		s.nominated.Drop(other.Pod.UID)
		s.queue.Activate(other.Pod.UID)
	}
	return best.node, func() { s.evict(ctx, p, pod.Pod, best) }
}

// ineligible says why preemption must not be tried, "" if it may.
func ineligible(pod *framework.PodInfo, promised string, a *attempt) string {
	if policy := pod.Pod.Spec.PreemptionPolicy; policy != nil && *policy == v1.PreemptNever {
		return "not eligible due to preemptionPolicy=Never."
	}
	if promised == "" || a == nil {
		return ""
	}
	node := a.snapshot.Node(promised)
	if node == nil {
		return ""
	}
	for _, other := range node.Pods {
		if other.Priority < pod.Priority && other.Pod.DeletionTimestamp != nil && evictedByScheduler(other.Pod) {
			return "not eligible due to a terminating pod on the nominated node."
		}
	}
	return ""
}

func evictedByScheduler(pod *v1.Pod) bool {
	for i := range pod.Status.Conditions {
		c := &pod.Status.Conditions[i]
		if c.Type == v1.DisruptionTarget {
			return c.Status == v1.ConditionTrue && c.Reason == v1.PodReasonPreemptionByScheduler
		}
	}
	return false
}

const (
	notHelpful = "Preemption is not helpful for scheduling"
	noVictims  = "No preemption victims found for incoming pod"
)

// candidates tries nodes, from a random one on, until enough are found; why
// counts the reasons of the others.
func (s *Scheduler) candidates(p *profile, result decision, budgets []budget) (found []candidate, why map[string]int) {
	why = map[string]int{}
	if result.attempt == nil {
		why[notHelpful] = result.diagnosis.Nodes
		return nil, why
	}
	var nodes []*framework.NodeInfo
	for i := range result.diagnosis.Rejected {
		rejected := &result.diagnosis.Rejected[i]
		if rejected.Statuses[0].Code == framework.Unschedulable {
			nodes = append(nodes, result.attempt.snapshot.Node(rejected.Node))
		} else {
			why[notHelpful]++
		}
	}
	if len(nodes) == 0 {
		return nil, why
	}
	enough, offset := p.preemption.Candidates(len(nodes)), s.decider.pick(len(nodes))
	for i := range nodes {
		c, reasons := result.attempt.selectVictims(nodes[(offset+i)%len(nodes)], budgets)
		if len(reasons) == 0 {
			if found = append(found, c); len(found) >= enough {
				break
			}
		}
		for _, reason := range reasons {
			why[reason]++
		}
	}
	return found, why
}

// evict deletes the victims, each with a condition and an event that say why.
func (s *Scheduler) evict(ctx context.Context, p *profile, preemptor *v1.Pod, c candidate) {
	for _, victim := range c.victims {
		pod := victim.Pod
		if pod.DeletionTimestamp == nil {
			if err := s.evictOne(ctx, p, preemptor, pod); err != nil && !apierrors.IsNotFound(err) && ctx.Err() == nil {
				s.log.Error("victim not evicted", "pod", victim.Key(), "preemptor", preemptor.Namespace+"/"+preemptor.Name, "error", err)
				continue
			}
		}
		s.recorders[p.name].Eventf(pod, preemptor, v1.EventTypeNormal, "Preempted", "Preempting", "Preempted by pod %v on node %v", preemptor.UID, c.node)
	}
}

func (s *Scheduler) evictOne(ctx context.Context, p *profile, preemptor, victim *v1.Pod) error {
	condition := v1.PodCondition{Type: v1.DisruptionTarget, Status: v1.ConditionTrue, Reason: v1.PodReasonPreemptionByScheduler,
		Message:            fmt.Sprintf("%s: preempting to accommodate a higher priority pod", p.name),
		ObservedGeneration: victim.Generation, LastTransitionTime: metav1.NewTime(s.cfg.Clock.Now())}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": victim.UID}, "status": map[string]any{"conditions": []v1.PodCondition{condition}}})
	if err != nil {
		return fmt.Errorf("condition of victim: %w", err)
	}
	pods := s.cfg.Client.CoreV1().Pods(victim.Namespace)
	if _, err := pods.Patch(ctx, victim.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status"); err != nil {
		return err
	}
	return pods.Delete(ctx, victim.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &victim.UID}})
}
