package codec_test

import (
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/yare-io/yare/apiserver/codec"
)

// TestWhatIsLeftIsWhatIsRead: an object shows the same before it is stored and
// after it was read.
func TestWhatIsLeftIsWhatIsRead(t *testing.T) {
	for name, obj := range map[string]runtime.Object{
		"a list":            &rbacv1.ClusterRole{Rules: []rbacv1.PolicyRule{}},
		"in a list":         &rbacv1.ClusterRole{Rules: []rbacv1.PolicyRule{{Verbs: []string{}}, {Verbs: []string{"get"}}}},
		"two lists":         &discoveryv1.EndpointSlice{Endpoints: []discoveryv1.Endpoint{{Addresses: []string{}}}, Ports: []discoveryv1.EndpointPort{}},
		"behind a pointer":  &corev1.Pod{Spec: corev1.PodSpec{Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{}}}}}},
		"nothing to drop":   &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Data: map[string]string{"a": ""}},
		"empty bytes":       &corev1.Secret{Data: map[string][]byte{"a": {}}},
		"volumes' contents": &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{}, Volumes: []corev1.Volume{{VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{}}}}}}},
	} {
		kinds, _, err := scheme.Scheme.ObjectKinds(obj)
		if err != nil {
			t.Fatal(err)
		}
		stored, err := codec.Store(kinds[0], obj)
		if err != nil {
			t.Fatal(err)
		}
		read, err := scheme.Scheme.New(kinds[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := codec.Decode(codec.Protobuf, stored, kinds[0], read, false); err != nil {
			t.Fatal(err)
		}
		codec.DropEmpty(obj)
		for _, f := range []codec.Format{codec.JSON, codec.CBOR} {
			got, gotErr := codec.Encode(f, obj)
			want, wantErr := codec.Encode(f, read)
			if gotErr != nil || wantErr != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %q (%v), want %q (%v)", name, got, gotErr, want, wantErr)
			}
		}
	}
}
