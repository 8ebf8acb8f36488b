// Package admission is the node's last word on a pod that was bound to it: whether it fits and whether it belongs here. A pure
// function of the pod, the node and the pods already there.
package admission

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/component-helpers/resource"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"github.com/yare-io/yare/kubelet/status"
)

// Check returns why the node refuses the pod, or nil. Others are the pods that hold resources of the node already.
func Check(pod *v1.Pod, others []*v1.Pod, node *v1.Node) *status.Verdict {
	if v := fits(pod, others, node.Status.Allocatable); v != nil {
		return v
	}
	if ok, err := nodeaffinity.GetRequiredNodeAffinity(pod).Match(node); err != nil || !ok {
		return reject("NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector")
	}
	return nil
}

func reject(reason, message string) *status.Verdict {
	return &status.Verdict{Reason: reason, Message: "Pod was rejected: " + message}
}

func fits(pod *v1.Pod, others []*v1.Pod, allocatable v1.ResourceList) *status.Verdict {
	if most := allocatable.Pods().Value(); int64(len(others))+1 > most {
		return tooLittle(v1.ResourcePods, 1, int64(len(others)), most)
	}
	used := v1.ResourceList{}
	for _, other := range others {
		for name, quantity := range resource.PodRequests(other, resource.PodResourcesOptions{}) {
			sum := used[name]
			sum.Add(quantity)
			used[name] = sum
		}
	}
	for name, wanted := range resource.PodRequests(pod, resource.PodResourcesOptions{}) {
		if wanted.IsZero() {
			continue
		}
		taken, all := used[name], allocatable[name]
		total := wanted.DeepCopy()
		total.Add(taken)
		if total.Cmp(all) > 0 {
			return tooLittle(name, amount(name, wanted), amount(name, taken), amount(name, all))
		}
	}
	return nil
}

// amount is in thousandths of a CPU for CPUs, else in whole units.
func amount(name v1.ResourceName, q apiresource.Quantity) int64 {
	if name == v1.ResourceCPU {
		return q.MilliValue()
	}
	return q.Value()
}

func tooLittle(name v1.ResourceName, wanted, used, capacity int64) *status.Verdict {
	return reject("OutOf"+string(name), fmt.Sprintf("Node didn't have enough resource: %s, requested: %d, used: %d, capacity: %d",
		name, wanted, used, capacity))
}
