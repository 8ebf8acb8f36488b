package scheduler

import (
	"fmt"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

func TestDecides(t *testing.T) {
	always := v1.ContainerRestartPolicyAlways
	for name, tc := range map[string]struct {
		nodes []*v1.Node
		pods  []*v1.Pod
		pod   *v1.Pod
		want  string
	}{
		"no node": {
			pod: newPod("p"), want: "no nodes available to schedule pods",
		},
		"node with enough left": {
			nodes: []*v1.Node{newNode("small", capacity("1", "1Gi", 10)), newNode("large", capacity("8", "1Gi", 10))},
			pod:   newPod("p", requests("2", "")), want: "large",
		},
		"one reason for each node": {
			nodes: []*v1.Node{newNode("a", capacity("1", "8Gi", 10)), newNode("b", taint("dedicated", v1.TaintEffectNoSchedule))},
			pod:   newPod("p", requests("2", "")),
			want:  "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s).",
		},
		"reasons are counted": {
			nodes: manyNodes(12, capacity("1", "1Gi", 10)),
			pod:   newPod("p", requests("2", "2Gi")),
			want:  "0/12 nodes are available: 12 Insufficient cpu, 12 Insufficient memory.",
		},
		"what runs counts": {
			nodes: []*v1.Node{newNode("a", capacity("2", "8Gi", 10))},
			pods:  []*v1.Pod{newPod("old", on("a"), requests("1500m", ""))},
			pod:   newPod("p", requests("1", "")),
			want:  "0/1 nodes are available: 1 Insufficient cpu.",
		},
		"pod count": {
			nodes: []*v1.Node{newNode("a", capacity("2", "8Gi", 1))},
			pods:  []*v1.Pod{newPod("old", on("a"))},
			pod:   newPod("p"), want: "0/1 nodes are available: 1 Too many pods.",
		},
		"init containers count by their highest": {
			nodes: []*v1.Node{newNode("a", capacity("2", "8Gi", 10))},
			pod: newPod("p", requests("1", ""), func(p *v1.Pod) {
				p.Spec.InitContainers = []v1.Container{{Resources: v1.ResourceRequirements{Requests: quantities("3", "")}}}
			}),
			want: "0/1 nodes are available: 1 Insufficient cpu.",
		},
		"sidecars count on top": {
			nodes: []*v1.Node{newNode("a", capacity("2", "8Gi", 10))},
			pod: newPod("p", requests("1500m", ""), func(p *v1.Pod) {
				p.Spec.InitContainers = []v1.Container{{RestartPolicy: &always, Resources: v1.ResourceRequirements{Requests: quantities("1", "")}}}
			}),
			want: "0/1 nodes are available: 1 Insufficient cpu.",
		},
		"overhead counts": {
			nodes: []*v1.Node{newNode("a", capacity("2", "8Gi", 10))},
			pod:   newPod("p", requests("1500m", ""), func(p *v1.Pod) { p.Spec.Overhead = quantities("1", "") }),
			want:  "0/1 nodes are available: 1 Insufficient cpu.",
		},
		"extended resource": {
			nodes: []*v1.Node{newNode("a"), newNode("b", func(n *v1.Node) { n.Status.Allocatable["example.com/gpu"] = resource.MustParse("1") })},
			pod: newPod("p", func(p *v1.Pod) {
				p.Spec.Containers[0].Resources.Requests = v1.ResourceList{"example.com/gpu": resource.MustParse("1")}
			}),
			want: "b",
		},
		"node selector": {
			nodes: []*v1.Node{newNode("a"), newNode("b", label("disk", "ssd"))},
			pod:   newPod("p", nodeSelector("disk", "ssd")), want: "b",
		},
		"node selector that matches none": {
			nodes: []*v1.Node{newNode("a"), newNode("b")},
			pod:   newPod("p", nodeSelector("disk", "ssd")),
			want:  "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.",
		},
		"cordoned": {
			nodes: []*v1.Node{newNode("a", cordoned)},
			pod:   newPod("p"), want: "0/1 nodes are available: 1 node(s) were unschedulable.",
		},
		"cordoned but tolerated": {
			nodes: []*v1.Node{newNode("a", cordoned)},
			pod:   newPod("p", tolerates(v1.TaintNodeUnschedulable)), want: "a",
		},
		"taint tolerated": {
			nodes: []*v1.Node{newNode("a", taint("dedicated", v1.TaintEffectNoExecute))},
			pod:   newPod("p", tolerates("dedicated")), want: "a",
		},
		"soft taint is avoided": {
			nodes: []*v1.Node{newNode("a", taint("meh", v1.TaintEffectPreferNoSchedule)), newNode("b")},
			pod:   newPod("p"), want: "b",
		},
		"host port taken": {
			nodes: []*v1.Node{newNode("a")},
			pods:  []*v1.Pod{newPod("old", on("a"), hostPort(80))},
			pod:   newPod("p", hostPort(80)),
			want:  "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.",
		},
		"host port free elsewhere": {
			nodes: []*v1.Node{newNode("a"), newNode("b")},
			pods:  []*v1.Pod{newPod("old", on("a"), hostPort(80))},
			pod:   newPod("p", hostPort(80)), want: "b",
		},
		"least allocated": {
			nodes: []*v1.Node{newNode("a"), newNode("b")},
			pods:  []*v1.Pod{newPod("old", on("a"), requests("1", "1Gi"))},
			pod:   newPod("p", requests("1", "1Gi")), want: "b",
		},
		"balanced allocation": {
			nodes: []*v1.Node{newNode("a"), newNode("b")},
			pods:  []*v1.Pod{newPod("cpu", on("a"), requests("1", "1")), newPod("memory", on("b"), requests("1m", "2Gi"))},
			pod:   newPod("p", requests("1", "1")), want: "b",
		},
		"image already there": {
			nodes: []*v1.Node{newNode("a"), newNode("b", func(n *v1.Node) {
				n.Status.Images = []v1.ContainerImage{{Names: []string{"image:latest"}, SizeBytes: 900 << 20}}
			})},
			pod: newPod("p"), want: "b",
		},
		"preferred node affinity": {
			nodes: []*v1.Node{newNode("a"), newNode("b", label("disk", "ssd")), newNode("c")},
			pod: newPod("p", func(p *v1.Pod) {
				p.Spec.Affinity = &v1.Affinity{NodeAffinity: &v1.NodeAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []v1.PreferredSchedulingTerm{{
					Weight: 1, Preference: v1.NodeSelectorTerm{MatchExpressions: []v1.NodeSelectorRequirement{{Key: "disk", Operator: v1.NodeSelectorOpExists}}},
				}}}}
			}),
			want: "b",
		},
		"required node affinity by field, as daemons have": {
			nodes: manyNodes(20), pod: newPod("p", onlyNode("node-0007")), want: "node-0007",
		},
		"a daemon whose node is full": {
			nodes: []*v1.Node{newNode("a"), newNode("b"), newNode("c", capacity("1", "1Gi", 10))}, pod: newPod("p", onlyNode("c"), requests("2", "")),
			want: "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't satisfy plugin(s) [NodeAffinity].",
		},
		"pod affinity": {
			nodes: []*v1.Node{newNode("a", zone("east")), newNode("b", zone("west")), newNode("c", zone("west"))},
			pods:  []*v1.Pod{newPod("db", on("b"), app("db"), requests("4", ""))},
			pod:   newPod("p", near(term("db", v1.LabelTopologyZone)), requests("1", "")), want: "c",
		},
		"pod affinity to nobody": {
			nodes: []*v1.Node{newNode("a", zone("east")), newNode("b")},
			pod:   newPod("p", near(term("db", v1.LabelTopologyZone))),
			want:  "0/2 nodes are available: 2 node(s) didn't match pod affinity rules.",
		},
		"pod affinity to itself, as the first": {
			nodes: []*v1.Node{newNode("a", zone("east")), newNode("b")},
			pod:   newPod("p", app("db"), near(term("db", v1.LabelTopologyZone))), want: "a",
		},
		"pod anti-affinity": {
			nodes: []*v1.Node{newNode("a"), newNode("b")},
			pods:  []*v1.Pod{newPod("db", on("a"), app("db"))},
			pod:   newPod("p", app("db"), away(term("db", v1.LabelHostname))), want: "b",
		},
		"pod anti-affinity everywhere": {
			nodes: []*v1.Node{newNode("a", zone("east")), newNode("b", zone("east"))},
			pods:  []*v1.Pod{newPod("db", on("a"), app("db"))},
			pod:   newPod("p", away(term("db", v1.LabelTopologyZone))),
			want:  "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules.",
		},
		"anti-affinity of a running pod": {
			nodes: []*v1.Node{newNode("a", zone("east"))},
			pods:  []*v1.Pod{newPod("db", on("a"), away(term("web", v1.LabelTopologyZone)))},
			pod:   newPod("p", app("web")),
			want:  "0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules.",
		},
		"affinity knows its own namespace only": {
			nodes: []*v1.Node{newNode("a")},
			pods:  []*v1.Pod{newPod("db", on("a"), app("db"), func(p *v1.Pod) { p.Namespace = "other" })},
			pod:   newPod("p", away(term("db", v1.LabelHostname))), want: "a",
		},
		"preferred pod affinity": {
			nodes: []*v1.Node{newNode("a"), newNode("b"), newNode("c")},
			pods:  []*v1.Pod{newPod("db", on("b"), app("db"))},
			pod:   newPod("p", preferNear(100, term("db", v1.LabelHostname))), want: "b",
		},
		"preferred affinity of a running pod": {
			nodes: []*v1.Node{newNode("a"), newNode("b"), newNode("c")},
			pods:  []*v1.Pod{newPod("db", on("b"), preferNear(100, term("web", v1.LabelHostname)))},
			pod:   newPod("p", app("web")), want: "b",
		},
		"spread over zones": {
			nodes: []*v1.Node{newNode("a", zone("east")), newNode("b", zone("west"), capacity("1", "8Gi", 10))},
			pods:  []*v1.Pod{newPod("1", on("a"), app("web"))},
			pod:   newPod("p", app("web"), spread(v1.LabelTopologyZone, 1, v1.DoNotSchedule)), want: "b",
		},
		"spread that cannot be kept": {
			nodes: []*v1.Node{newNode("a", zone("east")), newNode("b", zone("west"), capacity("1", "8Gi", 10)), newNode("c")},
			pods:  []*v1.Pod{newPod("1", on("a"), app("web"))},
			pod:   newPod("p", app("web"), requests("2", ""), spread(v1.LabelTopologyZone, 1, v1.DoNotSchedule)),
			want:  "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match pod topology spread constraints, 1 node(s) didn't match pod topology spread constraints (missing required label).",
		},
		"soft spread": {
			nodes: []*v1.Node{newNode("a", zone("east")), newNode("b", zone("west"))},
			pods:  []*v1.Pod{newPod("1", on("a"), app("web")), newPod("2", on("b"), app("other"))},
			pod:   newPod("p", app("web"), spread(v1.LabelTopologyZone, 1, v1.ScheduleAnyway)), want: "b",
		},
		"claim that is not there": {
			nodes: []*v1.Node{newNode("a")}, pod: newPod("p", mounts("data")),
			want: `0/1 nodes are available: persistentvolumeclaim "data" not found.`,
		},
		"resource claims": {
			nodes: []*v1.Node{newNode("a")}, pod: newPod("p", func(p *v1.Pod) { p.Spec.ResourceClaims = []v1.PodResourceClaim{{Name: "gpu"}} }),
			want: "0/1 nodes are available: dynamic resource allocation is not supported.",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := newBench(tc.nodes, tc.pods...).decide(tc.pod); got != tc.want {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
		})
	}
}

