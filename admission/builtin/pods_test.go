package builtin_test

import (
	"maps"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/builtin"
)

func podOf(a *admission.Attributes) *corev1.Pod { return a.Object.(*corev1.Pod) }

func asUpdate(a *admission.Attributes, old *corev1.Pod) *admission.Attributes {
	a.Operation, a.OldObject = admission.Update, old
	return a
}

func TestDefaultTolerationSeconds(t *testing.T) {
	w := setup{plugin: "DefaultTolerationSeconds", change: func(d *builtin.Deps) {
		d.Config.TolerationSeconds.Unreachable = ptr.To[int64](7)
	}}.build(t)
	a := newPod()
	w.pass(a)
	seconds := map[string]int64{}
	for _, t := range podOf(a).Spec.Tolerations {
		seconds[t.Key] = *t.TolerationSeconds
	}
	if !maps.Equal(seconds, map[string]int64{corev1.TaintNodeNotReady: 300, corev1.TaintNodeUnreachable: 7}) {
		t.Errorf("got %v", seconds)
	}
	w.pass(asUpdate(a, pod()))
	if len(podOf(a).Spec.Tolerations) != 2 {
		t.Errorf("a second pass added more: %v", podOf(a).Spec.Tolerations)
	}
	all := newPod(func(p *corev1.Pod) { p.Spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}} })
	w.pass(all)
	if len(podOf(all).Spec.Tolerations) != 1 {
		t.Errorf("a pod that tolerates all got %v", podOf(all).Spec.Tolerations)
	}
}

func class(name string, value int32, change ...func(*schedulingv1.PriorityClass)) *schedulingv1.PriorityClass {
	c := &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Value: value}
	for _, f := range change {
		f(c)
	}
	return c
}

func TestPriority(t *testing.T) {
	global := func(c *schedulingv1.PriorityClass) { c.GlobalDefault = true }
	never := func(c *schedulingv1.PriorityClass) { c.PreemptionPolicy = ptr.To(corev1.PreemptNever) }
	w := setup{plugin: "Priority", objects: objects(class("low", 10, global), class("high", 1000, never))}.build(t)
	for name, test := range map[string]struct {
		class    string
		want     int32
		wantName string
		policy   corev1.PreemptionPolicy
	}{
		"default class":  {"", 10, "low", corev1.PreemptLowerPriority},
		"named class":    {"high", 1000, "high", corev1.PreemptNever},
		"built-in class": {"system-node-critical", 2000001000, "system-node-critical", corev1.PreemptLowerPriority},
	} {
		t.Run(name, func(t *testing.T) {
			a := newPod(func(p *corev1.Pod) { p.Spec.PriorityClassName = test.class })
			w.pass(a)
			spec := podOf(a).Spec
			if *spec.Priority != test.want || spec.PriorityClassName != test.wantName || *spec.PreemptionPolicy != test.policy {
				t.Errorf("got %d %q %s", *spec.Priority, spec.PriorityClassName, *spec.PreemptionPolicy)
			}
		})
	}
	w.refuse(newPod(func(p *corev1.Pod) { p.Spec.PriorityClassName = "none" }), `pods "web" is forbidden: no PriorityClass with name none was found`)
	w.refuse(newPod(func(p *corev1.Pod) { p.Spec.Priority = ptr.To[int32](5) }), "the integer value of priority (5) must not be provided in pod spec; priority admission controller computed 10")
	w.refuse(newPod(func(p *corev1.Pod) { p.Spec.PreemptionPolicy = ptr.To(corev1.PreemptNever) }), "the string value of PreemptionPolicy (Never) must not be provided")
	classes := schedulingv1.SchemeGroupVersion.WithResource("priorityclasses")
	w.refuse(request(class("other", 1, global), classes), "PriorityClass low is already marked as default. Only one default can exist")
	w.pass(request(class("other", 1), classes))
	w.pass(request(class("low", 10, global), classes))
	update := asUpdate(newPod(), pod(func(p *corev1.Pod) { p.Spec.Priority = ptr.To[int32](3) }))
	w.pass(update)
	if *podOf(update).Spec.Priority != 3 {
		t.Error("an update lost the priority")
	}
}

func TestPriorityWithoutADefaultClassIsZero(t *testing.T) {
	w := setup{plugin: "Priority"}.build(t)
	a := newPod()
	w.pass(a)
	if *podOf(a).Spec.Priority != 0 || podOf(a).Spec.PriorityClassName != "" {
		t.Errorf("got %d %q", *podOf(a).Spec.Priority, podOf(a).Spec.PriorityClassName)
	}
}

