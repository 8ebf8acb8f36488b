package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/yare-io/yare/apiserver/codec"
	"github.com/yare-io/yare/storage/etcd"
	"github.com/yare-io/yare/test/cluster"
)

// The size of the cluster that BenchmarkScale makes. YARE_SCALE_PODS and
// YARE_SCALE_NODES make it another one: 150000 and 5000 are the largest that
// Kubernetes promises.
const (
	scalePods  = 5_000
	scaleNodes = 200
)

// BenchmarkScale measures one API server on an etcd that has a large cluster:
// its start, its memory, lists as clients make them, and events to a watcher for
// each node that selects the pods of that node.
func BenchmarkScale(b *testing.B) {
	pods, nodes := sizeOf(b, "YARE_SCALE_PODS", scalePods), sizeOf(b, "YARE_SCALE_NODES", scaleNodes)
	for range b.N {
		b.StopTimer()
		s := &scale{b: b, pods: pods, nodes: nodes, dir: b.TempDir()}
		s.startEtcd()
		s.fill()
		b.StartTimer()
		s.start()
		b.ReportMetric(b.Elapsed().Seconds(), "s-to-ready")
		b.ReportMetric(residentMiB(b, s.server.Process.Pid), "MiB-ready")
		for _, form := range []struct{ name, accept, encoding string }{
			{"json", "application/json", "identity"}, {"gzip", "application/json", "gzip"}, {"protobuf", "application/vnd.kubernetes.protobuf", "identity"},
		} {
			s.list("resourceVersion=0", form.accept, form.encoding)
			took, size := s.list("", form.accept, form.encoding)
			b.ReportMetric(took.Seconds(), "s-list-"+form.name)
			b.ReportMetric(float64(size)/(1<<20), "MiB-list-"+form.name)
		}
		b.ReportMetric(s.pages().Seconds(), "s-list-paged")
		b.ReportMetric(residentMiB(b, s.server.Process.Pid), "MiB-listed")
		b.ReportMetric(s.watch(), "events/s")
		b.ReportMetric(residentMiB(b, s.server.Process.Pid), "MiB-watched")
	}
}

func sizeOf(b *testing.B, name string, otherwise int) int {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		b.Fatalf("%s=%s", name, text)
	}
	return n
}

type scale struct {
	b           *testing.B
	pods, nodes int
	dir         string
	store, api  string
	server      *exec.Cmd
	client      *http.Client
	// version is that of the last list in pages.
	version string
}

func (s *scale) run(name string, args ...string) *exec.Cmd {
	log, err := os.Create(filepath.Join(s.dir, filepath.Base(name)+".log"))
	if err != nil {
		s.b.Fatal(err)
	}
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		s.b.Fatal(err)
	}
	s.b.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = log.Close()
	})
	return cmd
}

// address is a free one on the loopback.
func address(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func (s *scale) startEtcd() {
	peer := "http://" + address(s.b)
	s.store = "http://" + address(s.b)
	s.run("etcd", "--data-dir", filepath.Join(s.dir, "etcd"), "--log-level", "warn", "--unsafe-no-fsync", "--quota-backend-bytes", "8589934592",
		"--listen-client-urls", s.store, "--advertise-client-urls", s.store,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer)
}

// fill writes pods and nodes as an API server does.
func (s *scale) fill() {
	ctx, cancel := context.WithTimeout(s.b.Context(), time.Hour)
	defer cancel()
	store, err := etcd.Open(ctx, etcd.Config{Endpoints: []string{s.store}})
	if err != nil {
		s.b.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(64)
	put := func(key, kind string, obj runtime.Object) {
		group.Go(func() error {
			value, err := codec.Store(corev1.SchemeGroupVersion.WithKind(kind), obj)
			if err == nil {
				_, err = store.Create(ctx, key, value, 0)
			}
			return err
		})
	}
	for i := range s.nodes {
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName(i), UID: uuid.NewUUID()}}
		put("/registry/minions/"+node.Name, "Node", node)
	}
	for i := range s.pods {
		pod := s.pod(i)
		put("/registry/pods/"+pod.Namespace+"/"+pod.Name, "Pod", pod)
	}
	if err := group.Wait(); err != nil {
		s.b.Fatal(err)
	}
}

func nodeName(i int) string { return fmt.Sprintf("node-%d", i) }

// pod is some 3 KB in JSON, with what admission and kubelets add.
func (s *scale) pod(i int) *corev1.Pod {
	labels := map[string]string{"app": fmt.Sprintf("app-%d", i%1000), "pod-template-hash": "5d9c7b8f6"}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: podName(i), Namespace: namespace, UID: uuid.NewUUID(), Labels: labels,
			CreationTimestamp: metav1.Now().Rfc3339Copy(), Generation: 1,
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "app", UID: types.UID("a")}},
		},
		Spec: corev1.PodSpec{NodeName: nodeName(i % s.nodes), ServiceAccountName: "default", RestartPolicy: corev1.RestartPolicyAlways},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: "10.0.0.1", HostIP: "10.1.0.1",
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}, {Type: corev1.PodScheduled, Status: corev1.ConditionTrue}},
		},
	}
	for j := range 2 {
		c := corev1.Container{Name: fmt.Sprintf("c%d", j), Image: "registry.example/app:v1", ImagePullPolicy: corev1.PullIfNotPresent, TerminationMessagePath: "/dev/termination-log"}
		c.Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("64Mi")}
		for k := range 10 {
			c.Env = append(c.Env, corev1.EnvVar{Name: fmt.Sprintf("SETTING_%d", k), Value: fmt.Sprintf("the value of setting %d of pod %d", k, i)})
		}
		pod.Spec.Containers = append(pod.Spec.Containers, c)
	}
	return pod
}

