package kubelet_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/yare-io/yare/kubelet"
	"github.com/yare-io/yare/kubelet/cri"
	"github.com/yare-io/yare/kubelet/kubelettest"
	"github.com/yare-io/yare/kubelet/node"
	"github.com/yare-io/yare/kubelet/server"
)

func TestContainerSeesItsEnvironmentVolumesAndNames(t *testing.T) {
	c := newCluster(t)
	ctx := context.Background()
	objects := c.api.CoreV1()
	configMap := &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "cm", Namespace: "default"}, Data: map[string]string{"key": "one"}}
	if _, err := objects.ConfigMaps("default").Create(ctx, configMap, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	pod := newPod("full", "serve", "8080")
	pod.Spec.Hostname, pod.Spec.Subdomain = "host", "sub"
	pod.Spec.SecurityContext = &v1.PodSecurityContext{RunAsUser: new(int64(1234)), RunAsGroup: new(int64(77)), FSGroup: new(int64(88)), RunAsNonRoot: new(true)}
	pod.Spec.Volumes = []v1.Volume{
		{Name: "cm", VolumeSource: v1.VolumeSource{ConfigMap: &v1.ConfigMapVolumeSource{LocalObjectReference: v1.LocalObjectReference{Name: "cm"}}}},
		{Name: "token", VolumeSource: v1.VolumeSource{Projected: &v1.ProjectedVolumeSource{Sources: []v1.VolumeProjection{
			{ServiceAccountToken: &v1.ServiceAccountTokenProjection{Path: "token"}}}}}},
	}
	pod.Spec.Containers[0].VolumeMounts = []v1.VolumeMount{
		{Name: "cm", MountPath: "/cm"}, {Name: "token", MountPath: "/token"}, {Name: "cm", MountPath: "/one", SubPath: "key"},
	}
	pod.Spec.Containers[0].Env = []v1.EnvVar{
		{Name: "FROM_CM", ValueFrom: &v1.EnvVarSource{ConfigMapKeyRef: &v1.ConfigMapKeySelector{LocalObjectReference: v1.LocalObjectReference{Name: "cm"}, Key: "key"}}},
		{Name: "POD_IP", ValueFrom: &v1.EnvVarSource{FieldRef: &v1.ObjectFieldSelector{FieldPath: "status.podIP"}}},
	}
	pod.Spec.Containers[0].Resources = v1.ResourceRequirements{Limits: v1.ResourceList{v1.ResourceMemory: resource.MustParse("64Mi")}}
	c.create(pod)
	ready := c.await("full", "is ready", isReady)

	environment := c.exec(pod, "web", "/app", "env")
	for _, want := range []string{"FROM_CM=one\n", "POD_IP=" + ready.Status.PodIP + "\n"} {
		if !strings.Contains(environment, want) {
			t.Errorf("%q is missing in the environment:\n%s", want, environment)
		}
	}
	for command, want := range map[string]string{
		"cat /cm/key": "one", "cat /one": "one", "cat /token/token": "a-token", "hostname": "host\n", "id": "1234 77 [77 88]\n",
	} {
		if got := c.exec(pod, "web", append([]string{"/app"}, strings.Fields(command)...)...); got != want {
			t.Errorf("%s: got %q, want %q", command, got, want)
		}
	}
	if hosts := c.exec(pod, "web", "/app", "cat", "/etc/hosts"); !strings.Contains(hosts, ready.Status.PodIP+"\thost.sub.default.svc.cluster.local\thost\n") {
		t.Errorf("hosts:\n%s", hosts)
	}
	if resolv := c.exec(pod, "web", "/app", "cat", "/etc/resolv.conf"); !strings.Contains(resolv, "nameserver 10.96.0.10\n") || !strings.Contains(resolv, "search default.svc.cluster.local svc.cluster.local cluster.local") {
		t.Errorf("resolv.conf:\n%s", resolv)
	}

	configMap.Data["key"] = "two"
	if _, err := objects.ConfigMaps("default").Update(ctx, configMap, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	kubelettest.Eventually(t, "the volume follows the config map", func() (bool, error) {
		return c.exec(pod, "web", "/app", "cat", "/cm/key") == "two", nil
	})
	c.delete("full", 1)
	c.awaitGone("full")
}

func TestContainersThatCannotStartSayWhy(t *testing.T) {
	c := newCluster(t)
	missing := newPod("missing", "pause")
	missing.Spec.Containers[0].EnvFrom = []v1.EnvFromSource{{ConfigMapRef: &v1.ConfigMapEnvSource{LocalObjectReference: v1.LocalObjectReference{Name: "gone"}}}}
	root := newPod("root", "pause")
	root.Spec.Containers[0].SecurityContext = &v1.SecurityContext{RunAsNonRoot: new(true)}
	never := newPod("never", "pause")
	never.Spec.Containers[0].Image, never.Spec.Containers[0].ImagePullPolicy = "yare.test/none:v1", v1.PullNever
	pull := newPod("pull", "pause")
	pull.Spec.Containers[0].Image = "localhost:1/none:v1"
	noCommand := newPod("no-command")
	noCommand.Spec.Containers[0].Command = []string{"/does-not-exist"}
	large := newPod("large", "pause")
	large.Spec.Containers[0].Resources.Requests = v1.ResourceList{v1.ResourceCPU: resource.MustParse("1000")}
	for _, pod := range []*v1.Pod{missing, root, never, pull, noCommand, large} {
		c.create(pod)
	}
	for name, want := range map[string][]string{
		"missing": {"CreateContainerConfigError"}, "root": {"CreateContainerConfigError"}, "never": {"ErrImageNeverPull"},
		"pull": {"ImagePullBackOff"}, "no-command": {"RunContainerError", "CrashLoopBackOff"},
	} {
		c.await(name, "waits", func(p *v1.Pod) bool {
			if len(p.Status.ContainerStatuses) == 0 || p.Status.ContainerStatuses[0].State.Waiting == nil {
				return false
			}
			for _, reason := range want {
				if p.Status.ContainerStatuses[0].State.Waiting.Reason == reason {
					return true
				}
			}
			return false
		})
	}
	refused := c.await("large", "is refused", func(p *v1.Pod) bool { return p.Status.Phase == v1.PodFailed })
	if refused.Status.Reason != "OutOfcpu" || !strings.HasPrefix(refused.Status.Message, "Pod was rejected: Node didn't have enough resource: cpu, requested: 1000000") {
		t.Errorf("%s: %s", refused.Status.Reason, refused.Status.Message)
	}
	c.awaitEvent("Failed", `Error: configmap "gone" not found`)
	c.awaitEvent("Failed", "Error: container has runAsNonRoot and image will run as root")
	c.awaitEvent("BackOff", `Back-off pulling image "localhost:1/none:v1"`)
	late := &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "gone", Namespace: "default"}}
	if _, err := c.api.CoreV1().ConfigMaps("default").Create(context.Background(), late, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.await("missing", "starts once it can", isReady)
}

