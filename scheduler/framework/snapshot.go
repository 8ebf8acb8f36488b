package framework

import "slices"

// Snapshot is a cluster at one moment. It is read-only for plugins.
type Snapshot struct {
	// Nodes are dense: Nodes[i].Slot == i, and every Node is known.
	Nodes []*NodeInfo
	// Index maps a node's name to its slot.
	Index map[string]int
	// ImageNodes counts the nodes that have an image, by image name.
	ImageNodes map[string]int
	// Epoch changes with whatever a NodeScope plugin may look at beside the
	// pod and the node: the number of nodes and ImageNodes.
	Epoch int64
	// AffinityNodes are the slots of nodes with AffinityPods > 0,
	// AntiAffinityNodes of those with AntiAffinityPods > 0.
	AffinityNodes     []int
	AntiAffinityNodes []int
}

// Node returns the node of that name, or nil.
func (s *Snapshot) Node(name string) *NodeInfo {
	if slot, ok := s.Index[name]; ok {
		return s.Nodes[slot]
	}
	return nil
}

// With returns the snapshot with one node replaced by a hypothetical one of
// the same name. It costs a copy of the node list.
func (s *Snapshot) With(node *NodeInfo) *Snapshot {
	c := *s
	c.Nodes = slices.Clone(s.Nodes)
	c.Nodes[node.Slot] = node
	c.IndexAffinity()
	return &c
}

// IndexAffinity computes AffinityNodes and AntiAffinityNodes anew.
func (s *Snapshot) IndexAffinity() {
	s.AffinityNodes, s.AntiAffinityNodes = nil, nil
	for slot, node := range s.Nodes {
		if node.AffinityPods > 0 {
			s.AffinityNodes = append(s.AffinityNodes, slot)
		}
		if node.AntiAffinityPods > 0 {
			s.AntiAffinityNodes = append(s.AntiAffinityNodes, slot)
		}
	}
}
