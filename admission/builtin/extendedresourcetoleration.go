package builtin

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/yare-io/yare/admission"
)

// extendedResourceToleration lets pods that ask for special hardware onto the
// nodes that are tainted to be kept for it.
type extendedResourceToleration struct{ plugin }

func newExtendedResourceToleration(Deps) (admission.Plugin, error) {
	return &extendedResourceToleration{on("ExtendedResourceToleration", admission.Create, admission.Update)}, nil
}

// Admit adds a toleration for each extended resource, in order of their names.
func (p *extendedResourceToleration) Admit(_ context.Context, a *admission.Attributes) error {
	pod, ok := changedPod(a)
	if !ok {
		return nil
	}
	var names []string
	for _, containers := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for _, container := range containers {
			for name := range container.Resources.Requests {
				if extended(string(name)) && !slices.Contains(names, string(name)) {
					names = append(names, string(name))
				}
			}
		}
	}
	slices.Sort(names)
	for _, name := range names {
		pod.Spec.Tolerations = mergeTolerations(pod.Spec.Tolerations, []corev1.Toleration{{Key: name, Operator: corev1.TolerationOpExists}})
	}
	return nil
}

// extended resources have a domain, which is not Kubernetes' own.
func extended(name string) bool {
	return strings.Contains(name, "/") &&
		!strings.Contains(name, corev1.ResourceDefaultNamespacePrefix) &&
		!strings.HasPrefix(name, corev1.DefaultResourceRequestsPrefix)
}
