package scheduler

import (
	"fmt"
	"math/rand/v2"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"pgregory.net/rapid"

	"github.com/yare-io/yare/scheduler/framework"
)

func drawNode(t *rapid.T, name string) *v1.Node {
	node := newNode(name, capacity(fmt.Sprint(rapid.IntRange(1, 4).Draw(t, "cpu")), fmt.Sprintf("%dGi", rapid.IntRange(1, 4).Draw(t, "memory")), rapid.IntRange(1, 6).Draw(t, "pods")),
		label("zone", rapid.SampledFrom([]string{"east", "west"}).Draw(t, "zone")))
	if rapid.IntRange(0, 3).Draw(t, "tainted") == 0 {
		node.Spec.Taints = []v1.Taint{{Key: "dedicated", Effect: v1.TaintEffectNoSchedule}}
	}
	node.Spec.Unschedulable = rapid.IntRange(0, 9).Draw(t, "cordoned") == 0
	return node
}

func drawPod(t *rapid.T, name string) *v1.Pod {
	pod := newPod(name, requests(fmt.Sprintf("%dm", rapid.IntRange(0, 2000).Draw(t, "cpu")), fmt.Sprintf("%dMi", rapid.IntRange(0, 2000).Draw(t, "memory"))))
	if rapid.Bool().Draw(t, "tolerates") {
		tolerates("dedicated")(pod)
	}
	if rapid.IntRange(0, 3).Draw(t, "selects") == 0 {
		nodeSelector("zone", rapid.SampledFrom([]string{"east", "west", "north"}).Draw(t, "zone"))(pod)
	}
	if rapid.IntRange(0, 3).Draw(t, "port") == 0 {
		hostPort(int32(rapid.IntRange(80, 82).Draw(t, "number")))(pod)
	}
	return pod
}

// naiveFits says from the objects alone whether the pod can be on the node
// beside the others.
func naiveFits(node *v1.Node, others []*v1.Pod, pod *v1.Pod) bool {
	cpu, memory := resource.Quantity{}, resource.Quantity{}
	ports := map[int32]bool{}
	for _, p := range others {
		cpu.Add(p.Spec.Containers[0].Resources.Requests[v1.ResourceCPU])
		memory.Add(p.Spec.Containers[0].Resources.Requests[v1.ResourceMemory])
		for _, port := range p.Spec.Containers[0].Ports {
			ports[port.HostPort] = true
		}
	}
	c := &pod.Spec.Containers[0]
	asksCPU, asksMemory := c.Resources.Requests[v1.ResourceCPU], c.Resources.Requests[v1.ResourceMemory]
	cpu.Add(asksCPU)
	memory.Add(asksMemory)
	for _, port := range c.Ports {
		if ports[port.HostPort] {
			return false
		}
	}
	for key, value := range pod.Spec.NodeSelector {
		if node.Labels[key] != value {
			return false
		}
	}
	if len(node.Spec.Taints) > 0 && len(pod.Spec.Tolerations) == 0 || node.Spec.Unschedulable {
		return false
	}
	fitsCPU := asksCPU.IsZero() || cpu.Cmp(node.Status.Allocatable[v1.ResourceCPU]) <= 0
	fitsMemory := asksMemory.IsZero() || memory.Cmp(node.Status.Allocatable[v1.ResourceMemory]) <= 0
	return fitsCPU && fitsMemory && int64(len(others)) < node.Status.Allocatable.Pods().Value()
}

// The scheduler places a pod exactly if a naive reading of the objects says
// that some node can take it, and then only on such a node, while nodes and
// pods come, change and go.
func TestPlacesExactlyWhereANaiveReadingAllows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBench(nil)
		nodes := map[string]*v1.Node{}
		placed := map[string]map[string]*v1.Pod{}
		next := 0
		t.Repeat(map[string]func(*rapid.T){
			"set node": func(t *rapid.T) {
				name := fmt.Sprintf("n%d", rapid.IntRange(0, 5).Draw(t, "node"))
				nodes[name] = drawNode(t, name)
				b.cluster.SetNode(nodes[name])
			},
			"remove node": func(t *rapid.T) {
				name := fmt.Sprintf("n%d", rapid.IntRange(0, 5).Draw(t, "node"))
				delete(nodes, name)
				b.cluster.RemoveNode(name)
			},
			"schedule": func(t *rapid.T) {
				next++
				pod := drawPod(t, fmt.Sprintf("p%d", next))
				fits := map[string]bool{}
				for name, node := range nodes {
					fits[name] = naiveFits(node, values(placed[name]), pod)
				}
				checkDecision(t, fits, b.place(pod), pod, placed)
			},
			"remove pod": func(t *rapid.T) {
				for _, pods := range placed {
					for name, pod := range pods {
						b.cluster.RemovePod(pod.UID)
						delete(pods, name)
						return
					}
				}
			},
		})
	})
}

