package framework

import (
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// NodeInfo is a node with the sums over the pods on it. Inside a Snapshot it is
// immutable; With makes hypothetical ones.
type NodeInfo struct {
	// Node is nil while pods are known for a node that is not.
	Node *v1.Node
	// Slot is the node's place in Snapshot.Nodes.
	Slot int
	// Generation differs between any two states of any node in one process; it
	// is 0 for hypothetical nodes, about which nothing must be remembered.
	Generation int64

	Pods []*PodInfo
	// AffinityPods counts pods with any pod (anti-)affinity term,
	// AntiAffinityPods those with a required anti-affinity term.
	AffinityPods     int
	AntiAffinityPods int

	Allocatable Resources
	AllowedPods int
	// Requested sums PodInfo.Requests, Scored sums PodInfo.Scored.
	Requested Resources
	Scored    Resources
	ports     hostPorts
	// Images maps each name of each image on the node to its size in bytes.
	Images map[string]int64
	// claims counts the pods on the node by namespace/name of the claims they use.
	claims map[string]int
}

// NewNodeInfo returns a node without pods; node may be nil.
func NewNodeInfo(node *v1.Node) *NodeInfo {
	n := &NodeInfo{ports: hostPorts{}, claims: map[string]int{}}
	n.SetNode(node)
	return n
}

// Name returns the node's name.
func (n *NodeInfo) Name() string { return n.Node.Name }

// SetNode replaces the node object, keeping the pods.
func (n *NodeInfo) SetNode(node *v1.Node) {
	n.Node = node
	n.Images = nil
	if node == nil {
		n.Allocatable, n.AllowedPods = Resources{}, 0
		return
	}
	n.Allocatable = NewResources(node.Status.Allocatable)
	pods := node.Status.Allocatable[v1.ResourcePods]
	n.AllowedPods = int(pods.Value())
	n.Images = make(map[string]int64, len(node.Status.Images))
	for _, image := range node.Status.Images {
		for _, name := range image.Names {
			n.Images[name] = image.SizeBytes
		}
	}
}

// AddPod counts the pod in.
func (n *NodeInfo) AddPod(pod *PodInfo) {
	n.Pods = append(n.Pods, pod)
	n.account(pod, 1)
	for _, port := range pod.Ports {
		n.ports.add(port)
	}
}

// RemovePod counts the pod with this UID out and reports whether it was there.
func (n *NodeInfo) RemovePod(uid types.UID) bool {
	i := slices.IndexFunc(n.Pods, func(p *PodInfo) bool { return p.Pod.UID == uid })
	if i < 0 {
		return false
	}
	pod := n.Pods[i]
	n.Pods = slices.Delete(n.Pods, i, i+1)
	n.account(pod, -1)
	for _, port := range pod.Ports {
		n.ports.remove(port)
	}
	return true
}

func (n *NodeInfo) account(pod *PodInfo, sign int64) {
	n.Requested.add(&pod.Requests, sign)
	n.Scored.add(&pod.Scored, sign)
	if pod.HasAffinity() {
		n.AffinityPods += int(sign)
	}
	if len(pod.RequiredAntiAffinity) > 0 {
		n.AntiAffinityPods += int(sign)
	}
	for _, claim := range ClaimNames(pod.Pod) {
		key := pod.Pod.Namespace + "/" + claim
		if n.claims[key] += int(sign); n.claims[key] <= 0 {
			delete(n.claims, key)
		}
	}
}

// PortTaken reports whether the host port cannot be had beside the pods here.
func (n *NodeInfo) PortTaken(p HostPort) bool { return n.ports.conflicts(p) }

// UsesClaim reports whether a pod here uses the claim, given as namespace/name.
func (n *NodeInfo) UsesClaim(key string) bool { return n.claims[key] > 0 }

// Clone returns a copy that can be changed without touching n.
func (n *NodeInfo) Clone() *NodeInfo {
	c := *n
	c.Pods = slices.Clone(n.Pods)
	c.Requested, c.Scored = n.Requested.clone(), n.Scored.clone()
	c.ports = n.ports.clone()
	c.claims = maps.Clone(n.claims)
	return &c
}

// With returns n as it would be with the given pods added and removed.
func (n *NodeInfo) With(add, remove []*PodInfo) *NodeInfo {
	c := n.Clone()
	c.Generation = 0
	for _, pod := range remove {
		c.RemovePod(pod.Pod.UID)
	}
	for _, pod := range add {
		c.AddPod(pod)
	}
	return c
}
