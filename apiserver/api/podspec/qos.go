package podspec

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// QOSClass returns how a pod is treated when its node runs short: Guaranteed
// when every container is limited to exactly what it asks for, BestEffort when
// none asks for anything.
func QOSClass(s *corev1.PodSpec) corev1.PodQOSClass {
	if r := s.Resources; r != nil && len(r.Requests)+len(r.Limits) > 0 {
		return classOf([]corev1.ResourceRequirements{*r})
	}
	var all []corev1.ResourceRequirements
	for i := range s.Containers {
		all = append(all, s.Containers[i].Resources)
	}
	for i := range s.InitContainers {
		all = append(all, s.InitContainers[i].Resources)
	}
	return classOf(all)
}

func classOf(all []corev1.ResourceRequirements) corev1.PodQOSClass {
	asked, guaranteed := false, true
	for _, r := range all {
		for name := range resizable {
			request, limit := r.Requests[name], r.Limits[name]
			asked = asked || positive(request) || positive(limit)
			if _, ok := r.Requests[name]; !ok {
				request = limit
			}
			guaranteed = guaranteed && positive(limit) && request.Cmp(limit) == 0
		}
	}
	switch {
	case !asked:
		return corev1.PodQOSBestEffort
	case guaranteed:
		return corev1.PodQOSGuaranteed
	}
	return corev1.PodQOSBurstable
}

func positive(q resource.Quantity) bool { return q.Sign() > 0 }
