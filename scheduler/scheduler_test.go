package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	coordinationv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	configv1alpha1 "k8s.io/component-base/config/v1alpha1"
	schedconfig "k8s.io/kube-scheduler/config/v1"
)

// api is a fake API server that binds as the real one does, and records events.
type api struct {
	*fake.Clientset
	mu     sync.Mutex
	events []string
	// refuse, if set, is what the next binding is answered with.
	refuse error
}

func newAPI(objects ...runtime.Object) *api {
	a := &api{Clientset: fake.NewClientset(objects...)}
	a.Resources = []*metav1.APIResourceList{{GroupVersion: "v1", APIResources: []metav1.APIResource{{Name: "pods"}, {Name: "nodes"}, {Name: "namespaces"}, {Name: "services"}}}}
	a.PrependReactor("create", "pods", a.bind)
	a.PrependReactor("create", "events", a.record)
	a.PrependReactor("patch", "events", a.record)
	return a
}

func (a *api) bind(action clienttesting.Action) (bool, runtime.Object, error) {
	create, ok := action.(clienttesting.CreateAction)
	if !ok || create.GetSubresource() != "binding" {
		return false, nil, nil
	}
	a.mu.Lock()
	refuse := a.refuse
	a.refuse = nil
	a.mu.Unlock()
	if refuse != nil {
		return true, nil, refuse
	}
	binding := create.GetObject().(*v1.Binding)
	object, err := a.Tracker().Get(v1.SchemeGroupVersion.WithResource("pods"), binding.Namespace, binding.Name)
	if err != nil {
		return true, nil, err
	}
	pod := object.(*v1.Pod).DeepCopy()
	pod.Spec.NodeName = binding.Target.Name
	return true, binding, a.Tracker().Update(v1.SchemeGroupVersion.WithResource("pods"), pod, pod.Namespace)
}

func (a *api) record(action clienttesting.Action) (bool, runtime.Object, error) {
	if create, ok := action.(clienttesting.CreateAction); ok {
		event := create.GetObject().(*v1.Event)
		a.mu.Lock()
		a.events = append(a.events, event.Type+" "+event.Reason+" "+event.Message)
		a.mu.Unlock()
	}
	return false, nil, nil
}

func (a *api) hasEvent(want string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Contains(a.events, want)
}

func (a *api) pod(t *testing.T, name string) *v1.Pod {
	t.Helper()
	pod, err := a.CoreV1().Pods("default").Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

func (a *api) create(t *testing.T, pods ...*v1.Pod) {
	t.Helper()
	for _, pod := range pods {
		if _, err := a.CoreV1().Pods(pod.Namespace).Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never happened: %s", what)
		}
	}
}

// run starts a scheduler that ends with the test, and fails the test if it does not.
func run(t *testing.T, cfg Config) *Scheduler {
	t.Helper()
	cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("run: %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("scheduler did not stop")
		}
	})
	return s
}

func TestBindsAndSaysSo(t *testing.T) {
	a := newAPI(newNode("a"))
	run(t, Config{Client: a})
	a.create(t, newPod("p", requests("1", "1Gi")))
	eventually(t, "bound", func() bool { return a.pod(t, "p").Spec.NodeName == "a" })
	eventually(t, "event", func() bool { return a.hasEvent("Normal Scheduled Successfully assigned default/p to a") })
}

func TestTellsWhyAndTriesAgainWhenThatChanges(t *testing.T) {
	a := newAPI(newNode("a", capacity("1", "1Gi", 10)))
	s := run(t, Config{Client: a})
	a.create(t, newPod("p", requests("2", "")))
	const message = "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
	eventually(t, "condition", func() bool {
		for _, c := range a.pod(t, "p").Status.Conditions {
			if c.Type == v1.PodScheduled {
				return c.Status == v1.ConditionFalse && c.Reason == "Unschedulable" && c.Message == message
			}
		}
		return false
	})
	eventually(t, "event", func() bool { return a.hasEvent("Warning FailedScheduling " + message) })

	recorder := httptest.NewRecorder()
	s.Pending().ServeHTTP(recorder, httptest.NewRequest("GET", "/?pod=default/p", nil))
	var answer []struct {
		Nodes map[string][]struct{ Plugin string }
	}
	if err := json.Unmarshal(recorder.Body.Bytes(), &answer); err != nil || len(answer) != 1 || answer[0].Nodes["a"][0].Plugin != "NodeResourcesFit" {
		t.Errorf("%v in %s", err, recorder.Body)
	}

	if _, err := a.CoreV1().Nodes().Create(t.Context(), newNode("b"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "bound to the new node", func() bool { return a.pod(t, "p").Spec.NodeName == "b" })
}

func TestLeavesPodsOfOtherSchedulersAlone(t *testing.T) {
	a := newAPI(newNode("a"))
	run(t, Config{Client: a})
	a.create(t, newPod("other", func(p *v1.Pod) { p.Spec.SchedulerName = "someone-else" }), newPod("ours"))
	eventually(t, "ours bound", func() bool { return a.pod(t, "ours").Spec.NodeName == "a" })
	if node := a.pod(t, "other").Spec.NodeName; node != "" {
		t.Errorf("bound a pod of another scheduler to %s", node)
	}
}

func TestRefusedBindingIsTriedAgain(t *testing.T) {
	a := newAPI(newNode("a", capacity("1", "1Gi", 10)))
	a.refuse = errors.New("not today")
	run(t, Config{Client: a})
	a.create(t, newPod("p", requests("1", "")))
	eventually(t, "bound", func() bool { return a.pod(t, "p").Spec.NodeName == "a" })
	eventually(t, "event", func() bool { return a.hasEvent("Warning FailedScheduling binding rejected: not today") })
}

func TestRoomOfAPodThatEndedIsUsed(t *testing.T) {
	a := newAPI(newNode("a", capacity("1", "1Gi", 10)), newPod("old", on("a"), requests("1", "")))
	run(t, Config{Client: a})
	a.create(t, newPod("p", requests("1", "")))
	eventually(t, "rejected", func() bool { return len(a.pod(t, "p").Status.Conditions) > 0 })
	old := a.pod(t, "old")
	old.Status.Phase = v1.PodSucceeded
	if _, err := a.CoreV1().Pods("default").UpdateStatus(t.Context(), old, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "bound", func() bool { return a.pod(t, "p").Spec.NodeName == "a" })
}

func TestManyPodsNeverOvercommit(t *testing.T) {
	nodes := manyNodes(10, capacity("4", "8Gi", 110))
	objects := make([]runtime.Object, len(nodes))
	for i := range nodes {
		objects[i] = nodes[i]
	}
	a := newAPI(objects...)
	registry := prometheus.NewRegistry()
	run(t, Config{Client: a, Metrics: registry})
	for i := range 60 {
		a.create(t, newPod(fmt.Sprint(i), requests("1", "")))
	}
	perNode := func() (counts map[string]int, bound int) {
		counts = map[string]int{}
		pods, err := a.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range pods.Items {
			if node := pods.Items[i].Spec.NodeName; node != "" {
				counts[node]++
				bound++
			}
		}
		return counts, bound
	}
	eventually(t, "40 of 60 pods bound", func() bool { _, bound := perNode(); return bound == 40 })
	counts, _ := perNode()
	for node, count := range counts {
		if count > 4 {
			t.Errorf("%d pods of 1 CPU on %s with 4", count, node)
		}
	}
	eventually(t, "metrics agree", func() bool { return metric(t, registry, "scheduler_pending_pods", "queue", "unschedulable") == 20 })
}

func metric(t *testing.T, registry *prometheus.Registry, name, label, value string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.Metric {
			for _, l := range m.Label {
				if family.GetName() == name && l.GetName() == label && l.GetValue() == value {
					return m.GetGauge().GetValue()
				}
			}
		}
	}
	return -1
}

