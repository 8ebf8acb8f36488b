package row

import (
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/yare-io/yare/apiserver/registry"
)

// Scalable is how a kind's replicas are read and set.
type Scalable[T metav1.Object] struct {
	// Read returns the wished and the observed number of replicas and the
	// selector of the pods in its string form.
	Read func(T) (wished, observed int32, selector string, err error)
	// Set changes the wished number. The kind's own generation follows.
	Set func(obj T, replicas int32)
	// Path is where the object has its wished number; nil: spec.replicas.
	Path []string
}

// Scale returns a scale subresource.
func Scale[T interface {
	metav1.Object
	runtime.Object
}](s Scalable[T]) registry.Subresource {
	return registry.Subresource{
		Name:  "scale",
		Kind:  autoscalingv1.SchemeGroupVersion.WithKind("Scale"),
		New:   New[autoscalingv1.Scale],
		Verbs: ReadWrite(),
		Projection: &registry.Projection{
			From: func(o runtime.Object) (runtime.Object, error) { return scaleOf(o.(T), s) },
			Into: func(scale, o runtime.Object) error {
				s.Set(o.(T), scale.(*autoscalingv1.Scale).Spec.Replicas)
				return nil
			},
			Validate: func(o runtime.Object) field.ErrorList { return validateScale(o.(*autoscalingv1.Scale)) },
			Replicas: s.Path,
			Columns: []registry.Column{
				Text("Name", func(s *autoscalingv1.Scale) any { return s.Name }),
				Integer("Desired", func(s *autoscalingv1.Scale) any { return int64(s.Spec.Replicas) }),
				Integer("Available", func(s *autoscalingv1.Scale) any { return int64(s.Status.Replicas) }),
				AgeColumn(),
			},
		},
	}
}

func scaleOf[T metav1.Object](obj T, s Scalable[T]) (runtime.Object, error) {
	wished, observed, selector, err := s.Read(obj)
	if err != nil {
		return nil, err
	}
	return &autoscalingv1.Scale{
		ObjectMeta: metav1.ObjectMeta{
			Name:              obj.GetName(),
			Namespace:         obj.GetNamespace(),
			UID:               obj.GetUID(),
			ResourceVersion:   obj.GetResourceVersion(),
			CreationTimestamp: obj.GetCreationTimestamp(),
		},
		Spec:   autoscalingv1.ScaleSpec{Replicas: wished},
		Status: autoscalingv1.ScaleStatus{Replicas: observed, Selector: selector},
	}, nil
}

func validateScale(s *autoscalingv1.Scale) field.ErrorList {
	return apivalidation.ValidateNonnegativeField(int64(s.Spec.Replicas), field.NewPath("spec", "replicas"))
}
