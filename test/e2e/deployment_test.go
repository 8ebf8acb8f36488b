package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/yare-io/yare/test/cluster"
)

// TestDeployment follows a Deployment from its POST to containers that answer
// through a Service, and back to nothing, as a person would with kubectl.
func TestDeployment(t *testing.T) {
	lan := cluster.NewLAN(t)
	node := cluster.StartServer(t, lan.NewHost("one"))
	node.WaitNodeReady("one")
	node.WaitDNS()
	before := inventory(t, node)

	d := &deploymentTest{node: node}
	for _, step := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"create", d.create},
		{"objects and conditions", d.objects},
		{"events", d.events},
		{"service", d.service},
		{"logs, exec and port-forward", d.streams},
		{"copy and attach", d.shell},
		{"debug", d.debug},
		{"a deleted pod is replaced", d.replace},
		{"scale", d.scale},
		{"roll without a failed request", d.roll},
		{"roll back", d.rollBack},
		{"delete", d.remove},
	} {
		if !t.Run(step.name, step.run) {
			t.FailNow()
		}
	}
	nothingLeft(t, node, before)
}

type deploymentTest struct {
	node *cluster.Node
	url  string
}

func (d *deploymentTest) create(t *testing.T) {
	d.node.MustKubectl("create", "deployment", "web", "--image=yare.local/demo:v1", "--replicas=3")
	out := d.node.MustKubectl("rollout", "status", "deployment/web", "--timeout=60s")
	if !strings.Contains(out, "successfully rolled out") {
		t.Errorf("rollout status says %q", out)
	}
	if got := d.node.MustKubectl("get", "deployment", "web", "--no-headers"); !strings.Contains(got, "3/3") {
		t.Errorf("get deployment shows %q", got)
	}
}

// objects checks the chain: Deployment, ReplicaSet, Pods, Node, each owned by
// the one before, each with the conditions that its controller sets.
func (d *deploymentTest) objects(t *testing.T) {
	ctx, client := t.Context(), d.node.Client()
	deployment, err := client.AppsV1().Deployments("default").Get(ctx, "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if deployment.Status.ObservedGeneration != deployment.Generation || deployment.Annotations["deployment.kubernetes.io/revision"] != "1" {
		t.Errorf("deployment: generation %d observed %d, annotations %v", deployment.Generation, deployment.Status.ObservedGeneration, deployment.Annotations)
	}
	conditions := map[appsv1.DeploymentConditionType]string{}
	for _, c := range deployment.Status.Conditions {
		conditions[c.Type] = string(c.Status) + " " + c.Reason
	}
	if conditions[appsv1.DeploymentAvailable] != "True MinimumReplicasAvailable" || conditions[appsv1.DeploymentProgressing] != "True NewReplicaSetAvailable" {
		t.Errorf("deployment conditions are %v", conditions)
	}

	sets, err := client.AppsV1().ReplicaSets("default").List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
	if err != nil || len(sets.Items) != 1 {
		t.Fatalf("%d replica sets, %v", len(sets.Items), err)
	}
	set := sets.Items[0]
	hash := set.Labels[appsv1.DefaultDeploymentUniqueLabelKey]
	if !metav1.IsControlledBy(&set, deployment) || hash == "" || set.Name != "web-"+hash {
		t.Errorf("replica set %s, hash %q, owners %v", set.Name, hash, set.OwnerReferences)
	}

	pods := d.pods(t)
	if len(pods) != 3 {
		t.Fatalf("%d pods", len(pods))
	}
	for _, pod := range pods {
		if !metav1.IsControlledBy(&pod, &set) || pod.Spec.NodeName != "one" || pod.Status.Phase != corev1.PodRunning || pod.Status.PodIP == "" {
			t.Errorf("pod %s: owners %v, node %q, phase %s, address %q", pod.Name, pod.OwnerReferences, pod.Spec.NodeName, pod.Status.Phase, pod.Status.PodIP)
		}
		for _, want := range []corev1.PodConditionType{corev1.PodScheduled, corev1.PodReadyToStartContainers, corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
			if !hasCondition(pod, want) {
				t.Errorf("pod %s: condition %s is not True: %v", pod.Name, want, pod.Status.Conditions)
			}
		}
	}
}

