package opa_test

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/yare-io/yare/admission"
)

// rulesFor are rules as people write them: a third is about pods, each about
// another label, image or kind.
func rulesFor(count int) map[string]string {
	files := map[string]string{}
	for n := range count {
		var body string
		switch n % 3 {
		case 0:
			body = fmt.Sprintf("input.request.kind.kind == \"Pod\"\n\tsome container in input.request.object.spec.containers\n\tstartswith(container.image, \"banned-%d/\")\n\tmsg := sprintf(\"%%s is banned\", [container.image])", n)
		case 1:
			body = fmt.Sprintf("input.request.kind.kind == \"Kind%d\"\n\tnot input.request.object.metadata.labels[\"label-%d\"]\n\tmsg := \"a label is missing\"", n, n)
		default:
			body = fmt.Sprintf("input.request.kind.kind == \"Service\"\n\tinput.request.object.spec.type == \"Type%d\"\n\tmsg := \"no such type\"", n)
		}
		files[fmt.Sprintf("p%d.rego", n)] = fmt.Sprintf("package kubernetes.admission\n\ndeny contains msg if {\n\t%s\n}\n", body)
	}
	return files
}

// largePod is a pod of the size that users have.
func largePod() *corev1.Pod {
	pod := newPod("registry.example.com/web:1")
	pod.Labels = map[string]string{"app": "web", "tier": "front"}
	for n := range 3 {
		container := corev1.Container{Name: fmt.Sprintf("c%d", n), Image: "registry.example.com/side:1"}
		container.Resources.Limits = corev1.ResourceList{"cpu": resource.MustParse("1"), "memory": resource.MustParse("1Gi")}
		for m := range 10 {
			container.Env = append(container.Env, envVar(fmt.Sprintf("V%d", m), "value"))
		}
		pod.Spec.Containers = append(pod.Spec.Containers, container)
	}
	return pod
}

// measure runs a request again and again, and reports the 99th percentile, and
// the processor time, which other work on the machine disturbs less.
func measure(b *testing.B, p *policies, request func() *admission.Attributes) {
	b.ReportAllocs()
	var took []time.Duration
	before := processorTime(b)
	for b.Loop() {
		a, began := request(), time.Now()
		if err := p.admit(a); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64((processorTime(b)-before).Microseconds())/float64(len(took)), "cpu-µs/op")
}

// processorTime is what this process has used.
func processorTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func BenchmarkPodAdmission(b *testing.B) {
	for _, count := range []int{1, 100, 500} {
		b.Run(fmt.Sprintf("rules=%d", count), func(b *testing.B) {
			p := start(b, "", rulesFor(count)).ready()
			measure(b, p, func() *admission.Attributes { return create(largePod()) })
		})
	}
}

// BenchmarkActivation is the start on bundles that are all there, each with ten
// rules.
func BenchmarkActivation(b *testing.B) {
	for _, count := range []int{1, 25, 100} {
		b.Run(fmt.Sprintf("bundles=%d", count), func(b *testing.B) {
			dir := b.TempDir()
			var config strings.Builder
			config.WriteString("bundles:\n")
			for n := range count {
				files := map[string]string{".manifest": fmt.Sprintf(`{"roots": ["kubernetes/admission/b%d"]}`, n)}
				for name, text := range rulesFor(10) {
					files[name] = strings.Replace(text, "package kubernetes.admission", fmt.Sprintf("package kubernetes.admission.b%d", n), 1)
				}
				(&policies{t: b, dir: fmt.Sprintf("%s/%d", dir, n)}).write(files)
				fmt.Fprintf(&config, "  b%d: {resource: \"file://%s/%d\"}\n", n, dir, n)
			}
			before, runs := processorTime(b), 0
			for b.Loop() {
				p := &policies{t: b}
				p.run(config.String())
				p.ready()
				runs++
			}
			b.ReportMetric(float64((processorTime(b)-before).Milliseconds())/float64(runs), "cpu-ms/op")
		})
	}
}
