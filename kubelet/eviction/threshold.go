// Package eviction keeps a node from running out of what cannot be shared out: memory, disk and process ids. It says from
// measurements which resources are short, since when, and which pod has to go. It owns thresholds, their grace, the
// order of pods and what is said of them, and refuses to measure and to kill.
package eviction

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/yare-io/yare/kubelet/node"
)

// Signal names something that can run short, as in a KubeletConfiguration.
type Signal string

// The signals, in the order in which they are dealt with.
const (
	MemoryAvailable   Signal = "memory.available"
	NodeFsAvailable   Signal = "nodefs.available"
	NodeFsInodesFree  Signal = "nodefs.inodesFree"
	ImageFsAvailable  Signal = "imagefs.available"
	ImageFsInodesFree Signal = "imagefs.inodesFree"
	PIDAvailable      Signal = "pid.available"
)

var signals = []Signal{MemoryAvailable, NodeFsAvailable, NodeFsInodesFree, ImageFsAvailable, ImageFsInodesFree, PIDAvailable}

// Resource is what pods use up of the signal, in the words of events.
func (s Signal) Resource() v1.ResourceName {
	switch s {
	case MemoryAvailable:
		return v1.ResourceMemory
	case NodeFsInodesFree, ImageFsInodesFree:
		return "inodes"
	case PIDAvailable:
		return "pids"
	}
	return v1.ResourceEphemeralStorage
}

// Condition is the node's condition that goes with the signal.
func (s Signal) Condition() v1.NodeConditionType {
	switch s {
	case MemoryAvailable:
		return v1.NodeMemoryPressure
	case PIDAvailable:
		return v1.NodePIDPressure
	}
	return v1.NodeDiskPressure
}

// Observation is what is left of a signal.
type Observation struct{ Available, Capacity int64 }

// Threshold is a least amount that should be left.
type Threshold struct {
	Signal Signal
	// Value and Reclaim are quantities or percentages of the capacity. Once the threshold is met, Reclaim more than
	// Value must be left before it counts as over.
	Value, Reclaim string
	// Soft thresholds must be met for Grace before anything is done.
	Soft  bool
	Grace time.Duration
}

// Thresholds reads them from the maps of a KubeletConfiguration. A value of 0 or 0% turns a signal off.
func Thresholds(hard, soft, softGrace, reclaim map[string]string) ([]Threshold, error) {
	var out []Threshold
	var errs []error
	for _, group := range []struct {
		name   string
		values map[string]string
		soft   bool
	}{{"evictionHard", hard, false}, {"evictionSoft", soft, true}} {
		for _, name := range slices.Sorted(maps.Keys(group.values)) {
			t := Threshold{Signal: Signal(name), Value: group.values[name], Reclaim: reclaim[name], Soft: group.soft}
			off, err := t.check()
			if err == nil && t.Soft {
				t.Grace, err = graceOf(softGrace, name)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %s: %w", group.name, name, err))
			} else if !off {
				out = append(out, t)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Threshold) int { return slices.Index(signals, a.Signal) - slices.Index(signals, b.Signal) })
	return out, errors.Join(errs...)
}

func (t *Threshold) check() (off bool, err error) {
	if !slices.Contains(signals, t.Signal) {
		return false, fmt.Errorf("is not a signal; there are %v", signals)
	}
	value, err := amount(t.Value, 100)
	if err != nil {
		return false, err
	}
	if t.Reclaim != "" {
		_, err = amount(t.Reclaim, 100)
	}
	return value == 0, err
}

func graceOf(graces map[string]string, name string) (time.Duration, error) {
	text, ok := graces[name]
	if !ok {
		return 0, errors.New("evictionSoftGracePeriod must have a duration for it")
	}
	grace, err := time.ParseDuration(text)
	if err == nil && grace < 0 {
		err = fmt.Errorf("the grace period %s is negative", text)
	}
	return grace, err
}

func amount(text string, capacity int64) (int64, error) {
	q, err := node.Threshold(text, *resource.NewQuantity(capacity, resource.BinarySI))
	if err == nil && q.Sign() < 0 {
		err = fmt.Errorf("%q is negative", text)
	}
	return q.Value(), err
}

// met says whether too little is left; resolving asks for what has to be reclaimed too.
func (t *Threshold) met(o Observation, resolving bool) bool {
	limit, err := amount(t.Value, o.Capacity)
	if err != nil {
		return false
	}
	if resolving && t.Reclaim != "" {
		if more, err := amount(t.Reclaim, o.Capacity); err == nil {
			limit += more
		}
	}
	return o.Available < limit
}
