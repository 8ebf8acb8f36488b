package admission_test

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/yare-io/yare/admission"
)

// BenchmarkValidatingPolicies is the time that the policies take for one
// request, all of which concern it.
func BenchmarkValidatingPolicies(b *testing.B) {
	for _, n := range []int{0, 1, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			h := start(b, only(policyPlugins...))
			for i := range n {
				h.check(fmt.Sprintf("p%d", i), `
  variables: [{name: named, expression: "object.metadata.name.startsWith('a')"}]
  validations:
  - {expression: "variables.named && object.data.all(k, k.size() < 64)", messageExpression: "object.metadata.name + ' is bad'"}
  - {expression: "!has(object.metadata.labels) || object.metadata.labels.all(k, v, v.size() < 64)"}
`, everywhere)
			}
			a := &admission.Attributes{
				Operation: admission.Create, Resource: corev1.SchemeGroupVersion.WithResource("configmaps"), Kind: corev1.SchemeGroupVersion.WithKind("ConfigMap"),
				Namespace: "default", Name: "a", User: &user.DefaultInfo{Name: "ann"}, Options: &metav1.CreateOptions{},
				Object: &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "default", Labels: map[string]string{"app": "web"}}, Data: map[string]string{"a": "b", "c": "d"}},
			}
			chain := admission.NewChain(h.built...)
			if err := chain.Validate(context.Background(), a); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				if err := chain.Validate(context.Background(), a); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