func TestOnlyTheLeaderSchedules(t *testing.T) {
	yes := true
	holder, seconds, now := "another", int32(3600), metav1.NowMicro()
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "kube-scheduler"},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds, AcquireTime: &now, RenewTime: &now}}
	a := newAPI(newNode("a"), lease)
	election := configv1alpha1.LeaderElectionConfiguration{LeaderElect: &yes, RetryPeriod: metav1.Duration{Duration: 10 * time.Millisecond}}
	run(t, Config{Client: a, Configuration: &schedconfig.KubeSchedulerConfiguration{LeaderElection: election}})
	a.create(t, newPod("p"))
	eventually(t, "lease looked at three times", func() bool {
		looks := 0
		for _, action := range a.Actions() {
			if action.Matches("get", "leases") {
				looks++
			}
		}
		return looks >= 3
	})
	if node := a.pod(t, "p").Spec.NodeName; node != "" {
		t.Fatalf("bound to %s by a scheduler that does not lead", node)
	}
	lease = lease.DeepCopy()
	lease.Spec.HolderIdentity = new(string)
	if _, err := a.CoordinationV1().Leases("kube-system").Update(t.Context(), lease, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "bound after taking over", func() bool { return a.pod(t, "p").Spec.NodeName == "a" })
}

func TestRefusesConfigurationsItCannotHonour(t *testing.T) {
	weight := int32(5)
	for name, tc := range map[string]struct {
		cfg  schedconfig.KubeSchedulerConfiguration
		want string
	}{
		"extender":       {schedconfig.KubeSchedulerConfiguration{Extenders: []schedconfig.Extender{{URLPrefix: "http://x"}}}, "extenders are not supported"},
		"unknown plugin": {profileWith(schedconfig.Plugins{Filter: schedconfig.PluginSet{Enabled: []schedconfig.Plugin{{Name: "Nope"}}}}), `plugin "Nope" is unknown`},
		"wrong point":    {profileWith(schedconfig.Plugins{Score: schedconfig.PluginSet{Enabled: []schedconfig.Plugin{{Name: "NodeName", Weight: &weight}}}}), "does not extend the point"},
		"unknown argument": {schedconfig.KubeSchedulerConfiguration{Profiles: []schedconfig.KubeSchedulerProfile{{PluginConfig: []schedconfig.PluginConfig{{
			Name: "NodeResourcesFit", Args: runtime.RawExtension{Raw: []byte(`{"scoring": 1}`)}}}}}}, `unknown field "scoring"`},
		"no binder": {profileWith(schedconfig.Plugins{Bind: schedconfig.PluginSet{Disabled: []schedconfig.Plugin{{Name: "*"}}}}), "no plugin is enabled to bind"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(Config{Client: newAPI(), Configuration: &tc.cfg})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func profileWith(plugins schedconfig.Plugins) schedconfig.KubeSchedulerConfiguration {
	return schedconfig.KubeSchedulerConfiguration{Profiles: []schedconfig.KubeSchedulerProfile{{Plugins: &plugins}}}
}

func TestProfileCanTurnAFilterOff(t *testing.T) {
	cfg := profileWith(schedconfig.Plugins{MultiPoint: schedconfig.PluginSet{Disabled: []schedconfig.Plugin{{Name: "NodeUnschedulable"}}}})
	a := newAPI(newNode("a", cordoned))
	run(t, Config{Client: a, Configuration: &cfg})
	a.create(t, newPod("p"))
	eventually(t, "bound", func() bool { return a.pod(t, "p").Spec.NodeName == "a" })
}
