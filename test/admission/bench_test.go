package admission_test

import (
	"context"
	"fmt"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/yare-io/yare/admission"
)

// twoValidations is a policy of the size that users write.
const twoValidations = `
  variables: [{name: named, expression: "object.metadata.name.startsWith('a') || object.metadata.generateName.startsWith('a')"}]
  validations:
  - {expression: "variables.named", messageExpression: "object.metadata.name + ' is bad'"}
  - {expression: "!has(object.metadata.labels) || object.metadata.labels.all(k, v, v.size() < 64)"}
`

const onPods = `
  matchConstraints:
    resourceRules: [{operations: [CREATE, UPDATE], apiGroups: [""], apiVersions: [v1], resources: [pods]}]
`

// processor is the processor time of the process, which other work on the
// machine does not change as much as the time on the wall.
func processor(b *testing.B) float64 {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return float64(used.Utime.Nano() + used.Stime.Nano())
}

// measure runs do in a loop.
func measure(b *testing.B, do func() error) {
	b.Helper()
	if err := do(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	before := processor(b)
	for b.Loop() {
		if err := do(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric((processor(b)-before)/float64(b.N), "cpu-ns/op")
}

// benchPod is one with labels and four containers.
func benchPod() *corev1.Pod {
	p := pod("", list("cpu", "100m"), list("memory", "64Mi"))
	p.GenerateName, p.Labels = "a-", map[string]string{"app": "web", "team": "a"}
	for i := range 3 {
		c := p.Spec.Containers[0].DeepCopy()
		c.Name = fmt.Sprintf("c%d", i)
		p.Spec.Containers = append(p.Spec.Containers, *c)
	}
	return p
}

// BenchmarkValidatingPolicies is what the policies take for one pod, all of
// which concern it.
func BenchmarkValidatingPolicies(b *testing.B) {
	for _, n := range []int{0, 1, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			h := start(b, only(policyPlugins...))
			for i := range n {
				h.checkAbout(onPods, fmt.Sprintf("p%d", i), twoValidations, everywhere)
			}
			p := benchPod()
			p.Name, p.Namespace = "a", "default"
			a := &admission.Attributes{
				Operation: admission.Create, Resource: corev1.SchemeGroupVersion.WithResource("pods"), Kind: corev1.SchemeGroupVersion.WithKind("Pod"),
				Namespace: "default", Name: "a", User: &user.DefaultInfo{Name: "ann"}, Options: &metav1.CreateOptions{}, Object: p,
			}
			chain := admission.NewChain(h.built...)
			measure(b, func() error { return chain.Validate(context.Background(), a) })
		})
	}
}

// BenchmarkCreatePod is a pod's way through a whole server, over HTTP into a
// store in memory: without any gate, with access control and the plugins that
// are on by default, and with 100 policies besides.
func BenchmarkCreatePod(b *testing.B) {
	for _, c := range []struct {
		name     string
		options  []option
		policies int
	}{
		{"open", []option{only()}, 0},
		{"gated", []option{real}, 0},
		{"gated with 100 policies", []option{real}, 100},
	} {
		b.Run(c.name, func(b *testing.B) {
			h := start(b, c.options...)
			for i := range c.policies {
				h.checkAbout(onPods, fmt.Sprintf("p%d", i), twoValidations, everywhere)
			}
			if h.policy != nil {
				must(h.client.CoreV1().ServiceAccounts("default").Create(b.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{}))
				h.bind("editor", "edit")
			}
			pods, p := h.as("editor").CoreV1().Pods("default"), benchPod()
			h.eventually("pods can be made", func() bool {
				_, err := pods.Create(b.Context(), p, metav1.CreateOptions{})
				return err == nil
			})
			measure(b, func() error {
				_, err := pods.Create(b.Context(), p, metav1.CreateOptions{})
				return err
			})
		})
	}
}
