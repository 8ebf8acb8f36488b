package queue

import (
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/yare-io/yare/scheduler/framework"
)

// Pod is a pod in the queue with its history there. Whoever popped it owns it
// until it is handed back or reported done.
type Pod struct {
	Info *framework.PodInfo
	// Attempts counts how often the pod was popped.
	Attempts int
	// Added is when the pod first came, Queued when it last joined the active heap.
	Added  time.Time
	Queued time.Time
	// Rejectors name the plugins that rejected it in the last attempt. Empty
	// after an error: any change, or the backoff, wakes it.
	Rejectors sets.Set[string]

	// backoffs counts the attempts in a row that lead to backoff.
	backoffs int
	// failedAt is when the last attempt ended; ready is when backoff ends.
	failedAt time.Time
	ready    time.Time
	where    place
	// heapIndex is the position in the heap of place where.
	heapIndex int
	// since is the sequence number of the first event that an attempt in
	// flight has not seen.
	since int64
}

func (p *Pod) uid() types.UID { return p.Info.Pod.UID }

// place says where in the queue a pod is; a pod is in exactly one place.
type place int

const (
	nowhere place = iota
	active
	backoff
	unschedulable
	gated
	inFlight
)

var placeNames = [...]string{"none", "active", "backoff", "unschedulable", "gated", "inflight"}