func hasCondition(pod corev1.Pod, kind corev1.PodConditionType) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == kind {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func (d *deploymentTest) pods(t *testing.T) []corev1.Pod {
	t.Helper()
	list, err := d.node.Client().CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{LabelSelector: "app=web"})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

func (d *deploymentTest) events(t *testing.T) {
	d.node.Eventually(10*time.Second, func(ctx context.Context) error {
		list, err := d.node.Client().CoreV1().Events("default").List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		seen := map[string]bool{}
		for _, e := range list.Items {
			seen[e.InvolvedObject.Kind+" "+e.Reason] = true
		}
		for _, want := range []string{
			"Deployment ScalingReplicaSet", "ReplicaSet SuccessfulCreate",
			"Pod Scheduled", "Pod Pulled", "Pod Created", "Pod Started",
		} {
			if !seen[want] {
				return fmt.Errorf("no event %q among %v", want, seen)
			}
		}
		return nil
	})
}

func (d *deploymentTest) service(t *testing.T) {
	d.node.MustKubectl("expose", "deployment", "web", "--port=80", "--target-port=8080")
	service, err := d.node.Client().CoreV1().Services("default").Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d.url = "http://" + service.Spec.ClusterIP + "/"
	want := map[string]bool{}
	for _, pod := range d.pods(t) {
		want[pod.Name] = true
	}
	seen := map[string]bool{}
	d.node.Eventually(20*time.Second, func(ctx context.Context) error {
		answer, err := get(ctx, d.node, d.url)
		if err != nil {
			return err
		}
		var pod, version string
		if _, err := fmt.Sscanf(answer, "Hello from %s version %s", &pod, &version); err != nil {
			return fmt.Errorf("answer %q: %w", answer, err)
		}
		seen[strings.TrimSuffix(pod, ",")] = true
		for name := range want {
			if !seen[name] {
				return fmt.Errorf("pod %s has not answered, only %v", name, seen)
			}
		}
		return nil
	})
	if len(seen) != len(want) {
		t.Errorf("answers came from %v, want %v", seen, want)
	}
	d.resolves(t, "web.default.svc.cluster.local", service.Spec.ClusterIP)
	out := d.node.MustKubectl("get", "pods,svc,endpointslices,nodes", "-o", "wide")
	for _, want := range []string{"pod/web-", "service/web", "endpointslice.discovery.k8s.io/web-", "node/one"} {
		if !strings.Contains(out, want) {
			t.Errorf("get shows no %s:\n%s", want, out)
		}
	}
}

// resolves asks the cluster's DNS.
func (d *deploymentTest) resolves(t *testing.T, name, address string) {
	t.Helper()
	resolver := cluster.Resolver(d.node.Host, "10.96.0.10:53")
	d.node.Eventually(30*time.Second, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		got, err := resolver.LookupHost(ctx, name)
		if err == nil && (len(got) != 1 || got[0] != address) {
			err = fmt.Errorf("%s resolves to %v, want %s", name, got, address)
		}
		return err
	})
}