func TestAlwaysPullImages(t *testing.T) {
	w := setup{plugin: "AlwaysPullImages"}.build(t)
	a := newPod(func(p *corev1.Pod) {
		p.Spec.Containers[0].ImagePullPolicy = corev1.PullNever
		p.Spec.InitContainers = []corev1.Container{{ImagePullPolicy: corev1.PullIfNotPresent}}
		p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{}}
	})
	w.pass(a)
	spec := podOf(a).Spec
	if spec.Containers[0].ImagePullPolicy != corev1.PullAlways || spec.InitContainers[0].ImagePullPolicy != corev1.PullAlways || spec.EphemeralContainers[0].ImagePullPolicy != corev1.PullAlways {
		t.Errorf("got %+v", spec)
	}
	a.Subresource = "ephemeralcontainers"
	asUpdate(a, pod())
	podOf(a).Spec.EphemeralContainers[0].ImagePullPolicy = corev1.PullNever
	if err := w.chain.Validate(t.Context(), a); err == nil {
		t.Error("a policy set back was taken")
	}
}

func TestPodNodeSelector(t *testing.T) {
	w := setup{
		plugin: "PodNodeSelector",
		objects: objects(namespace("team", map[string]string{"scheduler.alpha.kubernetes.io/node-selector": "env=prod, disk=ssd"}),
			namespace("plain", nil)),
		change: func(d *builtin.Deps) {
			d.Config.NodeSelectors = builtin.NodeSelectors{ClusterDefault: "pool=any", Namespaces: map[string]string{"team": "env=prod,disk=ssd,zone=a"}}
		},
	}.build(t)
	with := func(namespace string, selector map[string]string) *admission.Attributes {
		return newPod(func(p *corev1.Pod) { p.Namespace, p.Spec.NodeSelector = namespace, selector })
	}
	a := with("team", map[string]string{"zone": "a"})
	w.pass(a)
	if !maps.Equal(podOf(a).Spec.NodeSelector, map[string]string{"env": "prod", "disk": "ssd", "zone": "a"}) {
		t.Errorf("got %v", podOf(a).Spec.NodeSelector)
	}
	plain := with("plain", nil)
	w.pass(plain)
	if !maps.Equal(podOf(plain).Spec.NodeSelector, map[string]string{"pool": "any"}) {
		t.Errorf("got %v", podOf(plain).Spec.NodeSelector)
	}
	w.refuse(with("team", map[string]string{"env": "test"}), "pod node label selector conflicts with its namespace node label selector")
	w.refuse(with("team", map[string]string{"gpu": "yes"}), "pod node label selector labels conflict with its namespace whitelist")
}

func TestPodTolerationRestriction(t *testing.T) {
	w := setup{plugin: "PodTolerationRestriction", objects: objects(namespace("team", map[string]string{
		"scheduler.alpha.kubernetes.io/defaultTolerations":   `[{"key":"team","operator":"Exists"}]`,
		"scheduler.alpha.kubernetes.io/tolerationsWhitelist": `[{"key":"team","operator":"Exists"},{"key":"node.kubernetes.io/memory-pressure","operator":"Exists"},{"key":"slow","value":"a","effect":"NoExecute","tolerationSeconds":60}]`,
	}), namespace("broken", map[string]string{"scheduler.alpha.kubernetes.io/defaultTolerations": "{"}))}.build(t)
	a := newPod(func(p *corev1.Pod) {
		p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Mi")}
	})
	w.pass(a)
	var keys []string
	for _, toleration := range podOf(a).Spec.Tolerations {
		keys = append(keys, toleration.Key)
	}
	if !slices.Equal(keys, []string{"team", corev1.TaintNodeMemoryPressure}) {
		t.Errorf("got %v", keys)
	}
	tolerating := func(toleration corev1.Toleration) *admission.Attributes {
		return newPod(func(p *corev1.Pod) { p.Spec.Tolerations = []corev1.Toleration{toleration} })
	}
	const refused = "pod tolerations (possibly merged with namespace default tolerations) conflict with its namespace whitelist"
	slow := corev1.Toleration{Key: "slow", Value: "a", Effect: corev1.TaintEffectNoExecute, TolerationSeconds: ptr.To[int64](30)}
	w.pass(tolerating(slow))
	slow.TolerationSeconds = ptr.To[int64](90)
	w.refuse(tolerating(slow), refused)
	w.refuse(tolerating(corev1.Toleration{Key: "slow", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute}), refused)
	w.refuse(tolerating(corev1.Toleration{Operator: corev1.TolerationOpExists}), refused)
	w.refuse(newPod(func(p *corev1.Pod) { p.Namespace = "broken" }), "annotation")
}

