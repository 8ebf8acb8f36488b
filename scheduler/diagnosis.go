package scheduler

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/yare-io/yare/scheduler/framework"
)

// noNodes is what a pod is told while the cluster has no node.
const noNodes = "no nodes available to schedule pods"

// Diagnosis says why no node took a pod.
type Diagnosis struct {
	// Nodes is how many nodes there were.
	Nodes int
	// Everywhere is set when a plugin rejected the pod without looking at nodes.
	Everywhere *framework.Status
	// Rejected has an entry for each node that was looked at.
	Rejected []NodeRejection
	// Preemption says what became of the attempt to make room, if there was one.
	Preemption string
}

// NodeRejection is why one node cannot take the pod: every plugin that objects,
// the one that is counted in the message first.
type NodeRejection struct {
	Node     string
	Statuses []*framework.Status
}

// Message sums the diagnosis up in Kubernetes' words.
func (d *Diagnosis) Message() string {
	if d.Nodes == 0 {
		return noNodes
	}
	var b strings.Builder
	fmt.Fprintf(&b, "0/%d nodes are available:", d.Nodes)
	if d.Everywhere != nil {
		fmt.Fprintf(&b, " %s.", d.Everywhere.Message())
	} else if reasons := d.countReasons(); len(reasons) > 0 {
		fmt.Fprintf(&b, " %s.", strings.Join(reasons, ", "))
	}
	if d.Preemption != "" {
		b.WriteString(" " + d.Preemption)
	}
	return b.String()
}

func (d *Diagnosis) countReasons() []string {
	counts := map[string]int{}
	for i := range d.Rejected {
		for _, reason := range d.Rejected[i].Statuses[0].Reasons {
			counts[reason]++
		}
	}
	return histogram(counts)
}

// histogram lists "count reason" in the order of the strings.
func histogram(counts map[string]int) []string {
	lines := make([]string, 0, len(counts))
	for reason, count := range counts {
		lines = append(lines, fmt.Sprintf("%d %s", count, reason))
	}
	slices.Sort(lines)
	return lines
}

// Rejectors names the plugins whose change of mind could make the pod fit.
func (d *Diagnosis) Rejectors() sets.Set[string] {
	names := sets.New[string]()
	if d.Everywhere != nil {
		names.Insert(d.Everywhere.Plugin)
	}
	for i := range d.Rejected {
		names.Insert(d.Rejected[i].Statuses[0].Plugin)
	}
	if len(names) == 0 {
		names.Insert(anyNode)
	}
	return names
}

// anyNode stands for a plugin that rejects while there are no nodes.
const anyNode = "NodeExists"
