package plugins

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	corev1helpers "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/storage/volume"
	config "k8s.io/kube-scheduler/config/v1"

	"github.com/yare-io/yare/scheduler/framework"
)

const volumeBindingName = "VolumeBinding"

// VolumeBinding places pods where their claims' volumes can be reached, and
// asks for volumes that are to be made where the first pod that uses them is.
// Claims that wait for a consumer are provisioned; choosing among existing
// volumes for them is not done.
type VolumeBinding struct {
	sources Sources
	timeout time.Duration
}

var (
	unboundImmediate = framework.RejectForGood(volumeBindingName, "pod has unbound immediate PersistentVolumeClaims")
	volumeElsewhere  = framework.RejectForGood(volumeBindingName, "node(s) didn't match PersistentVolume's node affinity")
	volumeMissing    = framework.RejectForGood(volumeBindingName, "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)")
	nothingToBind    = framework.RejectForGood(volumeBindingName, "node(s) didn't find available persistent volumes to bind")
)

// NewVolumeBinding reads how long to wait for volumes to be made, 10 min by default.
func NewVolumeBinding(sources Sources, args *config.VolumeBindingArgs) (*VolumeBinding, error) {
	p := &VolumeBinding{sources: sources, timeout: 10 * time.Minute}
	if args == nil {
		return p, nil
	}
	if len(args.Shape) > 0 {
		return nil, fmt.Errorf("shape: scoring nodes by storage capacity is not supported")
	}
	if args.BindTimeoutSeconds != nil {
		p.timeout = time.Duration(*args.BindTimeoutSeconds) * time.Second
	}
	if p.timeout < 0 {
		return nil, fmt.Errorf("bindTimeoutSeconds %v must not be negative", p.timeout.Seconds())
	}
	return p, nil
}

// Name returns the plugin's name in configurations.
func (*VolumeBinding) Name() string { return volumeBindingName }

// Scope says that answers depend on claims and volumes.
func (*VolumeBinding) Scope() framework.Scope { return framework.ClusterScope }

// PrepareFilter implements framework.FilterPlugin.
func (p *VolumeBinding) PrepareFilter(pod *framework.PodInfo, _ *framework.Snapshot) (framework.NodeFilter, *framework.Status) {
	names := framework.ClaimNames(pod.Pod)
	if len(names) == 0 {
		return nil, nil
	}
	f := &volumeFilter{}
	for _, name := range names {
		claim, status := p.claim(pod.Pod, name)
		if !status.OK() {
			return nil, status
		}
		if status := p.addClaim(f, claim); !status.OK() {
			return nil, status
		}
	}
	return f, nil
}

// claim returns the pod's claim, or why the pod must wait for it.
func (p *VolumeBinding) claim(pod *v1.Pod, name string) (*v1.PersistentVolumeClaim, *framework.Status) {
	claim, err := p.sources.Claims.PersistentVolumeClaims(pod.Namespace).Get(name)
	if err != nil {
		if ephemeral(pod, name) {
			return nil, framework.RejectForGood(volumeBindingName, fmt.Sprintf("waiting for ephemeral volume controller to create the persistentvolumeclaim %q", name))
		}
		return nil, framework.RejectForGood(volumeBindingName, fmt.Sprintf("persistentvolumeclaim %q not found", name))
	}
	switch {
	case claim.Status.Phase == v1.ClaimLost:
		return nil, framework.RejectForGood(volumeBindingName, fmt.Sprintf("persistentvolumeclaim %q bound to non-existent persistentvolume %q", name, claim.Spec.VolumeName))
	case claim.DeletionTimestamp != nil:
		return nil, framework.RejectForGood(volumeBindingName, fmt.Sprintf("persistentvolumeclaim %q is being deleted", name))
	case ephemeral(pod, name) && !metav1.IsControlledBy(claim, pod):
		return nil, framework.RejectForGood(volumeBindingName, fmt.Sprintf("PVC %q was not created for pod %q", name, pod.Name))
	}
	return claim, nil
}

func ephemeral(pod *v1.Pod, claim string) bool {
	for i := range pod.Spec.Volumes {
		if v := &pod.Spec.Volumes[i]; v.Ephemeral != nil && pod.Name+"-"+v.Name == claim {
			return true
		}
	}
	return false
}

// addClaim notes what the claim asks of a node.
func (p *VolumeBinding) addClaim(f *volumeFilter, claim *v1.PersistentVolumeClaim) *framework.Status {
	if bound(claim) {
		pv, err := p.sources.Volumes.Get(claim.Spec.VolumeName)
		if err != nil {
			f.missing = true
			return nil
		}
		f.volumes = append(f.volumes, pv)
		return nil
	}
	class := p.waitingClass(claim)
	if class == nil {
		return unboundImmediate
	}
	f.classes = append(f.classes, class)
	return nil
}