func TestExtendedResourceToleration(t *testing.T) {
	w := setup{plugin: "ExtendedResourceToleration"}.build(t)
	a := newPod(func(p *corev1.Pod) {
		one := resource.MustParse("1")
		p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{"cpu": one, "example.com/gpu": one, "hugepages-2Mi": one, "kubernetes.io/x": one, "acme.org/fpga": one}
	})
	w.pass(a)
	want := []corev1.Toleration{{Key: "acme.org/fpga", Operator: corev1.TolerationOpExists}, {Key: "example.com/gpu", Operator: corev1.TolerationOpExists}}
	if !slices.EqualFunc(podOf(a).Spec.Tolerations, want, func(x, y corev1.Toleration) bool { return x == y }) {
		t.Errorf("got %v", podOf(a).Spec.Tolerations)
	}
}

func TestRuntimeClass(t *testing.T) {
	overhead := corev1.ResourceList{"memory": resource.MustParse("64Mi")}
	w := setup{plugin: "RuntimeClass", objects: objects(
		&nodev1.RuntimeClass{
			ObjectMeta: metav1.ObjectMeta{Name: "vm"}, Overhead: &nodev1.Overhead{PodFixed: overhead},
			Scheduling: &nodev1.Scheduling{NodeSelector: map[string]string{"kvm": "yes"}, Tolerations: []corev1.Toleration{{Key: "kvm"}}},
		},
	)}.build(t)
	in := func(name string, change ...func(*corev1.Pod)) *admission.Attributes {
		return newPod(append(change, func(p *corev1.Pod) { p.Spec.RuntimeClassName = &name })...)
	}
	a := in("vm")
	w.pass(a)
	spec := podOf(a).Spec
	if !spec.Overhead.Memory().Equal(overhead["memory"]) || spec.NodeSelector["kvm"] != "yes" || len(spec.Tolerations) != 1 {
		t.Errorf("got %+v", spec)
	}
	w.pass(newPod())
	w.refuse(in("none"), `pod rejected: RuntimeClass "none" not found`)
	w.refuse(in("vm", func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"kvm": "no"} }), "conflict: runtimeClass.scheduling.nodeSelector[kvm] = yes; pod.spec.nodeSelector[kvm] = no")
	w.refuse(in("vm", func(p *corev1.Pod) { p.Spec.Overhead = corev1.ResourceList{"memory": resource.MustParse("1Mi")} }), "Overhead doesn't match")
	w.refuse(newPod(func(p *corev1.Pod) { p.Spec.Overhead = overhead }), "Overhead set without corresponding RuntimeClass")
}

func TestPodTopologyLabels(t *testing.T) {
	labels := map[string]string{"topology.kubernetes.io/zone": "a", "topology.kubernetes.io/region": "r", "other": "x"}
	w := setup{plugin: "PodTopologyLabels", objects: objects(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: labels}})}.build(t)
	binding := &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "web"}, Target: corev1.ObjectReference{Name: "n1"}}
	a := request(binding, core("pods"))
	a.Subresource = "binding"
	w.pass(a)
	if !maps.Equal(binding.Labels, map[string]string{"topology.kubernetes.io/zone": "a", "topology.kubernetes.io/region": "r"}) {
		t.Errorf("got %v", binding.Labels)
	}
	for _, name := range []string{"", "gone"} {
		b := newPod(func(p *corev1.Pod) { p.Spec.NodeName = name })
		w.pass(b)
		if len(podOf(b).Labels) != 0 {
			t.Errorf("node %q gave %v", name, podOf(b).Labels)
		}
	}
}

func TestPodSecurity(t *testing.T) {
	strict := namespace("team", nil)
	strict.Labels = map[string]string{"pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/warn": "restricted"}
	w := setup{plugin: "PodSecurity", objects: objects(strict, namespace("free", nil))}.build(t)
	privileged := func(p *corev1.Pod) {
		p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: ptr.To(true)}
	}
	w.refuse(newPod(privileged), `pods "web" is forbidden: violates PodSecurity "baseline:latest": privileged (container "c" must not set securityContext.privileged=true)`)
	w.pass(newPod(privileged, func(p *corev1.Pod) { p.Namespace = "free" }))
	plain := newPod()
	w.pass(plain)
	if len(plain.Warnings()) != 1 {
		t.Errorf("warnings: %v", plain.Warnings())
	}
	bad := namespace("x", nil)
	bad.Labels = map[string]string{"pod-security.kubernetes.io/enforce": "magic"}
	w.refuse(request(bad, core("namespaces")), "must be one of privileged, baseline, restricted")
	// CVE-2023-2727: containers that come later are held to the same standard.
	later := newPod(func(p *corev1.Pod) {
		p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{
			Name: "d", SecurityContext: &corev1.SecurityContext{Privileged: ptr.To(true)},
		}}}
	})
	later.Subresource = "ephemeralcontainers"
	w.refuse(asUpdate(later, pod()), "violates PodSecurity")
}
