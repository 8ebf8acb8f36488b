package plan_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"pgregory.net/rapid"

	"github.com/yare-io/yare/kubelet/cri"
	"github.com/yare-io/yare/kubelet/plan"
)

var now = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

// A case is written in words: the pod as "policy: init* sidecar+ app", what the runtime holds newest first as
// "sandbox=N name:state", and the plan as a sentence.
func podOf(text string) *v1.Pod {
	policy, names, _ := strings.Cut(text, ": ")
	pod := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "u"},
		Spec:       v1.PodSpec{RestartPolicy: v1.RestartPolicy(policy)},
	}
	for _, name := range strings.Fields(names) {
		if init, ok := strings.CutSuffix(name, "*"); ok {
			pod.Spec.InitContainers = append(pod.Spec.InitContainers, v1.Container{Name: init})
		} else if sidecar, ok := strings.CutSuffix(name, "+"); ok {
			pod.Spec.InitContainers = append(pod.Spec.InitContainers, v1.Container{Name: sidecar, RestartPolicy: new(v1.ContainerRestartPolicyAlways)})
		} else if ephemeral, ok := strings.CutSuffix(name, "!"); ok {
			pod.Spec.EphemeralContainers = append(pod.Spec.EphemeralContainers,
				v1.EphemeralContainer{EphemeralContainerCommon: v1.EphemeralContainerCommon{Name: ephemeral}, TargetContainerName: "web"})
		} else {
			pod.Spec.Containers = append(pod.Spec.Containers, v1.Container{Name: name})
		}
	}
	return pod
}

func runtimeOf(text string) *cri.Pod {
	pod := &cri.Pod{UID: "u"}
	for i, word := range strings.Fields(text) {
		name, state, _ := strings.Cut(word, ":")
		if box, ok := strings.CutPrefix(name, "box"); ok {
			s := &cri.Sandbox{ID: name, Ready: state == "ready", IPs: []string{"10.0.0.1"}}
			fmt.Sscan(box, &s.Attempt)
			pod.Sandboxes = append(pod.Sandboxes, s)
			continue
		}
		name, box, old := strings.Cut(name, "@")
		c := &cri.Container{ID: fmt.Sprintf("%s-%d", name, i), Name: name, SandboxID: pod.Sandboxes[0].ID}
		if old {
			c.SandboxID = "box" + box
		}
		switch state {
		case "running":
			c.State = runtimeapi.ContainerState_CONTAINER_RUNNING
		case "created":
			c.State = runtimeapi.ContainerState_CONTAINER_CREATED
		case "unknown":
			c.State = runtimeapi.ContainerState_CONTAINER_UNKNOWN
		default:
			c.State = runtimeapi.ContainerState_CONTAINER_EXITED
			fmt.Sscan(state, &c.ExitCode)
			c.FinishedAt = now.Add(-time.Second)
		}
		pod.Containers = append(pod.Containers, c)
	}
	return pod
}

func describe(p plan.Plan) string {
	var words []string
	if p.StopPod {
		words = append(words, "stop pod")
	}
	if p.Done {
		words = append(words, "done")
	}
	if p.CreateSandbox {
		words = append(words, fmt.Sprintf("create box%d", p.Attempt))
	}
	for _, k := range p.Kill {
		words = append(words, "kill "+k.Name)
	}
	for _, s := range p.Start {
		words = append(words, fmt.Sprintf("start %s#%d", s.Container.Name, s.RestartCount))
	}
	for name, w := range p.Waiting {
		words = append(words, name+" waits: "+w.Reason)
	}
	if len(words) == 0 {
		return "nothing"
	}
	slices.Sort(words[len(words)-len(p.Waiting):])
	return strings.Join(words, ", ")
}

