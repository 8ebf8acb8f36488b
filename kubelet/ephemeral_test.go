package kubelet_test

import (
	"context"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/yare-io/yare/kubelet/kubelettest"
)

func TestEphemeralContainerJoinsARunningPodAndSeesItsProcesses(t *testing.T) {
	c := newCluster(t)
	pod := newPod("debugged", "serve", "8080")
	c.create(pod)
	before := c.await("debugged", "is ready", isReady)
	changed := before.DeepCopy()
	changed.Spec.EphemeralContainers = []v1.EphemeralContainer{{
		EphemeralContainerCommon: v1.EphemeralContainerCommon{
			Name: "debug", Image: kubelettest.AppImage, Args: []string{"serve", "8081"}, ImagePullPolicy: v1.PullIfNotPresent,
			TerminationMessagePath: "/dev/termination-log", TerminationMessagePolicy: v1.TerminationMessageReadFile,
		},
		TargetContainerName: "web",
	}}
	if _, err := c.api.CoreV1().Pods("default").Update(context.Background(), changed, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	after := c.await("debugged", "has its ephemeral container", func(pod *v1.Pod) bool {
		statuses := pod.Status.EphemeralContainerStatuses
		return len(statuses) == 1 && statuses[0].State.Running != nil
	})
	if got, want := after.Status.ContainerStatuses[0].ContainerID, before.Status.ContainerStatuses[0].ContainerID; got != want {
		t.Errorf("the app's container is %s, before %s", got, want)
	}
	// The first process that it sees is the target's.
	if first := c.exec(pod, "debug", "/app", "cat", "/proc/1/cmdline"); !strings.Contains(first, "8080") {
		t.Errorf("process 1 is %q", first)
	}
	c.delete("debugged", 1)
	c.awaitGone("debugged")
}
