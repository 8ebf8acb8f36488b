package kubelet_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/yare-io/yare/kubelet"
	"github.com/yare-io/yare/kubelet/cri"
	"github.com/yare-io/yare/kubelet/kubelettest"
)

func TestPodRunsAndGoesWithoutTrace(t *testing.T) {
	c := newCluster(t)
	pod := newPod("web", "serve", "8080")
	began := time.Now()
	c.create(pod)
	running := c.await("web", "is ready", isReady)
	t.Logf("ready after %v", time.Since(began))
	if running.Status.Phase != v1.PodRunning || running.Status.PodIP == "" || running.Status.HostIP != "10.250.7.1" {
		t.Errorf("status: %+v", running.Status)
	}
	if s := running.Status.ContainerStatuses[0]; s.State.Running == nil || !s.Ready || s.Started == nil || !*s.Started || s.RestartCount != 0 {
		t.Errorf("container status: %+v", s)
	}
	c.delete("web", 5)
	c.awaitGone("web")
	left, err := c.cri.ListSandboxes(context.Background(), map[string]string{cri.LabelPodUID: string(pod.UID)})
	if err != nil || len(left) > 0 {
		t.Errorf("sandboxes are left: %v, %v", left, err)
	}
	if _, err := os.Stat(c.config.RootDir + "/pods/" + string(pod.UID)); !os.IsNotExist(err) {
		t.Errorf("the pod's directory is left: %v", err)
	}
	if logs, err := os.ReadDir(c.config.RootDir + "/logs"); err != nil || len(logs) > 0 {
		t.Errorf("logs are left: %v, %v", logs, err)
	}
}

func TestFailingContainerIsRestartedWithBackOff(t *testing.T) {
	c := newCluster(t)
	c.create(newPod("crash", "exit", "3", "sorry"))
	pod := c.await("crash", "backs off", func(p *v1.Pod) bool {
		return len(p.Status.ContainerStatuses) == 1 && p.Status.ContainerStatuses[0].State.Waiting != nil &&
			p.Status.ContainerStatuses[0].State.Waiting.Reason == "CrashLoopBackOff"
	})
	s := pod.Status.ContainerStatuses[0]
	if s.RestartCount < 1 || s.LastTerminationState.Terminated == nil || s.LastTerminationState.Terminated.ExitCode != 3 ||
		s.LastTerminationState.Terminated.Message != "sorry" || s.LastTerminationState.Terminated.Reason != "Error" {
		t.Errorf("container status: %+v", s)
	}
	if !strings.HasPrefix(s.State.Waiting.Message, "back-off 10s restarting failed container=web pod=crash_default(") {
		t.Errorf("message: %s", s.State.Waiting.Message)
	}
	if pod.Status.Phase != v1.PodRunning {
		t.Errorf("phase: %s", pod.Status.Phase)
	}
}

func TestJobPodSucceedsAfterItsInitContainers(t *testing.T) {
	c := newCluster(t)
	pod := newPod("job", "cat", "/shared/greeting")
	pod.Spec.RestartPolicy = v1.RestartPolicyNever
	pod.Spec.Volumes = []v1.Volume{{Name: "shared", VolumeSource: v1.VolumeSource{EmptyDir: &v1.EmptyDirVolumeSource{}}}}
	mount := []v1.VolumeMount{{Name: "shared", MountPath: "/shared"}}
	pod.Spec.Containers[0].VolumeMounts = mount
	init := *pod.Spec.Containers[0].DeepCopy()
	init.Name, init.Args = "init", []string{"touch", "/shared/greeting", "hello"}
	sidecar := *init.DeepCopy()
	sidecar.Name, sidecar.Args, sidecar.RestartPolicy = "sidecar", []string{"pause"}, new(v1.ContainerRestartPolicyAlways)
	pod.Spec.InitContainers = []v1.Container{sidecar, init}
	c.create(pod)
	done := c.await("job", "has succeeded", func(p *v1.Pod) bool { return p.Status.Phase == v1.PodSucceeded })
	if s := done.Status.ContainerStatuses[0].State.Terminated; s == nil || s.ExitCode != 0 || s.Reason != "Completed" {
		t.Errorf("container status: %+v", done.Status.ContainerStatuses[0])
	}
	for _, s := range done.Status.InitContainerStatuses {
		if s.State.Terminated == nil {
			t.Errorf("init container status: %+v", s)
		}
	}
	log := c.log(pod, "web", 0)
	if !strings.Contains(log, "stdout F hello") && !strings.Contains(log, "stdout P hello") {
		t.Errorf("log: %q", log)
	}
}