func bound(claim *v1.PersistentVolumeClaim) bool {
	_, done := claim.Annotations[volume.AnnBindCompleted]
	return claim.Spec.VolumeName != "" && (done || claim.Status.Phase == v1.ClaimBound)
}

// waitingClass returns the claim's class if it makes volumes for the first consumer.
func (p *VolumeBinding) waitingClass(claim *v1.PersistentVolumeClaim) *storagev1.StorageClass {
	if claim.Spec.StorageClassName == nil || claim.Spec.VolumeName != "" {
		return nil
	}
	class, err := p.sources.StorageClasses.Get(*claim.Spec.StorageClassName)
	if err != nil || class.VolumeBindingMode == nil || *class.VolumeBindingMode != storagev1.VolumeBindingWaitForFirstConsumer {
		return nil
	}
	return class
}

type volumeFilter struct {
	volumes []*v1.PersistentVolume
	classes []*storagev1.StorageClass
	missing bool
}

func (f *volumeFilter) Filter(node *framework.NodeInfo) *framework.Status {
	if f.missing {
		return volumeMissing
	}
	for _, pv := range f.volumes {
		if affinity := pv.Spec.NodeAffinity; affinity != nil && affinity.Required != nil {
			if matches, _ := corev1helpers.MatchNodeSelectorTerms(node.Node, affinity.Required); !matches {
				return volumeElsewhere
			}
		}
	}
	for _, class := range f.classes {
		if class.Provisioner == volume.NotSupportedProvisioner || !topologyAllowed(class, node.Node) {
			return nothingToBind
		}
	}
	return nil
}

func topologyAllowed(class *storagev1.StorageClass, node *v1.Node) bool {
	if len(class.AllowedTopologies) == 0 {
		return true
	}
	selector := &v1.NodeSelector{}
	for _, term := range class.AllowedTopologies {
		var requirements []v1.NodeSelectorRequirement
		for _, e := range term.MatchLabelExpressions {
			requirements = append(requirements, v1.NodeSelectorRequirement{Key: e.Key, Operator: v1.NodeSelectorOpIn, Values: e.Values})
		}
		selector.NodeSelectorTerms = append(selector.NodeSelectorTerms, v1.NodeSelectorTerm{MatchExpressions: requirements})
	}
	matches, _ := corev1helpers.MatchNodeSelectorTerms(node, selector)
	return matches
}

// PreBind implements framework.PreBinder: it tells the provisioner the node,
// and waits for the volumes.
func (p *VolumeBinding) PreBind(ctx context.Context, pod *v1.Pod, node string) *framework.Status {
	var waiting []string
	for _, name := range framework.ClaimNames(pod) {
		claim, status := p.claim(pod, name)
		if !status.OK() {
			return status
		}
		if bound(claim) {
			continue
		}
		waiting = append(waiting, name)
		if err := p.selectNode(ctx, claim, node); err != nil {
			return framework.Fail(volumeBindingName, err)
		}
	}
	if len(waiting) == 0 {
		return nil
	}
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, p.timeout, true, func(context.Context) (bool, error) {
		for _, name := range waiting {
			claim, status := p.claim(pod, name)
			if !status.OK() {
				return false, fmt.Errorf("%s", status.Message())
			}
			if !bound(claim) {
				return false, nil
			}
		}
		return true, nil
	})
	if err != nil {
		return framework.Fail(volumeBindingName, fmt.Errorf("binding volumes: %w", err))
	}
	return nil
}

func (p *VolumeBinding) selectNode(ctx context.Context, claim *v1.PersistentVolumeClaim, node string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": claim.UID, "annotations": map[string]string{volume.AnnSelectedNode: node}}})
	if err != nil {
		return fmt.Errorf("select node for claim: %w", err)
	}
	_, err = p.sources.Client.CoreV1().PersistentVolumeClaims(claim.Namespace).Patch(ctx, claim.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

// Wakes implements framework.Requeuer.
func (*VolumeBinding) Wakes() []framework.Wake {
	ownClaim := func(pod *v1.Pod, _, newObj any) bool {
		claim, ok := newObj.(*v1.PersistentVolumeClaim)
		if !ok || claim.Namespace != pod.Namespace {
			return false
		}
		for _, name := range framework.ClaimNames(pod) {
			if name == claim.Name {
				return true
			}
		}
		return false
	}
	return []framework.Wake{
		{On: framework.ClaimChange, Hint: ownClaim},
		{On: framework.VolumeChange | framework.StorageClassChange | framework.CSINodeChange | framework.NodeAdd | framework.NodeLabels},
	}
}
