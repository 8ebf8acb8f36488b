package eviction

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/component-helpers/resource"
	"k8s.io/component-helpers/scheduling/corev1"
)

// leastCritical is the least priority of pods that the cluster cannot do without.
const leastCritical = 2_000_000_000

// Usage is what a pod uses of the node.
type Usage struct {
	Memory, Disk, Inodes, Processes int64
	// Containers are the shares of the pod's containers, by name.
	Containers map[string]Usage
}

func (u Usage) of(name v1.ResourceName) int64 {
	switch name {
	case v1.ResourceMemory:
		return u.Memory
	case v1.ResourceEphemeralStorage:
		return u.Disk
	case "inodes":
		return u.Inodes
	}
	return u.Processes
}

// Candidate is a pod with what it uses.
type Candidate struct {
	Pod   *v1.Pod
	Usage Usage
}

// Critical says whether the pod is never evicted: static pods, their mirrors and those of the system's priorities.
func Critical(pod *v1.Pod) bool {
	for _, key := range []string{v1.MirrorPodAnnotationKey, "kubernetes.io/config.source"} {
		if value, ok := pod.Annotations[key]; ok && value != "api" {
			return true
		}
	}
	return corev1.PodPriority(pod) >= leastCritical
}

// Rank puts pods in the order in which they have to go when the resource is short: first those that use more than
// they asked for, then those of lower priority, then those that use most beyond what they asked for. What is short and
// cannot be asked for (inodes, process ids) leaves priority and use. Source: Node-pressure Eviction, "Pod selection for kubelet eviction".
func Rank(candidates []Candidate, name v1.ResourceName) []Candidate {
	ranked := slices.Clone(candidates)
	slices.SortStableFunc(ranked, func(a, b Candidate) int {
		overA, overB := a.beyond(name), b.beyond(name)
		return cmp.Or(
			compareBool(overB > 0, overA > 0),
			cmp.Compare(corev1.PodPriority(a.Pod), corev1.PodPriority(b.Pod)),
			cmp.Compare(overB, overA),
		)
	})
	return ranked
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// beyond is how much more the pod uses than it asked for.
func (c Candidate) beyond(name v1.ResourceName) int64 {
	used := c.Usage.of(name)
	if !canRequest(name) {
		return used
	}
	requested := resource.PodRequests(c.Pod, resource.PodResourcesOptions{})[name]
	return used - requested.Value()
}

func canRequest(name v1.ResourceName) bool {
	return name == v1.ResourceMemory || name == v1.ResourceEphemeralStorage
}

// Message tells the pod's owner why it went, in Kubernetes' words.
func Message(t Threshold, o Observation, c Candidate) string {
	name := t.Signal.Resource()
	var text strings.Builder
	fmt.Fprintf(&text, "The node was low on resource: %s. ", name)
	if limit, err := amount(t.Value, o.Capacity); err == nil {
		fmt.Fprintf(&text, "Threshold quantity: %s, available: %s. ", quantity(name, limit), quantity(name, o.Available))
	}
	if !canRequest(name) {
		return text.String()
	}
	for i := range c.Pod.Spec.Containers {
		container := &c.Pod.Spec.Containers[i]
		used := c.Usage.Containers[container.Name].of(name)
		if request := container.Resources.Requests[name]; used > request.Value() {
			fmt.Fprintf(&text, "Container %s was using %s, request is %s, has larger consumption of %s. ", container.Name, quantity(name, used), request.String(), name)
		}
	}
	return text.String()
}

func quantity(name v1.ResourceName, n int64) string {
	if !canRequest(name) {
		return fmt.Sprint(n)
	}
	if n >= 1024 {
		n -= n % 1024 // whole Ki read better
	}
	return apiresource.NewQuantity(n, apiresource.BinarySI).String()
}
