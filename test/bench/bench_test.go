// Package bench measures a whole cluster from outside, as its users meet it.
// Run it with `make bench`; figures of one run can be compared with those of
// another by benchstat.
package bench

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"github.com/yare-io/yare/test/cluster"
)

const (
	namespace = "default"
	manyPods  = 10_000
	settle    = 20 * time.Second
)

// BenchmarkDeploymentReady measures from the POST of a Deployment of three
// replicas, whose image is present, until its status says that all three are
// ready.
func BenchmarkDeploymentReady(b *testing.B) {
	b.StopTimer()
	node := cluster.StartServer(b, cluster.NewLAN(b).NewHost("one"))
	node.WaitNodeReady("one")
	node.WaitDNS()
	client := node.Client()
	for i := range b.N {
		name := fmt.Sprintf("web-%d", i)
		b.StartTimer()
		deployAndWait(b, client, name)
		b.StopTimer()
		node.MustKubectl("delete", "deployment", name, "--cascade=foreground", "--wait")
	}
}

func deployAndWait(b *testing.B, client kubernetes.Interface, name string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	labels := map[string]string{"app": name}
	created, err := client.AppsV1().Deployments(namespace).Create(ctx, &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr.To[int32](3),
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{
					Name: "demo", Image: "yare.local/demo:v1", Env: []corev1.EnvVar{{Name: "DRAIN", Value: "0s"}},
				}}},
			},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		b.Fatal(err)
	}
	watcher, err := client.AppsV1().Deployments(namespace).Watch(ctx, metav1.ListOptions{
		FieldSelector: "metadata.name=" + name, ResourceVersion: created.ResourceVersion,
	})
	if err != nil {
		b.Fatal(err)
	}
	defer watcher.Stop()
	for event := range watcher.ResultChan() {
		if event.Type == watch.Error {
			b.Fatal(event.Object)
		}
		if d, ok := event.Object.(*appsv1.Deployment); ok && d.Status.ReadyReplicas == 3 {
			return
		}
	}
	b.Fatal("the Deployment did not become ready in time")
}

// BenchmarkStartEmpty measures from the start of the process on an empty data
// dir until /readyz answers.
func BenchmarkStartEmpty(b *testing.B) {
	for range b.N {
		b.StopTimer()
		host := cluster.NewLAN(b).NewHost("one")
		b.StartTimer()
		node := cluster.StartServer(b, host, "--disable-agent")
		b.StopTimer()
		node.Stop()
	}
}

// BenchmarkStart10000Pods measures the same on a store with 10,000 pods.
func BenchmarkStart10000Pods(b *testing.B) {
	node := cluster.StartServer(b, cluster.NewLAN(b).NewHost("one"), "--disable-agent", "--controllers=serviceaccount-controller")
	fill(b, node.Client())
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		node.Stop()
		b.StartTimer()
		node.Start()
		node.WaitReady()
	}
	b.StopTimer()
	b.ReportMetric(residentMiB(b, node.PID()), "MiB-rss")
}

func fill(b *testing.B, client kubernetes.Interface) {
	b.Helper()
	const account = "default"
	group, ctx := errgroup.WithContext(b.Context())
	group.SetLimit(32)
	for {
		if _, err := client.CoreV1().ServiceAccounts(namespace).Get(ctx, account, metav1.GetOptions{}); err == nil {
			break
		}
		if ctx.Err() != nil {
			b.Fatal(ctx.Err())
		}
	}
	for i := range manyPods {
		group.Go(func() error {
			_, err := client.CoreV1().Pods(namespace).Create(ctx, &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("filler-%d", i), Labels: map[string]string{"app": "filler"}},
				Spec: corev1.PodSpec{
					SchedulerName: "nobody",
					Containers:    []corev1.Container{{Name: "demo", Image: "yare.local/demo:v1"}},
				},
			}, metav1.CreateOptions{})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkIdleMemory reports the resident memory of the all-in-one process,
// with its node and cluster DNS, some time after the start.
func BenchmarkIdleMemory(b *testing.B) {
	for range b.N {
		node := cluster.StartServer(b, cluster.NewLAN(b).NewHost("one"))
		node.WaitNodeReady("one")
		node.WaitDNS()
		time.Sleep(settle)
		b.ReportMetric(residentMiB(b, node.PID()), "MiB-rss")
		node.Stop()
	}
}

func residentMiB(b *testing.B, pid int) float64 {
	b.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.Atoi(strings.Fields(value)[0])
			if err != nil {
				b.Fatal(err)
			}
			return float64(kib) / 1024
		}
	}
	b.Fatal("no VmRSS")
	return 0
}