func (d *deploymentTest) streams(t *testing.T) {
	pod := d.pods(t)[0].Name
	if out := d.node.MustKubectl("logs", pod); !strings.Contains(out, "listens on :8080") {
		t.Errorf("logs are %q", out)
	}
	if out := d.node.MustKubectl("exec", pod, "--", "/bin/demo", "--help"); !strings.Contains(out, "demo answers HTTP") {
		t.Errorf("exec prints %q", out)
	}
	if _, err := d.node.Kubectl("exec", pod, "--", "/bin/absent"); err == nil {
		t.Error("exec of a program that is not there succeeds")
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	forward := d.node.Command(ctx, cluster.Binary(t, "kubectl"), "--kubeconfig="+d.node.Kubeconfig(), "port-forward", pod, "18080:8080")
	if err := forward.Start(); err != nil {
		t.Fatal(err)
	}
	d.node.Eventually(20*time.Second, func(ctx context.Context) error {
		answer, err := get(ctx, d.node, "http://127.0.0.1:18080/")
		if err == nil && !strings.Contains(answer, pod) {
			err = fmt.Errorf("the forwarded port answers %q", answer)
		}
		return err
	})
	cancel()
	_ = forward.Wait()
}

// shell runs a pod with programs of this machine: kubectl cp needs tar in the
// container.
func (d *deploymentTest) shell(t *testing.T) {
	const manifest = `
apiVersion: v1
kind: Pod
metadata: {name: shell}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  containers:
  - name: shell
    image: yare.local/demo:v1
    command: [/bin/busybox, sh, -c, 'while read line; do echo "heard $line"; done']
    stdin: true
    stdinOnce: true
    volumeMounts:
    - {name: programs, mountPath: /bin/busybox}
    - {name: programs, mountPath: /bin/tar}
    - {name: work, mountPath: /work}
  volumes:
  - {name: programs, hostPath: {path: /bin/busybox, type: File}}
  - {name: work, emptyDir: {}}
`
	if out, err := d.node.KubectlInput(manifest, "apply", "-f", "-"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	d.node.MustKubectl("wait", "--for=condition=Ready", "pod/shell", "--timeout=60s")

	dir := t.TempDir()
	sent, back := filepath.Join(dir, "sent"), filepath.Join(dir, "back")
	content := []byte(strings.Repeat("some bytes\n", 100_000))
	if err := os.WriteFile(sent, content, 0o600); err != nil {
		t.Fatal(err)
	}
	d.node.MustKubectl("cp", sent, "shell:/work/copy")
	d.node.MustKubectl("cp", "shell:/work/copy", back)
	if got, err := os.ReadFile(back); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes came back of %d: %v", len(got), len(content), err)
	}

	out, err := d.node.KubectlInput("you\n", "attach", "shell", "-i")
	if err != nil || !strings.Contains(out, "heard you") {
		t.Errorf("attach prints %q: %v", out, err)
	}
	d.node.MustKubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/shell", "--timeout=30s")
	d.node.MustKubectl("delete", "pod", "shell")
}

// debug joins a container to a running pod, in its network and beside its
// processes.
func (d *deploymentTest) debug(t *testing.T) {
	pod := d.pods(t)[0]
	d.node.MustKubectl("debug", pod.Name, "--image=yare.local/demo:v1", "--container=helper", "--target="+pod.Spec.Containers[0].Name, "--env=PORT=9090")
	d.node.Eventually(30*time.Second, func(ctx context.Context) error {
		_, err := get(ctx, d.node, "http://"+pod.Status.PodIP+":9090/")
		return err
	})
	joined, err := d.node.Client().CoreV1().Pods("default").Get(t.Context(), pod.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if statuses := joined.Status.EphemeralContainerStatuses; len(statuses) != 1 || statuses[0].State.Running == nil {
		t.Errorf("ephemeral containers: %+v", statuses)
	}
	if got, want := joined.Status.ContainerStatuses[0].ContainerID, pod.Status.ContainerStatuses[0].ContainerID; got != want {
		t.Errorf("the pod's own container is %s, before %s", got, want)
	}
	if out := d.node.MustKubectl("logs", pod.Name, "-c", "helper"); !strings.Contains(out, "listens on :9090") {
		t.Errorf("logs are %q", out)
	}
}

func (d *deploymentTest) replace(t *testing.T) {
	gone := d.pods(t)[0].Name
	d.node.MustKubectl("delete", "pod", gone)
	d.ready(t, 3)
	for _, pod := range d.pods(t) {
		if pod.Name == gone {
			t.Errorf("pod %s is still there", gone)
		}
	}
}

func (d *deploymentTest) scale(t *testing.T) {
	for _, replicas := range []int{5, 2} {
		d.node.MustKubectl("scale", "deployment/web", fmt.Sprintf("--replicas=%d", replicas))
		d.ready(t, replicas)
	}
	d.node.MustKubectl("scale", "deployment/web", "--replicas=3")
	d.ready(t, 3)
}

// ready waits until exactly so many pods exist and all are ready.
func (d *deploymentTest) ready(t *testing.T, replicas int) {
	t.Helper()
	d.node.Eventually(60*time.Second, func(ctx context.Context) error {
		pods := d.pods(t)
		ready := 0
		for _, pod := range pods {
			if hasCondition(pod, corev1.PodReady) {
				ready++
			}
		}
		if len(pods) != replicas || ready != replicas {
			return fmt.Errorf("%d pods, %d ready, want %d", len(pods), ready, replicas)
		}
		return nil
	})
}

func (d *deploymentTest) roll(t *testing.T) {
	d.node.MustKubectl("patch", "deployment", "web", "--type=json", "-p",
		`[{"op":"add","path":"/spec/template/spec/containers/0/readinessProbe","value":{"httpGet":{"path":"/readyz","port":8080},"periodSeconds":1}}]`)
	d.node.MustKubectl("rollout", "status", "deployment/web", "--timeout=90s")

	load := startLoad(t, d.node, d.url)
	d.node.MustKubectl("set", "image", "deployment/web", "demo=yare.local/demo:v2")
	d.node.MustKubectl("rollout", "status", "deployment/web", "--timeout=90s")
	d.answersWith(t, "v2")
	requests, failures := load.stop()
	if len(failures) > 0 {
		t.Errorf("%d of %d requests failed while rolling, the first: %v", len(failures), requests, failures[0])
	}
	if requests < 100 {
		t.Errorf("only %d requests were sent", requests)
	}
}

func (d *deploymentTest) rollBack(t *testing.T) {
	d.node.MustKubectl("rollout", "undo", "deployment/web")
	d.node.MustKubectl("rollout", "status", "deployment/web", "--timeout=90s")
	d.answersWith(t, "v1")
	if out := d.node.MustKubectl("rollout", "history", "deployment/web"); !strings.Contains(out, "4") {
		t.Errorf("history is %q", out)
	}
}

// answersWith waits until the service answers with this version alone.
func (d *deploymentTest) answersWith(t *testing.T, version string) {
	t.Helper()
	d.node.Eventually(30*time.Second, func(ctx context.Context) error {
		for range 10 {
			answer, err := get(ctx, d.node, d.url)
			if err != nil {
				return err
			}
			if !strings.Contains(answer, "version "+version) {
				return fmt.Errorf("the service answers %q", answer)
			}
		}
		return nil
	})
}

func (d *deploymentTest) remove(t *testing.T) {
	d.node.MustKubectl("delete", "deployment/web", "service/web")
	d.ready(t, 0)
	d.node.Eventually(30*time.Second, func(ctx context.Context) error {
		sets, err := d.node.Client().AppsV1().ReplicaSets("default").List(ctx, metav1.ListOptions{})
		if err == nil && len(sets.Items) > 0 {
			err = fmt.Errorf("%d replica sets are left", len(sets.Items))
		}
		return err
	})
	_, err := d.node.Client().DiscoveryV1().EndpointSlices("default").Get(t.Context(), "web", metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("endpoint slice: %v", err)
	}
}

func get(ctx context.Context, node *cluster.Node, url string) (string, error) {
	return getFrom(ctx, node.Host, url)
}

// getFrom asks from a host, or from a pod, on a connection of its own.
func getFrom(ctx context.Context, host *cluster.Host, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	client := http.Client{Transport: &http.Transport{DialContext: host.DialContext, DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %s: %s", response.Status, body)
	}
	return string(body), err
}

// load sends requests, each on a connection of its own, until it is stopped.
type load struct {
	cancel   context.CancelFunc
	workers  sync.WaitGroup
	requests atomic.Int64
	mu       sync.Mutex
	failures []error
}

func startLoad(t *testing.T, node *cluster.Node, url string) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cancel: cancel}
	t.Cleanup(cancel)
	for range 4 {
		l.workers.Go(func() {
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for ctx.Err() == nil {
				<-tick.C
				l.requests.Add(1)
				if _, err := get(context.WithoutCancel(ctx), node, url); err != nil {
					l.mu.Lock()
					l.failures = append(l.failures, err)
					l.mu.Unlock()
				}
			}
		})
	}
	return l
}

func (l *load) stop() (int64, []error) {
	l.cancel()
	l.workers.Wait()
	return l.requests.Load(), l.failures
}

// inventory lists what a node keeps outside the API, a line each, so that what
// a workload leaves behind can be told.
func inventory(t *testing.T, node *cluster.Node) map[string]bool {
	t.Helper()
	lines := map[string]bool{}
	add := func(kind, text string) {
		for line := range strings.Lines(text) {
			lines[kind+" "+strings.TrimSpace(line)] = true
		}
	}
	run := func(name string, args ...string) string {
		out, err := node.Command(t.Context(), name, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v: %s", name, args, err, out)
		}
		return string(out)
	}
	add("container", run("ctr", "--address", node.RuntimeSocket(), "--namespace", "k8s.io", "containers", "list", "-q"))
	add("task", run("ctr", "--address", node.RuntimeSocket(), "--namespace", "k8s.io", "tasks", "list", "-q"))
	add("link", run("ip", "-brief", "link", "show", "type", "veth"))
	add("rule", run("nft", "--stateless", "list", "ruleset"))
	cgroups, err := exec.Command("find", "/sys/fs/cgroup", "-type", "d", "-path", "*"+node.CgroupRoot()+"/*/pod*").Output()
	if err != nil {
		t.Fatal(err)
	}
	add("cgroup", string(cgroups))
	return lines
}

func nothingLeft(t *testing.T, node *cluster.Node, before map[string]bool) {
	t.Helper()
	node.Eventually(30*time.Second, func(context.Context) error {
		var left []string
		for line := range inventory(t, node) {
			if !before[line] {
				left = append(left, line)
			}
		}
		if len(left) > 0 {
			return fmt.Errorf("left behind:\n%s", strings.Join(left, "\n"))
		}
		return nil
	})
	keys := node.StoreKeys()
	for _, key := range keys {
		if strings.Contains(key, "/web") && !strings.HasPrefix(key, "/registry/events/") {
			t.Errorf("the store still has %s", key)
		}
	}
	if len(keys) == 0 {
		t.Error("the store has no keys at all: the look into it is broken")
	}
}
