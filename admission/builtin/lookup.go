package builtin

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/lookup"
)

func newNamespaces(deps Deps) lookup.Namespaces {
	return lookup.NewNamespaces(deps.Client, deps.Informers)
}

// changedPod is the pod that the request creates or updates as a whole.
func changedPod(a *admission.Attributes) (*corev1.Pod, bool) {
	if a.Operation != admission.Create && a.Operation != admission.Update || !a.Is(corev1.Resource("pods"), "") {
		return nil, false
	}
	pod, ok := a.Object.(*corev1.Pod)
	return pod, ok
}
