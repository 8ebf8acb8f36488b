package plugins

import (
	"slices"

	v1 "k8s.io/api/core/v1"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/yare-io/yare/scheduler/framework"
)

const volumeRestrictionsName = "VolumeRestrictions"

// VolumeRestrictions keeps claims with the access mode ReadWriteOncePod to one
// pod in the whole cluster.
type VolumeRestrictions struct {
	Claims corelisters.PersistentVolumeClaimLister
}

var claimInUse = framework.Reject(volumeRestrictionsName, "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode")

// Name returns the plugin's name in configurations.
func (VolumeRestrictions) Name() string { return volumeRestrictionsName }

// Scope says that answers depend on other nodes.
func (VolumeRestrictions) Scope() framework.Scope { return framework.ClusterScope }

// PrepareFilter implements framework.FilterPlugin.
func (p VolumeRestrictions) PrepareFilter(pod *framework.PodInfo, snapshot *framework.Snapshot) (framework.NodeFilter, *framework.Status) {
	for _, name := range framework.ClaimNames(pod.Pod) {
		claim, err := p.Claims.PersistentVolumeClaims(pod.Pod.Namespace).Get(name)
		if err != nil || !slices.Contains(claim.Spec.AccessModes, v1.ReadWriteOncePod) {
			continue
		}
		key := pod.Pod.Namespace + "/" + name
		if slices.ContainsFunc(snapshot.Nodes, func(n *framework.NodeInfo) bool { return n.UsesClaim(key) }) {
			return rejectAll{claimInUse}, nil
		}
	}
	return nil, nil
}

// Wakes implements framework.Requeuer.
func (VolumeRestrictions) Wakes() []framework.Wake {
	return []framework.Wake{{On: framework.AssignedPodDelete | framework.ClaimChange | framework.NodeAdd}}
}

// rejectAll rejects node by node, so that preemption may try each.
type rejectAll struct{ status *framework.Status }

func (r rejectAll) Filter(*framework.NodeInfo) *framework.Status { return r.status }
