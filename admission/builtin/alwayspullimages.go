package builtin

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/admission"
)

// alwaysPullImages makes every use of an image prove that it may be pulled.
type alwaysPullImages struct{ plugin }

func newAlwaysPullImages(Deps) (admission.Plugin, error) {
	return &alwaysPullImages{on("AlwaysPullImages", admission.Create, admission.Update)}, nil
}

// podWithImages is the pod of a request that may bring images.
func podWithImages(a *admission.Attributes) (*corev1.Pod, bool) {
	if a.Resource.GroupResource() != corev1.Resource("pods") || a.Subresource != "" && a.Subresource != "ephemeralcontainers" {
		return nil, false
	}
	pod, ok := a.Object.(*corev1.Pod)
	return pod, ok
}

// Admit sets the policy wherever an image is named.
func (p *alwaysPullImages) Admit(_ context.Context, a *admission.Attributes) error {
	pod, ok := podWithImages(a)
	if !ok {
		return nil
	}
	visitPullPolicies(pod, func(_ *field.Path, policy *corev1.PullPolicy) { *policy = corev1.PullAlways })
	return nil
}

// Validate sees that nobody set it back.
func (p *alwaysPullImages) Validate(_ context.Context, a *admission.Attributes) error {
	pod, ok := podWithImages(a)
	if !ok {
		return nil
	}
	var errs field.ErrorList
	visitPullPolicies(pod, func(path *field.Path, policy *corev1.PullPolicy) {
		if *policy != corev1.PullAlways {
			errs = append(errs, field.NotSupported(path, *policy, []corev1.PullPolicy{corev1.PullAlways}))
		}
	})
	if len(errs) > 0 {
		return apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Pod").GroupKind(), pod.Name, errs)
	}
	return nil
}

func visitPullPolicies(pod *corev1.Pod, visit func(*field.Path, *corev1.PullPolicy)) {
	spec := field.NewPath("spec")
	for i := range pod.Spec.InitContainers {
		visit(spec.Child("initContainers").Index(i).Child("imagePullPolicy"), &pod.Spec.InitContainers[i].ImagePullPolicy)
	}
	for i := range pod.Spec.Containers {
		visit(spec.Child("containers").Index(i).Child("imagePullPolicy"), &pod.Spec.Containers[i].ImagePullPolicy)
	}
	for i := range pod.Spec.EphemeralContainers {
		visit(spec.Child("ephemeralContainers").Index(i).Child("imagePullPolicy"), &pod.Spec.EphemeralContainers[i].ImagePullPolicy)
	}
	for i := range pod.Spec.Volumes {
		if image := pod.Spec.Volumes[i].Image; image != nil {
			visit(spec.Child("volumes").Index(i).Child("image", "pullPolicy"), &image.PullPolicy)
		}
	}
}
