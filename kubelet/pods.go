package kubelet

import (
	"context"
	"fmt"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/yare-io/yare/kubelet/admission"
	"github.com/yare-io/yare/kubelet/cgroup"
	"github.com/yare-io/yare/kubelet/downward"
	"github.com/yare-io/yare/kubelet/env"
	"github.com/yare-io/yare/kubelet/eviction"
	"github.com/yare-io/yare/kubelet/objects"
	"github.com/yare-io/yare/kubelet/podworker"
	"github.com/yare-io/yare/kubelet/qos"
	"github.com/yare-io/yare/kubelet/status"
)

// environment is what a pod's environment is made from, but for its own addresses.
func (k *Kubelet) environment(pod *v1.Pod) *env.Source {
	links := pod.Spec.EnableServiceLinks == nil || *pod.Spec.EnableServiceLinks
	return &env.Source{
		Pod: pod, Addresses: downward.Addresses{HostIPs: k.config.NodeIPs}, Allocatable: k.allocatable,
		Services: env.Services(k.sources.servicesFor(pod.Namespace), pod.Namespace, links), Objects: k.objects,
	}
}

func (k *Kubelet) admit(pod *v1.Pod, others []*v1.Pod) *status.Verdict {
	self := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: k.config.NodeName, Labels: k.labels()}}
	if registered := k.node.Node(); registered != nil {
		self = registered.DeepCopy()
	}
	self.Status.Allocatable = k.allocatable
	if why := eviction.Refusal(pod, qos.Of(pod), k.evictor.current()); why != "" {
		return &status.Verdict{Reason: "Evicted", Message: why}
	}
	return admission.Check(pod, others, self)
}

// runtimeHandler asks the API server anew for each sandbox: classes are few, and so are the sandboxes that name one.
func (k *Kubelet) runtimeHandler(ctx context.Context, name string) (string, error) {
	class, err := k.config.Client.NodeV1().RuntimeClasses().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("runtime class %q: %w", name, err)
	}
	return class.Handler, nil
}

// tokenReferences forgets a pod's tokens when the pod goes.
type tokenReferences struct{ tokens *objects.Tokens }

func (tokenReferences) Register(*v1.Pod) {}

func (t tokenReferences) Forget(uid types.UID) { t.tokens.Forget(uid) }

// noCgroups leaves control groups to the runtime.
type noCgroups struct{}

func (noCgroups) Prepare(*v1.Pod) (string, error) { return "", nil }
func (noCgroups) Remove(types.UID) error          { return nil }

func cgroupsOf(k *Kubelet) podworker.Cgroups {
	s := &k.config.Settings
	if k.config.WithoutHost || !*s.CgroupsPerQOS {
		return noCgroups{}
	}
	enforce := false
	for _, what := range s.EnforceNodeAllocatable {
		enforce = enforce || what == "pods"
	}
	k.cgroups = cgroup.New(cgroup.Config{
		Root: s.CgroupRoot, Allocatable: k.allocatable, Enforce: enforce, PodPids: *s.PodPidsLimit,
		CFSQuota: *s.CPUCFSQuota, CFSPeriod: s.CPUCFSQuotaPeriod.Duration, Logger: k.logger,
	})
	return k.cgroups
}