func TestOneContainerThatFailsDoesNotHoldUpTheOthers(t *testing.T) {
	c := newCluster(t)
	pod := newPod("half", "pause")
	well := *pod.Spec.Containers[0].DeepCopy()
	well.Name = "well"
	pod.Spec.Containers[0].Image, pod.Spec.Containers[0].ImagePullPolicy = "yare.test/none:v1", v1.PullNever
	pod.Spec.Containers = append(pod.Spec.Containers, well)
	c.create(pod)
	c.await("half", "half runs", func(p *v1.Pod) bool {
		return len(p.Status.ContainerStatuses) == 2 && p.Status.ContainerStatuses[0].State.Waiting != nil && p.Status.ContainerStatuses[1].Ready
	})
}

func TestHooksRunAroundTheContainersLife(t *testing.T) {
	c := newCluster(t)
	shared := t.TempDir()
	pod := newPod("hooked", "serve", "8080")
	pod.Spec.Volumes = []v1.Volume{{Name: "host", VolumeSource: v1.VolumeSource{HostPath: &v1.HostPathVolumeSource{Path: shared}}}}
	pod.Spec.Containers[0].VolumeMounts = []v1.VolumeMount{{Name: "host", MountPath: "/host"}}
	pod.Spec.Containers[0].Lifecycle = &v1.Lifecycle{
		PostStart: &v1.LifecycleHandler{Exec: &v1.ExecAction{Command: []string{"/app", "touch", "/host/started"}}},
		PreStop:   &v1.LifecycleHandler{Exec: &v1.ExecAction{Command: []string{"/app", "touch", "/host/stopping"}}},
	}
	c.create(pod)
	c.await("hooked", "is ready", isReady)
	if _, err := os.Stat(shared + "/started"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(shared + "/stopping"); err == nil {
		t.Error("the preStop hook ran too early")
	}
	c.delete("hooked", 5)
	c.awaitGone("hooked")
	if _, err := os.Stat(shared + "/stopping"); err != nil {
		t.Error(err)
	}

	failing := newPod("failing", "serve", "8080")
	failing.Spec.TerminationGracePeriodSeconds = new(int64(1))
	failing.Spec.Containers[0].Lifecycle = &v1.Lifecycle{PostStart: &v1.LifecycleHandler{HTTPGet: &v1.HTTPGetAction{Port: intstr.FromInt32(9)}}}
	c.create(failing)
	c.awaitEvent("FailedPostStartHook", "PostStartHook failed")
	c.await("failing", "is restarted", func(p *v1.Pod) bool {
		return len(p.Status.ContainerStatuses) == 1 && p.Status.ContainerStatuses[0].RestartCount > 0
	})
}

func TestShorterGraceBreaksOffTermination(t *testing.T) {
	c := newCluster(t)
	pod := newPod("deaf", "ignore-term")
	c.create(pod)
	c.await("deaf", "is ready", isReady)
	c.delete("deaf", 600)
	c.awaitEvent("Killing", "Stopping container web")
	c.delete("deaf", 1)
	c.awaitGone("deaf")
}

func TestDeadlineEndsThePod(t *testing.T) {
	c := newCluster(t)
	c.create(newPod("late", "pause"))
	limited := c.await("late", "is ready", isReady).DeepCopy()
	limited.Spec.ActiveDeadlineSeconds = new(int64(1))
	if _, err := c.api.CoreV1().Pods("default").Update(context.Background(), limited, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	late := c.await("late", "has failed", func(p *v1.Pod) bool { return p.Status.Phase == v1.PodFailed })
	if late.Status.Reason != "DeadlineExceeded" || late.Status.Message != "Pod was active on the node longer than the specified deadline" {
		t.Errorf("%s: %s", late.Status.Reason, late.Status.Message)
	}
	if s := late.Status.ContainerStatuses[0].State.Terminated; s == nil {
		t.Errorf("container: %+v", late.Status.ContainerStatuses[0])
	}
}

func TestDeadSandboxIsReplaced(t *testing.T) {
	c := newCluster(t)
	pod := newPod("boxed", "serve", "8080")
	c.create(pod)
	c.await("boxed", "is ready", isReady)
	ctx := context.Background()
	boxes, err := c.cri.ListSandboxes(ctx, map[string]string{cri.LabelPodUID: string(pod.UID)})
	if err != nil || len(boxes) != 1 {
		t.Fatalf("%v, %v", boxes, err)
	}
	if err := c.cri.StopSandbox(ctx, boxes[0].Id); err != nil {
		t.Fatal(err)
	}
	c.await("boxed", "runs again", func(p *v1.Pod) bool {
		return isReady(p) && p.Status.ContainerStatuses[0].RestartCount > 0
	})
	found, err := c.cri.Pod(ctx, pod.UID, nil)
	if err != nil || found.ReadySandbox() == nil || found.ReadySandbox().ID == boxes[0].Id || !found.NewestIn(found.ReadySandbox().ID, "web").Running() {
		t.Errorf("sandboxes: %+v, %v", found, err)
	}
}

func TestLogsAreRotated(t *testing.T) {
	c := newCluster(t, func(config *kubelet.Config) {
		config.Settings.ContainerLogMaxSize = "20Ki"
		config.Settings.ContainerLogMaxFiles = new(int32(3))
		config.Settings.ContainerLogMonitorInterval = &metav1.Duration{Duration: 200 * time.Millisecond}
	})
	pod := newPod("chatty", "spam")
	c.create(pod)
	dir := filepath.Join(c.config.RootDir, "logs", "default_chatty_"+string(pod.UID), "web")
	kubelettest.Eventually(t, "an old log is compressed", func() (bool, error) {
		packed, err := filepath.Glob(dir + "/0.log.*.gz")
		return len(packed) > 0, err
	})
	if all, err := filepath.Glob(dir + "/0.log*"); err != nil || len(all) > 4 { // one may be on its way out
		t.Errorf("logs: %v, %v", all, err)
	}
	if links, err := os.ReadDir(c.config.ContainerLogsDir); err != nil || len(links) != 1 || !strings.HasPrefix(links[0].Name(), "chatty_default_web-") {
		t.Errorf("links: %v, %v", links, err)
	}
}

func TestNodeRegistersAndIsReady(t *testing.T) {
	c := newCluster(t, func(config *kubelet.Config) { config.Labels = map[string]string{"zone": "a"} })
	ctx := context.Background()
	kubelettest.Eventually(t, "the node is ready and has a lease", func() (bool, error) {
		n, err := c.api.CoreV1().Nodes().Get(ctx, "node-1", metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		_, err = c.api.CoordinationV1().Leases("kube-node-lease").Get(ctx, "node-1", metav1.GetOptions{})
		ready := node.Condition(n.Status.Conditions, v1.NodeReady)
		return ready != nil && ready.Status == v1.ConditionTrue && ready.Reason == "KubeletReady", err
	})
	n, err := c.api.CoreV1().Nodes().Get(ctx, "node-1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if n.Labels["zone"] != "a" || n.Labels[v1.LabelHostname] != "node-1" || n.Labels[v1.LabelOSStable] != "linux" {
		t.Errorf("labels: %v", n.Labels)
	}
	if n.Status.Capacity.Pods().Value() != 110 || n.Status.Capacity.Memory().Cmp(*n.Status.Allocatable.Memory()) <= 0 ||
		n.Status.NodeInfo.KubeletVersion != kubelet.Version || !strings.HasPrefix(n.Status.NodeInfo.ContainerRuntimeVersion, "containerd://") ||
		len(n.Status.Images) < 1 || n.Status.DaemonEndpoints.KubeletEndpoint.Port != 10250 {
		t.Errorf("status: %+v", n.Status)
	}
}

func TestBackend(t *testing.T) {
	c := newCluster(t)
	pod := newPod("seen", "serve", "8080")
	c.create(pod)
	c.await("seen", "is ready", isReady)
	ctx, backend := context.Background(), c.node.Backend()
	if pods := backend.Pods(); len(pods) != 1 || pods[0].Status.Phase != v1.PodRunning {
		t.Errorf("pods: %v", pods)
	}
	id, err := backend.ContainerID(ctx, pod.UID, "web", false)
	if err != nil {
		t.Fatal(err)
	}
	if state, err := backend.Container(ctx, id); err != nil || !state.Running || !strings.HasSuffix(state.LogPath, "/web/0.log") {
		t.Errorf("%+v, %v", state, err)
	}
	for _, lookup := range []func() error{
		func() error { _, err := backend.ContainerID(ctx, pod.UID, "web", true); return err },
		func() error { _, err := backend.ContainerID(ctx, "nobody", "web", false); return err },
		func() error { _, err := backend.Container(ctx, "none"); return err },
		func() error { _, err := backend.PortForward(ctx, "nobody", []int32{1}); return err },
		func() error {
			_, err := backend.Exec(ctx, "none", []string{"x"}, server.Streams{Stdout: true})
			return err
		},
	} {
		if err := lookup(); !errors.Is(err, server.ErrNotFound) {
			t.Errorf("got %v, want not found", err)
		}
	}
	for what, ask := range map[string]func() (interface{ String() string }, error){
		"exec": func() (interface{ String() string }, error) {
			return backend.Exec(ctx, id, []string{"/app", "env"}, server.Streams{Stdout: true})
		},
		"attach": func() (interface{ String() string }, error) {
			return backend.Attach(ctx, id, server.Streams{Stdout: true})
		},
		"portforward": func() (interface{ String() string }, error) { return backend.PortForward(ctx, pod.UID, []int32{8080}) },
	} {
		if address, err := ask(); err != nil || !strings.Contains(address.String(), "/"+what+"/") {
			t.Errorf("%s: %v, %v", what, address, err)
		}
	}
	if err := backend.Healthy(); err != nil {
		t.Error(err)
	}
	kubelettest.Eventually(t, "the container is measured", func() (bool, error) {
		summary, err := backend.Summary(ctx)
		return err == nil && len(summary.Pods) == 1 && len(summary.Pods[0].Containers) == 1 && summary.Pods[0].Containers[0].Memory != nil, err
	})
}
