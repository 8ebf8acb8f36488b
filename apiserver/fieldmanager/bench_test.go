package fieldmanager_test

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/yare-io/yare/apiserver/api/apps"
	"github.com/yare-io/yare/apiserver/fieldmanager"
	"github.com/yare-io/yare/apiserver/registry"
)

// BenchmarkTrack measures what a record costs a write: an update of a
// Deployment that has one.
func BenchmarkTrack(b *testing.B) {
	var row *registry.Resource
	for _, r := range apps.Resources() {
		if r.Name == "deployments" {
			row = r
		}
	}
	labels := map[string]string{"app": "a"}
	live := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "d", Namespace: "n", Labels: labels, ManagedFields: []metav1.ManagedFieldsEntry{}},
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To[int32](1), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}},
		},
	}
	row.Strategy.Default(live)
	manager := fieldmanager.New(row, "")
	for _, first := range []bool{true, false} {
		name, from := "update", live.DeepCopy()
		if first {
			name, from = "create", &appsv1.Deployment{}
		} else {
			tracked, err := manager.Track(&appsv1.Deployment{}, from, "author")
			if err != nil {
				b.Fatal(err)
			}
			from = tracked.(*appsv1.Deployment)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				obj := live.DeepCopy()
				if !first {
					obj = from.DeepCopy()
					obj.Spec.Replicas = ptr.To[int32](3)
				}
				if _, err := manager.Track(from, obj, "scaler"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
