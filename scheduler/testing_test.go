package scheduler

import (
	"fmt"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	schedconfig "k8s.io/kube-scheduler/config/v1"

	"github.com/yare-io/yare/scheduler/framework"
	"github.com/yare-io/yare/scheduler/plugins"
	"github.com/yare-io/yare/scheduler/state"
)

func quantities(cpu, memory string) v1.ResourceList {
	list := v1.ResourceList{}
	if cpu != "" {
		list[v1.ResourceCPU] = resource.MustParse(cpu)
	}
	if memory != "" {
		list[v1.ResourceMemory] = resource.MustParse(memory)
	}
	return list
}

type nodeOption func(*v1.Node)

func newNode(name string, options ...nodeOption) *v1.Node {
	node := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("node-" + name), Labels: map[string]string{v1.LabelHostname: name}}}
	node.Status.Allocatable = quantities("4", "8Gi")
	node.Status.Allocatable[v1.ResourcePods] = resource.MustParse("110")
	for _, option := range options {
		option(node)
	}
	return node
}

func capacity(cpu, memory string, pods int) nodeOption {
	return func(n *v1.Node) {
		n.Status.Allocatable = quantities(cpu, memory)
		n.Status.Allocatable[v1.ResourcePods] = *resource.NewQuantity(int64(pods), resource.DecimalSI)
	}
}

func label(key, value string) nodeOption { return func(n *v1.Node) { n.Labels[key] = value } }

func taint(key string, effect v1.TaintEffect) nodeOption {
	return func(n *v1.Node) { n.Spec.Taints = append(n.Spec.Taints, v1.Taint{Key: key, Effect: effect}) }
}

func cordoned(n *v1.Node) { n.Spec.Unschedulable = true }

type podOption func(*v1.Pod)

func newPod(name string, options ...podOption) *v1.Pod {
	pod := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID("pod-" + name), Labels: map[string]string{}},
		Spec:       v1.PodSpec{SchedulerName: DefaultSchedulerName, Containers: []v1.Container{{Name: "c", Image: "image"}}},
	}
	for _, option := range options {
		option(pod)
	}
	return pod
}

func requests(cpu, memory string) podOption {
	return func(p *v1.Pod) { p.Spec.Containers[0].Resources.Requests = quantities(cpu, memory) }
}

func hostPort(port int32) podOption {
	return func(p *v1.Pod) {
		p.Spec.Containers[0].Ports = append(p.Spec.Containers[0].Ports, v1.ContainerPort{HostPort: port, ContainerPort: port, Protocol: v1.ProtocolTCP})
	}
}

func nodeSelector(key, value string) podOption {
	return func(p *v1.Pod) { p.Spec.NodeSelector = map[string]string{key: value} }
}

func tolerates(key string) podOption {
	return func(p *v1.Pod) {
		p.Spec.Tolerations = append(p.Spec.Tolerations, v1.Toleration{Key: key, Operator: v1.TolerationOpExists})
	}
}

func on(node string) podOption { return func(p *v1.Pod) { p.Spec.NodeName = node } }

func labeled(key, value string) podOption { return func(p *v1.Pod) { p.Labels[key] = value } }

func zone(name string) nodeOption { return label(v1.LabelTopologyZone, name) }

// term selects pods with app=name, within one domain of key.
func term(app, key string) v1.PodAffinityTerm {
	return v1.PodAffinityTerm{LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}, TopologyKey: key}
}

func near(terms ...v1.PodAffinityTerm) podOption {
	return func(p *v1.Pod) {
		setAffinity(p).PodAffinity = &v1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: terms}
	}
}

func away(terms ...v1.PodAffinityTerm) podOption {
	return func(p *v1.Pod) {
		setAffinity(p).PodAntiAffinity = &v1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: terms}
	}
}

func preferNear(weight int32, t v1.PodAffinityTerm) podOption {
	return func(p *v1.Pod) {
		setAffinity(p).PodAffinity = &v1.PodAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []v1.WeightedPodAffinityTerm{{Weight: weight, PodAffinityTerm: t}}}
	}
}

func setAffinity(p *v1.Pod) *v1.Affinity {
	if p.Spec.Affinity == nil {
		p.Spec.Affinity = &v1.Affinity{}
	}
	return p.Spec.Affinity
}

func app(name string) podOption { return labeled("app", name) }

func spread(key string, maxSkew int32, when v1.UnsatisfiableConstraintAction) podOption {
	return func(p *v1.Pod) {
		p.Spec.TopologySpreadConstraints = append(p.Spec.TopologySpreadConstraints, v1.TopologySpreadConstraint{TopologyKey: key, MaxSkew: maxSkew, WhenUnsatisfiable: when,
			LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": p.Labels["app"]}}})
	}
}

func mounts(claim string) podOption {
	return func(p *v1.Pod) {
		p.Spec.Volumes = append(p.Spec.Volumes, v1.Volume{Name: claim, VolumeSource: v1.VolumeSource{PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: claim}}})
	}
}

func priority(value int32) podOption { return func(p *v1.Pod) { p.Spec.Priority = &value } }

func compiled(pod *v1.Pod) *framework.PodInfo {
	info, err := framework.NewPodInfo(pod)
	if err != nil {
		panic(err)
	}
	return info
}

// bench is a scheduler without an API: a cluster and a decider.
type bench struct {
	cluster *state.Cluster
	decider *decider
	profile *profile
}

func newBench(nodes []*v1.Node, pods ...*v1.Pod) *bench {
	return newBenchWith(emptySources(nil), nodes, pods...)
}

func newBenchWith(sources plugins.Sources, nodes []*v1.Node, pods ...*v1.Pod) *bench {
	profiles, err := newProfiles(&schedconfig.KubeSchedulerConfiguration{}, plugins.Builtin(), sources)
	if err != nil {
		panic(err)
	}
	b := &bench{cluster: state.NewCluster(), decider: newDecider(state.NewNominated()), profile: profiles[DefaultSchedulerName]}
	for _, node := range nodes {
		b.cluster.SetNode(node)
	}
	for _, pod := range pods {
		if err := b.cluster.SetPod(pod); err != nil {
			panic(err)
		}
	}
	return b
}

// decide returns the node chosen, or the message that the user would read.
func (b *bench) decide(pod *v1.Pod) string {
	result, err := b.decider.decide(b.profile, compiled(pod), b.cluster.Snapshot())
	switch {
	case err != nil:
		return "error: " + err.Error()
	case result.diagnosis != nil:
		return result.diagnosis.Message()
	}
	return result.node
}

// place decides and assumes; it returns what decide does.
func (b *bench) place(pod *v1.Pod) string {
	node := b.decide(pod)
	if b.cluster.Snapshot().Node(node) != nil {
		if err := b.cluster.Assume(compiled(pod), node); err != nil {
			panic(err)
		}
	}
	return node
}

func manyNodes(n int, options ...nodeOption) []*v1.Node {
	nodes := make([]*v1.Node, n)
	for i := range nodes {
		nodes[i] = newNode(fmt.Sprintf("node-%04d", i), options...)
	}
	return nodes
}
