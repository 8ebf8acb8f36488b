package usage

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// silentContainers are the containers, by name, that neither ask for nor limit
// a resource.
func silentContainers(pod *corev1.Pod, name corev1.ResourceName) []string {
	var silent []string
	for _, containers := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for _, c := range containers {
			said := corev1.ResourceList{}
			addComputing(said, c.Resources.Requests, c.Resources.Limits)
			if _, there := said[name]; !there {
				silent = append(silent, c.Name)
			}
		}
	}
	slices.Sort(silent)
	return silent
}