func checkDecision(t *rapid.T, fits map[string]bool, chosen string, pod *v1.Pod, placed map[string]map[string]*v1.Pod) {
	if fit, known := fits[chosen]; known {
		if !fit {
			t.Fatalf("pod placed on %s, which cannot take it", chosen)
		}
		if placed[chosen] == nil {
			placed[chosen] = map[string]*v1.Pod{}
		}
		placed[chosen][pod.Name] = pod
		return
	}
	for name, fit := range fits {
		if fit {
			t.Fatalf("%s could take the pod, but: %s", name, chosen)
		}
	}
}

func values[K comparable, V any](m map[K]V) []V {
	out := make([]V, 0, len(m))
	for _, v := range m {
		out = append(out, v)
	}
	return out
}

// What a class remembers is what it would compute anew.
func TestClassRowsAreNeverStale(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBench(nil)
		pod := compiled(drawPod(t, "class"))
		next := 0
		t.Repeat(map[string]func(*rapid.T){
			"set node": func(t *rapid.T) {
				b.cluster.SetNode(drawNode(t, fmt.Sprintf("n%d", rapid.IntRange(0, 5).Draw(t, "node"))))
			},
			"remove node": func(t *rapid.T) { b.cluster.RemoveNode(fmt.Sprintf("n%d", rapid.IntRange(0, 5).Draw(t, "node"))) },
			"place": func(t *rapid.T) {
				next++
				b.place(drawPod(t, fmt.Sprintf("p%d", next)))
			},
			"": func(t *rapid.T) {
				snapshot := b.cluster.Snapshot()
				remembered, _ := b.decider.classes.of(b.profile, pod, snapshot)
				fresh, _ := newClasses().of(b.profile, pod, snapshot)
				for slot, node := range snapshot.Nodes {
					if node.Slot != slot || snapshot.Index[node.Name()] != slot {
						t.Fatalf("node %s in slot %d says %d, index %d", node.Name(), slot, node.Slot, snapshot.Index[node.Name()])
					}
					compareRow(t, remembered, fresh, slot)
				}
			},
		})
	})
}

func compareRow(t *rapid.T, remembered, fresh *class, slot int) {
	if got, want := messages(remembered.rejections[slot]), messages(fresh.rejections[slot]); got != want {
		t.Fatalf("slot %d: remembered %q, computed %q", slot, got, want)
	}
	for i := range fresh.scorers {
		if fresh.scorers[i] != nil && fresh.rejections[slot] == nil && remembered.raw[i][slot] != fresh.raw[i][slot] {
			t.Fatalf("slot %d scorer %d: remembered %d, computed %d", slot, i, remembered.raw[i][slot], fresh.raw[i][slot])
		}
	}
}

func messages(statuses []*framework.Status) string {
	out := ""
	for _, s := range statuses {
		out += s.Plugin + ": " + s.Message() + "; "
	}
	return out
}

func BenchmarkPlace1000PodsOn1000Nodes(b *testing.B) {
	for b.Loop() {
		cluster := newBench(manyNodes(1000))
		cluster.decider.pick = rand.New(rand.NewPCG(1, 2)).IntN
		for i := range 1000 {
			cluster.place(newPod(fmt.Sprint(i), requests("100m", "100Mi")))
		}
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "pods/s")
}

// Each pod is of its own class, so that nothing can be reused.
func BenchmarkPlaceDifferentPodsOn1000Nodes(b *testing.B) {
	cluster := newBench(manyNodes(1000))
	i := 0
	for b.Loop() {
		i++
		cluster.decide(newPod(fmt.Sprint(i), requests(fmt.Sprintf("%dm", i), "100Mi")))
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pods/s")
}
