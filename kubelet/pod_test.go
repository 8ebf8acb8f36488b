package kubelet_test

import (
	"context"
	"os"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/yare-io/yare/kubelet/cri"
)

func TestPodRunsAndGoesWithoutTrace(t *testing.T) {
	c := newCluster(t)
	pod := newPod("web", "serve", "8080")
	c.create(pod)
	running := c.await("web", "is ready", isReady)
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
