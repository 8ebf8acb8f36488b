package podspec

import (
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// resizable is what of a running container can be changed.
var resizable = sets.New(corev1.ResourceCPU, corev1.ResourceMemory)

// ValidateResize returns what is wrong with a change of the resources of a
// running pod.
func ValidateResize(path *field.Path, pod, old *corev1.Pod) field.ErrorList {
	if errs := sameContainers(path, &pod.Spec, &old.Spec); len(errs) > 0 {
		return errs
	}
	var errs field.ErrorList
	if _, mirror := old.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
		return field.ErrorList{field.Forbidden(field.NewPath(""), "static pods do not support resize")}
	}
	if os := old.Spec.OS; os != nil && os.Name == corev1.Windows {
		return field.ErrorList{field.Forbidden(path, "windows pods do not support resize")}
	}
	rest := pod.Spec.DeepCopy()
	errs = append(errs, resized(path.Child("containers"), rest.Containers, old.Spec.Containers)...)
	errs = append(errs, resized(path.Child("initContainers"), rest.InitContainers, old.Spec.InitContainers)...)
	if !apiequality.Semantic.DeepEqual(rest, &old.Spec) {
		errs = append(errs, field.Forbidden(path, "only cpu and memory resources are mutable"))
	}
	if QOSClass(&pod.Spec) != QOSClass(&old.Spec) {
		errs = append(errs, field.Invalid(path, QOSClass(&pod.Spec), "Pod QOS Class may not change as a result of resizing"))
	}
	return errs
}

// resized checks each container's change and puts it back, so that a
// comparison finds only the rest.
func resized(path *field.Path, containers, old []corev1.Container) field.ErrorList {
	var errs field.ErrorList
	for i := range containers {
		at := path.Index(i).Child("resources")
		is, was := &containers[i].Resources, &old[i].Resources
		errs = append(errs, noneRemoved(at.Child("limits"), "resource limits cannot be removed", is.Limits, was.Limits)...)
		errs = append(errs, noneRemoved(at.Child("requests"), "resource requests cannot be removed", is.Requests, was.Requests)...)
		putBack(&is.Limits, was.Limits)
		putBack(&is.Requests, was.Requests)
	}
	return errs
}

func noneRemoved(path *field.Path, why string, is, was corev1.ResourceList) field.ErrorList {
	var errs field.ErrorList
	for name := range was {
		if _, kept := is[name]; !kept && resizable.Has(name) {
			errs = append(errs, field.Forbidden(path, why))
		}
	}
	return errs
}

func putBack(is *corev1.ResourceList, was corev1.ResourceList) {
	for name := range resizable {
		q, had := was[name]
		switch {
		case had:
			if *is == nil {
				*is = corev1.ResourceList{}
			}
			(*is)[name] = q
		case !had:
			delete(*is, name)
		}
	}
}
