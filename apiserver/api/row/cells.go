package row

import (
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/yare-io/yare/apiserver/registry"
)

// ContainerColumns are the wide columns of the kinds that carry a pod
// template.
func ContainerColumns[T runtime.Object](template func(T) *corev1.PodTemplateSpec) []registry.Column {
	return []registry.Column{
		Wide(Text("Containers", func(o T) any { return ContainerNames(template(o)) })),
		Wide(Text("Images", func(o T) any { return Images(template(o)) })),
	}
}

// ContainerNames joins the names of a template's containers.
func ContainerNames(t *corev1.PodTemplateSpec) string {
	return joinContainers(t, func(c *corev1.Container) string { return c.Name })
}

// Images joins the images of a template's containers.
func Images(t *corev1.PodTemplateSpec) string {
	return joinContainers(t, func(c *corev1.Container) string { return c.Image })
}

func joinContainers(t *corev1.PodTemplateSpec, part func(*corev1.Container) string) string {
	if t == nil {
		return ""
	}
	parts := make([]string, len(t.Spec.Containers))
	for i := range t.Spec.Containers {
		parts[i] = part(&t.Spec.Containers[i])
	}
	return strings.Join(parts, ",")
}

// Selector shows a label selector as kubectl's -l takes it.
func Selector(s *metav1.LabelSelector) string { return metav1.FormatLabelSelector(s) }

// SelectorMap shows a selector of equalities, <none> when empty.
func SelectorMap(m map[string]string) string { return labels.FormatLabels(m) }

// Or returns s, or <none> when it is empty.
func Or(s string) string {
	if s == "" {
		return None
	}
	return s
}

// Fraction shows done out of all.
func Fraction(done, all int32) string {
	return strconv.Itoa(int(done)) + "/" + strconv.Itoa(int(all))
}

// Pointed returns what p points at, or the zero value.
func Pointed[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// PointedOrUnset returns what p points at as a string, <unset> without.
func PointedOrUnset[T ~string](p *T) string {
	if p == nil {
		return Unset
	}
	return string(*p)
}
