package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/yare-io/yare/test/cluster"
)

// TestTwoNodes spreads a Deployment over a server and an agent, loses the
// agent's machine and gets it back.
func TestTwoNodes(t *testing.T) {
	lan := cluster.NewLAN(t)
	hosts := []*cluster.Host{lan.NewHost("one"), lan.NewHost("two")}
	n := &nodesTest{nodes: map[string]*cluster.Node{}}
	t.Cleanup(func() { n.nothingAfterReset(t) })
	n.one = cluster.StartServer(t, hosts[0], "--node-monitor-grace-period=20s", "--node-monitor-period=1s")
	n.one.WaitNodeReady("one")
	begin := time.Now()
	n.two = cluster.StartAgent(t, hosts[1], n.one)
	n.one.WaitNodeReady("two")
	t.Logf("node two was Ready %s after its start", time.Since(begin).Round(time.Millisecond))
	n.nodes["one"], n.nodes["two"] = n.one, n.two

	for _, step := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"a deployment over both nodes", n.spread},
		{"pods reach each other", n.podToPod},
		{"service", n.service},
		{"logs and exec on the joined node", n.streams},
		{"a lost node's pods are replaced", n.lose},
		{"a node that comes back", n.comeBack},
		{"delete", n.remove},
	} {
		if !t.Run(step.name, step.run) {
			t.FailNow()
		}
	}
}

type nodesTest struct {
	one, two *cluster.Node
	nodes    map[string]*cluster.Node
	url      string
}

func (n *nodesTest) spread(t *testing.T) {
	createDemo(t, n.one, 4, func(pod *corev1.PodSpec) {
		honor, soon := corev1.NodeInclusionPolicyHonor, int64(2)
		pod.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
			MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.DoNotSchedule,
			LabelSelector:    &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
			NodeTaintsPolicy: &honor,
		}}
		for _, key := range []string{corev1.TaintNodeUnreachable, corev1.TaintNodeNotReady} {
			pod.Tolerations = append(pod.Tolerations, corev1.Toleration{
				Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: &soon,
			})
		}
	})
	n.readyOn(t, 2, 2)
}

func (n *nodesTest) pods(t *testing.T) []corev1.Pod {
	t.Helper()
	pods, _, err := demoPods(t.Context(), n.one)
	if err != nil {
		t.Fatal(err)
	}
	return pods
}

// readyOn waits until there are so many ready pods on each node, and no other.
func (n *nodesTest) readyOn(t *testing.T, one, two int) {
	t.Helper()
	n.one.Eventually(90*time.Second, func(ctx context.Context) error {
		pods, ready, err := demoPods(ctx, n.one)
		if err != nil {
			return err
		}
		if len(pods) != one+two || ready["one"] != one || ready["two"] != two {
			return fmt.Errorf("%d pods, ready on %v, want %d on one and %d on two", len(pods), ready, one, two)
		}
		return nil
	})
}

func (n *nodesTest) podToPod(t *testing.T) {
	pods := n.pods(t)
	from := []*cluster.Host{n.one.Host, n.two.Host}
	for _, pod := range pods {
		from = append(from, n.nodes[pod.Spec.NodeName].Pod(&pod))
	}
	for _, host := range from {
		for _, pod := range pods {
			n.one.Eventually(20*time.Second, func(ctx context.Context) error {
				answer, err := getFrom(ctx, host, "http://"+pod.Status.PodIP+":8080/")
				if err == nil && !strings.Contains(answer, pod.Name) {
					err = fmt.Errorf("answer %q", answer)
				}
				if err != nil {
					return fmt.Errorf("from %s to %s on %s: %w", host.Name, pod.Name, pod.Spec.NodeName, err)
				}
				return nil
			})
		}
	}
}

func (n *nodesTest) service(t *testing.T) {
	n.url = exposeDemo(t, n.one)
	pods := n.pods(t)
	for _, host := range []*cluster.Host{n.one.Host, n.two.Host, n.nodes[pods[0].Spec.NodeName].Pod(&pods[0])} {
		n.answersFrom(t, host, pods)
	}
}

