package fieldmanager_test

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/yare-io/yare/apiserver/api"
	"github.com/yare-io/yare/apiserver/fieldmanager"
	"github.com/yare-io/yare/apiserver/registry"
)

func podRow(b *testing.B) *registry.Resource {
	for _, row := range api.Resources(api.Deps{}) {
		if row.Name == "pods" {
			return row
		}
	}
	b.Fatal("no pods")
	return nil
}

// pod is some 3 KB in JSON.
func pod(row *registry.Resource) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "n", Labels: map[string]string{"app": "a", "tier": "b"}}}
	for i := range 2 {
		c := corev1.Container{Name: fmt.Sprintf("c%d", i), Image: "registry.example/app:v1", Ports: []corev1.ContainerPort{{ContainerPort: 8080}, {ContainerPort: 9090}}}
		for j := range 8 {
			c.Env = append(c.Env, corev1.EnvVar{Name: fmt.Sprintf("SETTING_%d", j), Value: "a value of some length"})
			c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: fmt.Sprintf("v%d", j%3), MountPath: fmt.Sprintf("/var/lib/%d", j)})
		}
		p.Spec.Containers = append(p.Spec.Containers, c)
	}
	for i := range 3 {
		p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: fmt.Sprintf("v%d", i), VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
	}
	row.Strategy.Default(p)
	return p
}

// BenchmarkTrack measures what the record costs a write of a pod, here and in
// apimachinery.
func BenchmarkTrack(b *testing.B) {
	row := podRow(b)
	manager := fieldmanager.New(row, "")
	track := map[string]func(live, obj runtime.Object, name string) runtime.Object{
		"yare": func(live, obj runtime.Object, name string) runtime.Object {
			out, err := manager.Track(live, obj, name)
			if err != nil {
				b.Fatal(err)
			}
			return out
		},
	}
	version := row.Kind.GroupVersion()
	theirs, err := managedfields.NewDefaultFieldManager(fieldmanager.Converter(), scheme.Scheme, scheme.Scheme, scheme.Scheme, row.Kind, version, "",
		map[fieldpath.APIVersion]fieldpath.Filter{"v1": fieldpath.NewExcludeSetFilter(fieldpath.NewSet(fieldpath.MakePathOrDie("status")))})
	if err != nil {
		b.Fatal(err)
	}
	track["apimachinery"] = theirs.UpdateNoErrors
	for _, way := range []string{"yare", "apimachinery"} {
		b.Run("create/"+way, func(b *testing.B) {
			b.ReportAllocs()
			obj := pod(row)
			for b.Loop() {
				obj.ManagedFields = nil
				track[way](&corev1.Pod{}, obj, "author")
			}
		})
		b.Run("update/"+way, func(b *testing.B) {
			b.ReportAllocs()
			live := track[way](&corev1.Pod{}, pod(row), "author").(*corev1.Pod)
			obj := live.DeepCopy()
			obj.Labels["app"] = "other"
			for b.Loop() {
				obj.ManagedFields = live.ManagedFields
				track[way](live, obj, "other")
			}
		})
	}
}
