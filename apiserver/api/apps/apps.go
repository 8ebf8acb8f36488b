// Package apps holds the rows of the apps group: the controllers of
// long-running pods and their revisions.
package apps

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/podspec"
	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
)

// Resources returns the rows of the group.
func Resources() []*registry.Resource {
	return []*registry.Resource{controllerRevisions(), daemonSets(), deployments(), replicaSets(), statefulSets()}
}

func kind(name string) schema.GroupVersionKind { return appsv1.SchemeGroupVersion.WithKind(name) }

// defaultInt sets an unset number.
func defaultInt(field **int32, value int32) {
	if *field == nil {
		*field = &value
	}
}

// selected reads the replicas of a kind for its scale.
func selected(wished *int32, observed int32, selector *metav1.LabelSelector) (int32, int32, string, error) {
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return 0, 0, "", err
	}
	return row.Pointed(wished), observed, s.String(), nil
}

// templateWarnings tells what of a new or changed template is probably not
// meant.
func templateWarnings(template, old *corev1.PodTemplateSpec) []string {
	if old != nil && row.Same(template.Spec, old.Spec) {
		return nil
	}
	return podspec.Warnings(field.NewPath("spec", "template", "spec"), &template.Spec)
}

// typed casts an object that may not be there.
func typed[T runtime.Object](o runtime.Object) (T, bool) {
	t, ok := o.(T)
	return t, ok
}