func TestDecide(t *testing.T) {
	cases := []struct {
		name, pod, runtime, want string
		failed, started          string // container names
		backoff                  string // names in back-off
	}{
		{name: "a new pod needs a sandbox", pod: "Always: a", want: "create box0"},
		{name: "with a sandbox all app containers start", pod: "Always: a b", runtime: "box0:ready", want: "start a#0, start b#0"},
		{name: "nothing to do while all run", pod: "Always: a", runtime: "box0:ready a:running", want: "nothing"},
		{name: "a dead container starts again", pod: "Always: a", runtime: "box0:ready a:1", want: "start a#1"},
		{name: "even after success", pod: "Always: a", runtime: "box0:ready a:0", want: "start a#1"},
		{name: "unless it is in back-off", pod: "Always: a", runtime: "box0:ready a:1", backoff: "a", want: "a waits: CrashLoopBackOff"},
		{name: "OnFailure restarts failures", pod: "OnFailure: a b", runtime: "box0:ready a:1 b:0", want: "start a#1"},
		{name: "OnFailure ends when all succeeded", pod: "OnFailure: a", runtime: "box0:ready a:0", want: "stop pod, done"},
		{name: "Never ends after a failure", pod: "Never: a", runtime: "box0:ready a:1", want: "stop pod, done"},
		{name: "Never waits for the others", pod: "Never: a b", runtime: "box0:ready a:1 b:running", want: "nothing"},
		{name: "Never starts what has not run yet", pod: "Never: a b", runtime: "box0:ready a:0", want: "start b#0"},
		{name: "a created container is made again", pod: "Never: a", runtime: "box0:ready a:created", want: "start a#1"},
		{name: "one in unknown state is killed first", pod: "Always: a", runtime: "box0:ready a:unknown", want: "kill a, start a#1"},
		{name: "a failed probe kills", pod: "Always: a", runtime: "box0:ready a:running", failed: "a", want: "kill a"},
		{name: "a failed probe kills although nothing follows", pod: "Never: a", runtime: "box0:ready a:running", failed: "a", want: "kill a"},

		{name: "a dead sandbox is replaced", pod: "Always: a", runtime: "box0:dead a:137", want: "stop pod, create box1"},
		{name: "but not for a pod that never restarts", pod: "Never: a", runtime: "box0:dead a:137", want: "stop pod, done"},
		{name: "nor for one that has succeeded", pod: "OnFailure: a", runtime: "box0:dead a:0", want: "stop pod, done"},
		{name: "a sandbox that died before anything ran is replaced", pod: "Never: a", runtime: "box0:dead", want: "stop pod, create box1"},
		{name: "two ready sandboxes are one too many", pod: "Always: a", runtime: "box1:ready box0:ready", want: "stop pod, create box2"},
		{name: "in a new sandbox containers count on", pod: "Always: a", runtime: "box1:ready box0:dead a@0:137", want: "start a#1"},
		{name: "in a new sandbox init containers run again", pod: "Always: i* a", runtime: "box1:ready box0:dead i@0:0 a@0:137", want: "start i#0"},

		{name: "init containers come first", pod: "Always: i* j* a", runtime: "box0:ready", want: "start i#0"},
		{name: "one after another", pod: "Always: i* j* a", runtime: "box0:ready i:0", want: "start j#0"},
		{name: "nothing while one runs", pod: "Always: i* a", runtime: "box0:ready i:running", want: "nothing"},
		{name: "apps after the last", pod: "Always: i* a", runtime: "box0:ready i:0", want: "start a#0"},
		{name: "a failed one runs again", pod: "OnFailure: i* a", runtime: "box0:ready i:1", want: "start i#1"},
		{name: "or fails the pod", pod: "Never: i* a", runtime: "box0:ready i:1", want: "stop pod, done"},
		{name: "init containers do not run again beside apps", pod: "Always: i* a", runtime: "box0:ready a:1 i:1", want: "start a#1"},

		{name: "a sidecar starts in its turn", pod: "Always: s+ i* a", runtime: "box0:ready", want: "start s#0"},
		{name: "and holds up the next until it has started", pod: "Always: s+ i* a", runtime: "box0:ready s:running", want: "nothing"},
		{name: "then the next goes on", pod: "Always: s+ i* a", runtime: "box0:ready s:running", started: "s", want: "start i#0"},
		{name: "a dead sidecar comes back beside apps", pod: "Always: s+ a", runtime: "box0:ready a:running s:1", want: "start s#1"},
		{name: "even in a pod that never restarts", pod: "Never: s+ a", runtime: "box0:ready a:running s:0", want: "start s#1"},
		{name: "a sidecar alone keeps no pod alive", pod: "Never: s+ a", runtime: "box0:ready a:0 s:running", started: "s", want: "stop pod, done"},
		{name: "nor is it started again then", pod: "Never: s+ a", runtime: "box0:ready a:0 s:1", want: "stop pod, done"},
		{name: "an ephemeral container starts beside apps", pod: "Always: a e!", runtime: "box0:ready a:running", want: "start e#0"},
		{name: "and while the pod initializes", pod: "Always: i* a e!", runtime: "box0:ready i:running", want: "start e#0"},
		{name: "but once only", pod: "Always: a e!", runtime: "box0:ready a:running e:1", want: "nothing"},
		{name: "not even in a new sandbox", pod: "Always: a e!", runtime: "box1:ready box0:dead a@0:137 e@0:137", want: "start a#1"},
		{name: "it keeps no pod alive", pod: "Never: a e!", runtime: "box0:ready a:0 e:running", want: "stop pod, done"},
		{name: "nor starts in one that is done", pod: "Never: a e!", runtime: "box0:ready a:0", want: "stop pod, done"},
		{name: "a failed probe kills a sidecar", pod: "Always: s+ a", runtime: "box0:ready a:running s:running", failed: "s", want: "kill s"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := describe(plan.Decide(inputOf(c.pod, c.runtime, c.failed, c.started, c.backoff))); got != c.want {
				t.Errorf("%s with %q:\n got %s\nwant %s", c.pod, c.runtime, got, c.want)
			}
		})
	}
}

