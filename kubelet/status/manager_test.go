package status_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/yare-io/yare/kubelet/status"
)

func start(t *testing.T, p *v1.Pod) (*status.Manager, *fake.Clientset) {
	client := fake.NewClientset(p)
	m := status.NewManager(client, func(uid types.UID) *v1.Pod {
		pod, err := client.CoreV1().Pods(p.Namespace).Get(context.Background(), p.Name, metav1.GetOptions{})
		if err != nil || pod.UID != uid {
			return nil
		}
		return pod
	}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); m.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return m, client
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for !condition() {
		select {
		case <-deadline:
			t.Fatal(what + ": never")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func writes(client *fake.Clientset, verb string) int {
	n := 0
	for _, a := range client.Actions() {
		if a.GetVerb() == verb {
			n++
		}
	}
	return n
}

func TestManagerWritesOnlyChangesAndKeepsForeignConditions(t *testing.T) {
	p := pod(v1.RestartPolicyAlways)
	p.Status.Conditions = []v1.PodCondition{{Type: "example.com/gate", Status: v1.ConditionTrue}}
	m, client := start(t, p)
	wanted := v1.PodStatus{Phase: v1.PodRunning, Conditions: []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionTrue}}}
	m.Set("u", wanted)
	read := func() *v1.Pod {
		got, err := client.CoreV1().Pods("ns").Get(context.Background(), "p", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	eventually(t, "written", func() bool { return read().Status.Phase == v1.PodRunning })
	if got := read().Status.Conditions; len(got) != 2 {
		t.Errorf("conditions: %+v", got)
	}
	m.Set("u", wanted)
	m.Set("u", v1.PodStatus{Phase: v1.PodRunning, Message: "new", Conditions: wanted.Conditions})
	eventually(t, "written again", func() bool { return read().Status.Message == "new" })
	if n := writes(client, "patch"); n != 2 {
		t.Errorf("%d writes, want 2", n)
	}
}

func TestManagerDeletesAfterTheLastStatus(t *testing.T) {
	m, client := start(t, pod(v1.RestartPolicyAlways))
	m.Set("u", v1.PodStatus{Phase: v1.PodSucceeded})
	m.Delete("u")
	eventually(t, "deleted", func() bool { return writes(client, "delete") > 0 })
	patched := false
	for _, a := range client.Actions() {
		patched = patched || a.GetVerb() == "patch"
		if a.GetVerb() == "delete" && !patched {
			t.Error("deleted before the last status was written")
		}
	}
}

func TestManagerLeavesAnotherPodOfTheSameNameAlone(t *testing.T) {
	m, client := start(t, pod(v1.RestartPolicyAlways))
	m.Set("earlier", v1.PodStatus{Phase: v1.PodFailed})
	m.Delete("earlier")
	m.Set("u", v1.PodStatus{Phase: v1.PodRunning})
	eventually(t, "the right pod is written", func() bool { return writes(client, "patch") > 0 })
	if n := writes(client, "delete"); n > 0 {
		t.Errorf("%d deletions", n)
	}
}