// answersFrom waits until the service, asked from a host, answers from all of
// these pods; an answer from any other fails the test.
func (n *nodesTest) answersFrom(t *testing.T, host *cluster.Host, pods []corev1.Pod) {
	t.Helper()
	known := map[string]bool{}
	for _, pod := range pods {
		known[pod.Name] = true
	}
	seen := map[string]bool{}
	n.one.Eventually(30*time.Second, func(ctx context.Context) error {
		answer, err := getFrom(ctx, host, n.url)
		if err != nil {
			return fmt.Errorf("from %s: %w", host.Name, err)
		}
		pod := answeredBy(answer)
		if !known[pod] {
			t.Fatalf("from %s: the service answers %q, want one of %v", host.Name, answer, known)
		}
		if seen[pod] = true; len(seen) < len(known) {
			return fmt.Errorf("from %s: only %v of %v have answered", host.Name, seen, known)
		}
		return nil
	})
}

func (n *nodesTest) streams(t *testing.T) {
	pods := n.pods(t)
	for _, pod := range pods {
		if pod.Spec.NodeName != "two" {
			continue
		}
		n.one.Eventually(60*time.Second, func(context.Context) error { // its serving certificate may come late
			out, err := n.one.Kubectl("logs", pod.Name)
			if err == nil && !strings.Contains(out, "listens on :8080") {
				err = fmt.Errorf("logs are %q", out)
			}
			return err
		})
		if out := n.one.MustKubectl("exec", pod.Name, "--", "/bin/demo", "--help"); !strings.Contains(out, "demo answers HTTP") {
			t.Errorf("exec prints %q", out)
		}
		return
	}
	t.Fatal("no pod is on node two")
}

func (n *nodesTest) lose(t *testing.T) {
	before := n.pods(t)
	begin := time.Now()
	n.two.Cut()
	n.one.WaitNodeLost("two")
	t.Logf("node two was NotReady %s after it was cut off", time.Since(begin).Round(time.Millisecond))
	n.one.Eventually(60*time.Second, func(ctx context.Context) error {
		_, ready, err := demoPods(ctx, n.one)
		if err == nil && (ready["one"] != 4 || ready["two"] != 0) {
			err = fmt.Errorf("ready on %v, want 4 on one", ready)
		}
		return err
	})
	t.Logf("its pods were replaced %s after it was cut off", time.Since(begin).Round(time.Millisecond))

	var alive []corev1.Pod
	pods := n.pods(t)
	for _, pod := range pods {
		if pod.Spec.NodeName == "one" {
			alive = append(alive, pod)
		}
	}
	n.onlyEndpoints(t, alive)
	n.answersFrom(t, n.one.Host, alive)
	for _, pod := range before {
		if pod.Spec.NodeName == "one" && !contains(alive, pod.Name) {
			t.Errorf("pod %s on the healthy node is gone", pod.Name)
		}
	}
}

// onlyEndpoints waits until the service's rules on node one lead to these pods
// alone: ten answers in a row come from them.
func (n *nodesTest) onlyEndpoints(t *testing.T, pods []corev1.Pod) {
	t.Helper()
	n.one.Eventually(30*time.Second, func(ctx context.Context) error {
		for range 10 {
			answer, err := getFrom(ctx, n.one.Host, n.url)
			if err != nil {
				return err
			}
			if !contains(pods, answeredBy(answer)) {
				return fmt.Errorf("the service answers %q", answer)
			}
		}
		return nil
	})
}

func (n *nodesTest) comeBack(t *testing.T) {
	begin := time.Now()
	n.two.Heal()
	n.one.WaitNodeReady("two")
	t.Logf("node two was Ready %s after its link was back", time.Since(begin).Round(time.Millisecond))
	n.readyOn(t, 4, 0)
	t.Logf("its old pods were gone %s after its link was back", time.Since(begin).Round(time.Millisecond))
	n.one.MustKubectl("scale", "deployment/web", "--replicas=6")
	n.readyOn(t, 4, 2)
	pods := n.pods(t)
	for _, host := range []*cluster.Host{n.one.Host, n.two.Host} {
		n.answersFrom(t, host, pods)
	}
}