func inputOf(pod, runtime, failed, started, backoff string) plan.Input {
	in := plan.Input{
		Pod: podOf(pod), Runtime: runtimeOf(runtime), Now: now, Backoff: plan.NewBackoff(10*time.Second, time.Minute),
		Failed: map[string]string{}, Started: map[string]bool{},
	}
	for _, c := range in.Runtime.Containers {
		if strings.Contains(failed, c.Name) {
			in.Failed[c.ID] = "it failed"
		}
		in.Started[c.ID] = strings.Contains(started, c.Name)
	}
	for _, name := range strings.Fields(backoff) {
		in.Backoff.Next(name, now, now)
	}
	return in
}

func TestChangedImageRestartsContainer(t *testing.T) {
	in := inputOf("Always: a", "box0:ready a:running", "", "", "")
	in.Runtime.Containers[0].Hash = plan.Hash(&in.Pod.Spec.Containers[0])
	if got := describe(plan.Decide(in)); got != "nothing" {
		t.Errorf("unchanged: %s", got)
	}
	in.Pod.Spec.Containers[0].Image = "other"
	if got := describe(plan.Decide(in)); got != "kill a" {
		t.Errorf("changed: %s", got)
	}
}

func TestSandboxWithoutAddressIsReplacedUnlessOnHostNetwork(t *testing.T) {
	in := inputOf("Always: a", "box0:ready", "", "", "")
	in.Runtime.Sandboxes[0].IPs = nil
	if got := describe(plan.Decide(in)); got != "stop pod, create box1" {
		t.Errorf("pod network: %s", got)
	}
	in.Pod.Spec.HostNetwork = true
	if got := describe(plan.Decide(in)); got != "start a#0" {
		t.Errorf("host network: %s", got)
	}
}

func TestBackoffDoublesToItsLimitAndForgets(t *testing.T) {
	b := plan.NewBackoff(10*time.Second, 50*time.Second)
	for i, want := range []time.Duration{10, 20, 40, 50, 50} {
		b.Next("a", now, now)
		if delay, left := b.Remaining("a", now, now); delay != want*time.Second || left != delay {
			t.Errorf("restart %d: delay %v, left %v, want %v s", i, delay, left, want)
		}
	}
	if _, left := b.Remaining("a", now, now.Add(49*time.Second)); left != time.Second {
		t.Errorf("left after 49 s: %v", left)
	}
	if _, left := b.Remaining("a", now, now.Add(time.Hour)); left != 0 {
		t.Errorf("left after an hour: %v", left)
	}
	later := now.Add(101 * time.Second)
	if _, left := b.Remaining("a", later, later); left != 0 {
		t.Error("a container that ran for long is held back")
	}
	if b.Next("a", later, later); true {
		if delay, _ := b.Remaining("a", later, later); delay != 10*time.Second {
			t.Errorf("after a long good time the delay is %v", delay)
		}
	}
}

// Whatever the runtime holds, the plan must make sense.
func TestPlansAreSane(t *testing.T) {
	states := []string{"running", "created", "unknown", "0", "1"}
	rapid.Check(t, func(t *rapid.T) {
		policy := rapid.SampledFrom([]string{"Always", "OnFailure", "Never"}).Draw(t, "policy")
		runtime := rapid.SampledFrom([]string{"", "box0:ready", "box0:dead", "box1:ready box0:dead"}).Draw(t, "sandboxes")
		if runtime != "" {
			for _, name := range []string{"s", "i", "a", "b"} {
				if state := rapid.SampledFrom(append(states, "")).Draw(t, name); state != "" {
					runtime += " " + name + ":" + state
				}
			}
		}
		p := plan.Decide(inputOf(policy+": s+ i* a b", runtime, rapid.SampledFrom([]string{"", "a", "s"}).Draw(t, "failed"), "s", ""))
		if p.Done && (p.CreateSandbox || len(p.Start) > 0 || len(p.Waiting) > 0) {
			t.Fatalf("%s: done, and yet: %s", runtime, describe(p))
		}
		if p.CreateSandbox && len(p.Start) > 0 {
			t.Fatalf("%s: starts containers before their sandbox: %s", runtime, describe(p))
		}
		seen := map[string]bool{}
		for _, s := range p.Start {
			if seen[s.Container.Name] {
				t.Fatalf("%s: starts %s twice", runtime, s.Container.Name)
			}
			seen[s.Container.Name] = true
			for _, c := range runtimeOf(runtime).Containers {
				if c.Name == s.Container.Name && c.Running() {
					t.Fatalf("%s: starts %s, which runs", runtime, c.Name)
				}
			}
		}
		if policy == "Always" && p.Done {
			t.Fatalf("%s: a pod that always restarts is done", runtime)
		}
	})
}
