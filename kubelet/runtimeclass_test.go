package kubelet_test

import (
	"context"
	"testing"

	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestRuntimeClassChoosesTheHandler(t *testing.T) {
	c := newCluster(t)
	for name, handler := range map[string]string{"usual": "runc", "odd": "no-such-handler"} {
		class := &nodev1.RuntimeClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Handler: handler}
		if _, err := c.api.NodeV1().RuntimeClasses().Create(context.Background(), class, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		pod := newPod(name, "serve", "8080")
		pod.Spec.RuntimeClassName = &name
		c.create(pod)
	}
	missing := newPod("missing", "serve", "8080")
	missing.Spec.RuntimeClassName = new("missing")
	c.create(missing)

	pod := c.await("usual", "is ready", isReady)
	found, err := c.cri.Pod(context.Background(), pod.UID, nil)
	if err != nil || len(found.Sandboxes) != 1 || found.Sandboxes[0].Handler != "runc" {
		t.Errorf("sandboxes %+v, %v", found.Sandboxes, err)
	}
	c.awaitEvent("FailedCreatePodSandBox", `Failed to create pod sandbox: runtime class "missing": `)
	c.awaitEvent("FailedCreatePodSandBox", `Failed to create pod sandbox: rpc error: code = Unknown desc = failed to get sandbox runtime: no runtime for "no-such-handler" is configured`)
	for _, name := range []string{"usual", "odd", "missing"} {
		c.delete(name, 0)
		c.awaitGone(name)
	}
}