func podName(i int) string { return fmt.Sprintf("app-%06d", i) }

const token = "scale"

// start starts the server and waits until it serves pods.
func (s *scale) start() {
	s.api = "https://" + address(s.b)
	_, port, err := net.SplitHostPort(s.api[len("https://"):])
	if err != nil {
		s.b.Fatal(err)
	}
	tokens, key := filepath.Join(s.dir, "tokens.csv"), filepath.Join(s.dir, "sa.key")
	s.write(tokens, []byte(token+`,admin,admin,"system:masters"`+"\n"))
	s.write(key, signingKey(s.b))
	s.server = s.run(cluster.Binary(s.b, "yare"), "kube-apiserver", "--etcd-servers", s.store, "--bind-address", "127.0.0.1", "--secure-port", port,
		"--cert-dir", filepath.Join(s.dir, "certs"), "--token-auth-file", tokens, "--service-account-signing-key-file", key)
	s.client = &http.Client{Transport: &http.Transport{
		ForceAttemptHTTP2: true, DisableCompression: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // a certificate made just now
	}}
	deadline := time.Now().Add(5 * time.Minute)
	for {
		answer, err := s.get("/api/v1/namespaces/" + namespace + "/pods/" + podName(0))
		if err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(deadline) {
			s.b.Fatalf("the server does not serve: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (s *scale) write(name string, content []byte) {
	if err := os.WriteFile(name, content, 0o600); err != nil {
		s.b.Fatal(err)
	}
}

func signingKey(b *testing.B) []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		b.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

func (s *scale) do(ctx context.Context, method, path string, body []byte, headers ...string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, s.api+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	return s.client.Do(request)
}

func (s *scale) get(path string, headers ...string) (*http.Response, error) {
	return s.do(s.b.Context(), http.MethodGet, path, nil, headers...)
}

// list reads the list of all pods, and returns how long that took.
func (s *scale) list(query, accept, encoding string) (time.Duration, int64) {
	began := time.Now()
	answer, err := s.get("/api/v1/pods?"+query, "Accept", accept, "Accept-Encoding", encoding)
	if err != nil {
		s.b.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	size, err := io.Copy(io.Discard, answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK || size < int64(s.pods)*100 {
		s.b.Fatalf("list: %s, %d bytes, %v", answer.Status, size, err)
	}
	return time.Since(began), size
}

// pages reads it in pages of 500.
func (s *scale) pages() time.Duration {
	began, next := time.Now(), ""
	for {
		answer, err := s.get("/api/v1/pods?limit=500&continue="+next, "Accept", "application/vnd.kubernetes.protobuf")
		if err != nil {
			s.b.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		page := &corev1.PodList{}
		if err == nil {
			_, _, err = codec.Decode(codec.Protobuf, body, corev1.SchemeGroupVersion.WithKind("PodList"), page, false)
		}
		if err != nil {
			s.b.Fatal(err)
		}
		if next = page.Continue; next == "" {
			s.version = page.ResourceVersion
			return time.Since(began)
		}
	}
}

// watch has each node watched for its pods, changes pods, and returns how many
// events per second reached the watchers.
func (s *scale) watch() float64 {
	changes := min(s.pods, 10_000)
	ctx, cancel := context.WithTimeout(s.b.Context(), 10*time.Minute)
	defer cancel()
	var (
		events  atomic.Int64
		readers sync.WaitGroup
		all     = make(chan struct{})
	)
	opening, _ := errgroup.WithContext(ctx)
	opening.SetLimit(32)
	for i := range s.nodes {
		opening.Go(func() error {
			answer, err := s.do(ctx, http.MethodGet, "/api/v1/pods?watch=true&resourceVersion="+s.version+"&fieldSelector=spec.nodeName%3D"+nodeName(i), nil)
			if err != nil {
				return err
			}
			readers.Go(func() {
				defer func() { _ = answer.Body.Close() }()
				lines := bufio.NewScanner(answer.Body)
				lines.Buffer(nil, 1<<20)
				for lines.Scan() {
					if bytes.HasPrefix(lines.Bytes(), []byte(`{"type":"MODIFIED"`)) && events.Add(1) == int64(changes) {
						close(all)
					}
				}
			})
			return nil
		})
	}
	if err := opening.Wait(); err != nil {
		s.b.Fatal(err)
	}
	began := time.Now()
	writing, _ := errgroup.WithContext(ctx)
	writing.SetLimit(16)
	for i := range changes {
		writing.Go(func() error {
			answer, err := s.do(ctx, http.MethodPatch, "/api/v1/namespaces/"+namespace+"/pods/"+podName(i), []byte(`{"metadata":{"annotations":{"changed":"yes"}}}`),
				"Content-Type", "application/merge-patch+json")
			if err != nil {
				return err
			}
			defer func() { _ = answer.Body.Close() }()
			if text, _ := io.ReadAll(answer.Body); answer.StatusCode != http.StatusOK {
				return fmt.Errorf("%s: %s", answer.Status, text)
			}
			return nil
		})
	}
	if err := writing.Wait(); err != nil {
		s.b.Fatal(err)
	}
	select {
	case <-all:
	case <-ctx.Done():
		s.b.Fatalf("%d of %d events came", events.Load(), changes)
	}
	took := time.Since(began)
	cancel()
	readers.Wait()
	return float64(changes) / took.Seconds()
}
