package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/yare-io/yare/test/cluster"
)

// TestKillServer kills the server, again and again and at random moments, while
// clients write and a Service is under load. What was acknowledged is kept,
// containers and Service go on, and after each start so does the cluster.
func TestKillServer(t *testing.T) {
	lan := cluster.NewLAN(t)
	node := cluster.StartServer(t, lan.NewHost("one"))
	node.WaitNodeReady("one")
	k := &killTest{node: node, replicas: 2, containers: map[string]string{}}
	createDemo(t, node, int32(k.replicas), func(*corev1.PodSpec) {})
	k.settled(t)
	url := exposeDemo(t, node)
	k.answers(t, url)

	load, writers := startLoad(t, node, url), startWriters(t, node)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for round := range 5 {
		for range random.IntN(3) { // kills while it starts
			node.Kill()
			node.Start()
			pause(t, time.Duration(random.Int64N(int64(2*time.Second))))
		}
		node.Kill()
		begin := time.Now()
		node.Start()
		node.WaitReady()
		t.Logf("round %d: the API server was ready %s after the start", round, time.Since(begin).Round(time.Millisecond))
		k.heartbeat(t, begin)
		t.Logf("round %d: the node renewed its lease %s after the start", round, time.Since(begin).Round(time.Millisecond))
		k.replicas++
		node.MustKubectl("scale", "deployment/web", fmt.Sprintf("--replicas=%d", k.replicas))
		k.settled(t)
		t.Logf("round %d: a pod more was ready %s after the start", round, time.Since(begin).Round(time.Millisecond))
		pause(t, time.Duration(random.Int64N(int64(time.Second))))
	}
	writers.stop(t)
	requests, failures := load.stop()
	// The rules in the kernel serve while the server is down.
	if len(failures) > 0 {
		t.Errorf("%d of %d requests to the service failed, the first: %v", len(failures), requests, failures[0])
	}
	if requests < 100 {
		t.Errorf("only %d requests were sent", requests)
	}
	k.streams(t)
}

// pause lets the load go on for a while.
func pause(t *testing.T, d time.Duration) {
	select {
	case <-t.Context().Done():
	case <-time.After(d):
	}
}

type killTest struct {
	node       *cluster.Node
	replicas   int
	containers map[string]string // by pod
}

// settled waits until all pods are ready, and checks that those known before
// still have their container.
func (k *killTest) settled(t *testing.T) {
	t.Helper()
	k.node.Eventually(90*time.Second, func(ctx context.Context) error {
		pods, ready, err := demoPods(ctx, k.node)
		if err == nil && (len(pods) != k.replicas || ready["one"] != k.replicas) {
			err = fmt.Errorf("%d pods, ready on %v, want %d", len(pods), ready, k.replicas)
		}
		return err
	})
	pods, _, err := demoPods(t.Context(), k.node)
	if err != nil {
		t.Fatal(err)
	}
	for name := range k.containers {
		if !contains(pods, name) {
			t.Errorf("pod %s is gone", name)
		}
	}
	for _, pod := range pods {
		status := pod.Status.ContainerStatuses[0]
		if before := k.containers[pod.Name]; before != "" && before != status.ContainerID || status.RestartCount != 0 {
			t.Errorf("pod %s: container %s, before %s, %d restarts", pod.Name, status.ContainerID, before, status.RestartCount)
		}
		k.containers[pod.Name] = status.ContainerID
	}
}

// answers waits until the service answers from all pods.
func (k *killTest) answers(t *testing.T, url string) {
	t.Helper()
	seen := map[string]bool{}
	k.node.Eventually(30*time.Second, func(ctx context.Context) error {
		answer, err := get(ctx, k.node, url)
		if err != nil {
			return err
		}
		if seen[answeredBy(answer)] = true; len(seen) < k.replicas {
			err = fmt.Errorf("only %v have answered", seen)
		}
		return err
	})
}

// heartbeat waits until the node has renewed its lease since a moment, and is
// Ready.
func (k *killTest) heartbeat(t *testing.T, since time.Time) {
	t.Helper()
	k.node.Eventually(60*time.Second, func(ctx context.Context) error {
		lease, err := k.node.Client().CoordinationV1().Leases(corev1.NamespaceNodeLease).Get(ctx, "one", metav1.GetOptions{})
		if err == nil && !lease.Spec.RenewTime.After(since) {
			err = fmt.Errorf("the lease was last renewed at %s", lease.Spec.RenewTime)
		}
		return err
	})
	k.node.WaitNodeReady("one")
}

// streams checks that the kubelet's streams reach a container older than the
// process, its log whole.
func (k *killTest) streams(t *testing.T) {
	for name := range k.containers {
		if out := k.node.MustKubectl("logs", name); strings.Count(out, "listens on :8080") != 1 {
			t.Errorf("logs of %s are %q", name, out)
		}
		if out := k.node.MustKubectl("exec", name, "--", "/bin/demo", "--help"); !strings.Contains(out, "demo answers HTTP") {
			t.Errorf("exec in %s prints %q", name, out)
		}
	}
}

// writers create objects and remember those that the server acknowledged.
type writers struct {
	cancel context.CancelFunc
	client kubernetes.Interface
	group  sync.WaitGroup
	mu     sync.Mutex
	acked  map[string]string
	failed int
}

func startWriters(t *testing.T, node *cluster.Node) *writers {
	t.Helper()
	config := node.Config()
	config.Timeout = 5 * time.Second
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	w := &writers{cancel: cancel, client: client, acked: map[string]string{}}
	for id := range 3 {
		w.group.Go(func() { w.write(ctx, id) })
	}
	return w
}

func (w *writers) write(ctx context.Context, id int) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ctx.Err() == nil; i++ {
		<-tick.C
		name, value := fmt.Sprintf("written-%d-%d", id, i), fmt.Sprint(rand.Uint64())
		_, err := w.client.CoreV1().ConfigMaps("default").Create(context.WithoutCancel(ctx), &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"value": value},
		}, metav1.CreateOptions{})
		w.mu.Lock()
		if err == nil {
			w.acked[name] = value
		} else {
			w.failed++
		}
		w.mu.Unlock()
	}
}

// stop ends the writers and checks that all they were promised is there.
func (w *writers) stop(t *testing.T) {
	t.Helper()
	w.cancel()
	w.group.Wait()
	list, err := w.client.CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	kept := map[string]string{}
	for _, m := range list.Items {
		kept[m.Name] = m.Data["value"]
	}
	for name, value := range w.acked {
		if kept[name] != value {
			t.Errorf("%s was acknowledged with %q, now it has %q", name, value, kept[name])
		}
	}
	t.Logf("%d writes were acknowledged, %d failed", len(w.acked), w.failed)
	if len(w.acked) < 50 || w.failed == 0 {
		t.Errorf("%d writes were acknowledged and %d failed: the server was not killed under load", len(w.acked), w.failed)
	}
}