func TestProbesDecideReadinessAndRestart(t *testing.T) {
	c := newCluster(t)
	pod := newPod("probed", "serve", "8080", "/tmp/ok")
	pod.Spec.Containers[0].Ports = []v1.ContainerPort{{Name: "http", ContainerPort: 8080}}
	pod.Spec.Containers[0].ReadinessProbe = &v1.Probe{PeriodSeconds: 1, FailureThreshold: 1, SuccessThreshold: 1, TimeoutSeconds: 1,
		ProbeHandler: v1.ProbeHandler{HTTPGet: &v1.HTTPGetAction{Path: "/file", Port: intstr.FromString("http")}}}
	pod.Spec.Containers[0].StartupProbe = &v1.Probe{PeriodSeconds: 1, FailureThreshold: 30, SuccessThreshold: 1, TimeoutSeconds: 1,
		ProbeHandler: v1.ProbeHandler{TCPSocket: &v1.TCPSocketAction{Port: intstr.FromInt32(8080)}}}
	pod.Spec.Containers[0].LivenessProbe = &v1.Probe{PeriodSeconds: 1, FailureThreshold: 1, SuccessThreshold: 1, TimeoutSeconds: 5,
		ProbeHandler: v1.ProbeHandler{Exec: &v1.ExecAction{Command: []string{"/app", "stat", "/etc"}}}}
	c.create(pod)
	c.await("probed", "has started", func(p *v1.Pod) bool {
		return len(p.Status.ContainerStatuses) == 1 && p.Status.ContainerStatuses[0].Started != nil && *p.Status.ContainerStatuses[0].Started
	})
	if isReady(c.get("probed")) {
		t.Error("ready although the readiness probe fails")
	}
	c.exec(pod, "web", "/app", "touch", "/tmp/ok")
	c.await("probed", "is ready", isReady)
	c.exec(pod, "web", "/app", "rm", "/tmp/ok")
	unready := c.await("probed", "is not ready any more", func(p *v1.Pod) bool { return !isReady(p) })
	for _, condition := range unready.Status.Conditions {
		if condition.Type == v1.PodReady && (condition.Reason != "ContainersNotReady" || condition.Message != "containers with unready status: [web]") {
			t.Errorf("condition: %+v", condition)
		}
	}
}

func TestLivenessProbeRestartsContainer(t *testing.T) {
	c := newCluster(t)
	pod := newPod("unwell", "serve", "8080", "/tmp/ok")
	pod.Spec.Containers[0].LivenessProbe = &v1.Probe{PeriodSeconds: 1, FailureThreshold: 1, SuccessThreshold: 1, TimeoutSeconds: 1,
		ProbeHandler: v1.ProbeHandler{HTTPGet: &v1.HTTPGetAction{Path: "/file", Port: intstr.FromInt32(8080)}}}
	c.create(pod)
	c.await("unwell", "is restarted", func(p *v1.Pod) bool {
		return len(p.Status.ContainerStatuses) == 1 && p.Status.ContainerStatuses[0].RestartCount > 0
	})
	c.awaitEvent("Killing", "Container web failed liveness probe, will be restarted")
	c.awaitEvent("Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 500")
}

func TestContainersSurviveKubeletRestart(t *testing.T) {
	c := newCluster(t)
	pod := newPod("stays", "serve", "8080")
	c.create(pod)
	before := c.await("stays", "is ready", isReady).Status.ContainerStatuses[0].ContainerID
	c.stop()
	c.start()
	marked := c.get("stays").DeepCopy()
	marked.Labels = map[string]string{"touched": "yes"}
	if _, err := c.api.CoreV1().Pods("default").Update(context.Background(), marked, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.delete("stays", 5)
	c.await("stays", "is reported as ended", func(p *v1.Pod) bool {
		s := p.Status.ContainerStatuses[0]
		return s.State.Terminated != nil && s.ContainerID == before && s.RestartCount == 0
	})
	c.awaitGone("stays")
}

func TestOrphansAreEnded(t *testing.T) {
	c := newCluster(t)
	pod := newPod("orphan", "serve", "8080")
	c.create(pod)
	c.await("orphan", "is ready", isReady)
	c.stop()
	if err := c.api.CoreV1().Pods("default").Delete(context.Background(), "orphan", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.start()
	kubelettest.Eventually(t, "the orphan is gone", func() (bool, error) {
		left, err := c.cri.ListSandboxes(context.Background(), map[string]string{cri.LabelPodUID: string(pod.UID)})
		return len(left) == 0, err
	})
}

func TestStaticPodHasMirror(t *testing.T) {
	dir := t.TempDir()
	c := newCluster(t, func(config *kubelet.Config) { config.Settings.StaticPodPath = dir })
	manifest := `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"static"},"spec":{"terminationGracePeriodSeconds":2,
"containers":[{"name":"web","image":"` + kubelettest.AppImage + `","args":["serve","8080"]}]}}`
	path := filepath.Join(dir, "static.json")
	if err := os.WriteFile(path, []byte(manifest), 0o644); err != nil {
		t.Fatal(err)
	}
	mirror := c.await("static-node-1", "is ready", isReady)
	if mirror.Annotations["kubernetes.io/config.mirror"] == "" || mirror.Annotations["kubernetes.io/config.source"] != "file" {
		t.Errorf("annotations: %v", mirror.Annotations)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	c.awaitGone("static-node-1")
	kubelettest.Eventually(t, "its containers are gone", func() (bool, error) {
		left, err := c.cri.ListSandboxes(context.Background(), map[string]string{cri.LabelPodName: "static-node-1"})
		return len(left) == 0, err
	})
}
