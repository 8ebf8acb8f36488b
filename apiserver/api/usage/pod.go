package usage

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	resourcehelper "k8s.io/component-helpers/resource"

	"github.com/yare-io/yare/apiserver/api/podspec"
)

const (
	requestPrefix  = "requests."
	hugePagePrefix = corev1.ResourceHugePagesPrefix
)

// plain are the resources whose requests also count under their bare name.
var plain = map[corev1.ResourceName]bool{
	corev1.ResourceCPU: true, corev1.ResourceMemory: true, corev1.ResourceEphemeralStorage: true,
	corev1.ResourceRequestsCPU: true, corev1.ResourceRequestsMemory: true, corev1.ResourceRequestsEphemeralStorage: true,
	corev1.ResourceLimitsCPU: true, corev1.ResourceLimitsMemory: true, corev1.ResourceLimitsEphemeralStorage: true,
	corev1.ResourcePods: true,
}

func isPodResource(name corev1.ResourceName) bool {
	if plain[name] || strings.HasPrefix(string(name), hugePagePrefix) {
		return true
	}
	asked, ok := strings.CutPrefix(string(name), requestPrefix)
	return ok && (strings.HasPrefix(asked, hugePagePrefix) || podspec.IsExtendedResource(corev1.ResourceName(asked)))
}

// Ended reports whether a pod uses nothing any more.
func Ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

func addPod(list corev1.ResourceList, pod *corev1.Pod) {
	if Ended(pod) {
		return
	}
	list[corev1.ResourcePods] = *resource.NewQuantity(1, resource.DecimalSI)
	options := resourcehelper.PodResourcesOptions{UseStatusResources: true}
	addComputing(list, resourcehelper.PodRequests(pod, options), resourcehelper.PodLimits(pod, options))
}

// addComputing adds requests and limits under the names that quotas have for
// them.
func addComputing(list, requests, limits corev1.ResourceList) {
	for name, amount := range requests {
		switch {
		case native(name) || strings.HasPrefix(string(name), hugePagePrefix):
			list[name] = amount
			list[requestPrefix+name] = amount
		case podspec.IsExtendedResource(name):
			list[requestPrefix+name] = amount
		}
	}
	for name, amount := range limits {
		if native(name) {
			list["limits."+name] = amount
		}
	}
}

func native(name corev1.ResourceName) bool {
	return name == corev1.ResourceCPU || name == corev1.ResourceMemory || name == corev1.ResourceEphemeralStorage
}

// mustSpecify are the resources that a pod under a quota for them has to say
// something about.
var mustSpecify = []corev1.ResourceName{
	corev1.ResourceCPU, corev1.ResourceLimitsCPU, corev1.ResourceLimitsMemory, corev1.ResourceMemory,
	corev1.ResourceRequestsCPU, corev1.ResourceRequestsMemory,
}

// Unspecified says which of a quota's resources the pod's containers say
// nothing about, in Kubernetes' words; empty when all is said.
func Unspecified(pod *corev1.Pod, quota []corev1.ResourceName) string {
	said := corev1.ResourceList{}
	if r := pod.Spec.Resources; r != nil {
		addComputing(said, r.Requests, r.Limits)
	}
	var missing []string
	for _, name := range mustSpecify {
		if _, there := said[name]; there || !contains(quota, name) {
			continue
		}
		if silent := silentContainers(pod, name); len(silent) > 0 {
			missing = append(missing, string(name)+" for: "+strings.Join(silent, ","))
		}
	}
	return strings.Join(missing, "; ")
}

func contains(names []corev1.ResourceName, wanted corev1.ResourceName) bool {
	for _, name := range names {
		if name == wanted {
			return true
		}
	}
	return false
}