func onlyNode(name string) podOption {
	return func(p *v1.Pod) {
		p.Spec.Affinity = &v1.Affinity{NodeAffinity: &v1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &v1.NodeSelector{
			NodeSelectorTerms: []v1.NodeSelectorTerm{{MatchFields: []v1.NodeSelectorRequirement{{Key: "metadata.name", Operator: v1.NodeSelectorOpIn, Values: []string{name}}}}},
		}}}
	}
}

func TestEveryRejectionOfANodeIsKept(t *testing.T) {
	b := newBench([]*v1.Node{newNode("a", cordoned, taint("x", v1.TaintEffectNoSchedule), capacity("1", "1Gi", 1))})
	result, err := b.decider.decide(b.profile, compiled(newPod("p", requests("2", ""))), b.cluster.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	var plugins []string
	for _, status := range result.diagnosis.Rejected[0].Statuses {
		plugins = append(plugins, status.Plugin)
	}
	if got := fmt.Sprint(plugins); got != "[NodeUnschedulable TaintToleration NodeResourcesFit]" {
		t.Errorf("rejected by %s", got)
	}
}

func TestEquallyGoodNodesAllGetTheirTurn(t *testing.T) {
	b := newBench(manyNodes(5))
	seen := map[string]bool{}
	for range 500 {
		seen[b.decide(newPod("p"))] = true
	}
	if len(seen) != 5 {
		t.Errorf("500 decisions among 5 equal nodes chose only %v", seen)
	}
}

func TestPromisedRoomIsKeptFromOthers(t *testing.T) {
	b := newBench([]*v1.Node{newNode("a", capacity("1", "8Gi", 10))})
	vip := compiled(newPod("vip", priority(10), requests("1", "")))
	b.decider.nominated.Set(vip, "a")
	if got := b.decide(newPod("p", requests("500m", ""))); got != "0/1 nodes are available: 1 Insufficient cpu." {
		t.Errorf("a lower pod got %q", got)
	}
	if got := b.decide(vip.Pod); got != "a" {
		t.Errorf("the promised pod got %q", got)
	}
	if got := b.decide(newPod("higher", priority(11), requests("500m", ""))); got != "a" {
		t.Errorf("a higher pod got %q", got)
	}
}