func (n *nodesTest) remove(t *testing.T) {
	n.one.MustKubectl("delete", "deployment/web", "service/web")
	n.readyOn(t, 0, 0)
}

// nothingAfterReset looks at what `yare reset` left on the hosts.
func (n *nodesTest) nothingAfterReset(t *testing.T) {
	for name, node := range n.nodes {
		run := func(command string, args ...string) string {
			out, err := node.Command(context.Background(), command, args...).CombinedOutput()
			if err != nil {
				t.Errorf("%s %v: %v: %s", command, args, err, out)
			}
			return string(out)
		}
		for line := range strings.Lines(run("ip", "-brief", "link")) {
			if link := strings.Fields(line)[0]; link != "lo" && !strings.HasPrefix(link, "eth0@") {
				t.Errorf("node %s still has link %s", name, link)
			}
		}
		if rules := run("nft", "list", "ruleset"); rules != "" {
			t.Errorf("node %s still has rules:\n%s", name, rules)
		}
		if routes := run("ip", "route", "show", "10.244.0.0/16"); routes != "" {
			t.Errorf("node %s still has routes:\n%s", name, routes)
		}
		groups, err := exec.Command("find", "/sys/fs/cgroup", "-type", "d", "-path", "*"+node.CgroupRoot()+"/*").Output()
		if err != nil || len(groups) > 0 {
			t.Errorf("node %s still has control groups: %s %v", name, groups, err)
		}
		mounts, err := os.ReadFile("/proc/self/mounts")
		if err != nil || strings.Contains(string(mounts), node.DataDir) {
			t.Errorf("node %s still has mounts below %s, %v", name, node.DataDir, err)
		}
	}
}

// createDemo makes the Deployment web.
func createDemo(t *testing.T, node *cluster.Node, replicas int32, change func(*corev1.PodSpec)) {
	t.Helper()
	labels := map[string]string{"app": "web"}
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: appsv1.DeploymentSpec{
		Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
			Containers: []corev1.Container{{
				Name: "demo", Image: "yare.local/demo:v1",
				ReadinessProbe: &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{
					HTTPGet: &corev1.HTTPGetAction{Path: "/readyz", Port: intstr.FromInt32(8080)},
				}},
			}},
		}},
	}}
	change(&deployment.Spec.Template.Spec)
	if _, err := node.Client().AppsV1().Deployments("default").Create(t.Context(), deployment, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// exposeDemo makes the Service web and returns its URL.
func exposeDemo(t *testing.T, node *cluster.Node) string {
	t.Helper()
	service, err := node.Client().CoreV1().Services("default").Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": "web"},
			Ports:    []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return "http://" + service.Spec.ClusterIP + "/"
}

// demoPods returns the pods of the Deployment web, and how many of those that
// are not on their way out are ready, by node.
func demoPods(ctx context.Context, node *cluster.Node) (pods []corev1.Pod, ready map[string]int, err error) {
	ready = map[string]int{}
	list, err := node.Client().CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "app=web"})
	if err != nil {
		return nil, nil, err
	}
	for _, pod := range list.Items {
		if pod.DeletionTimestamp == nil && hasCondition(pod, corev1.PodReady) {
			ready[pod.Spec.NodeName]++
		}
	}
	return list.Items, ready, nil
}

func contains(pods []corev1.Pod, name string) bool {
	for _, pod := range pods {
		if pod.Name == name {
			return true
		}
	}
	return false
}

// answeredBy is the pod that gave an answer.
func answeredBy(answer string) string {
	pod, _, _ := strings.Cut(strings.TrimPrefix(answer, "Hello from "), " ")
	return strings.TrimSuffix(pod, ",")
}
