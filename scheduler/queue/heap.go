package queue

import "container/heap"

// podHeap is a heap of pods in the order of less; each pod knows its index.
type podHeap struct {
	pods []*Pod
	less func(a, b *Pod) bool
}

var _ heap.Interface = (*podHeap)(nil)

func (h *podHeap) Len() int           { return len(h.pods) }
func (h *podHeap) Less(i, j int) bool { return h.less(h.pods[i], h.pods[j]) }

func (h *podHeap) Swap(i, j int) {
	h.pods[i], h.pods[j] = h.pods[j], h.pods[i]
	h.pods[i].heapIndex, h.pods[j].heapIndex = i, j
}

func (h *podHeap) Push(x any) {
	pod := x.(*Pod)
	pod.heapIndex = len(h.pods)
	h.pods = append(h.pods, pod)
}

func (h *podHeap) Pop() any {
	last := len(h.pods) - 1
	pod := h.pods[last]
	h.pods[last] = nil
	h.pods = h.pods[:last]
	return pod
}

// byPriority is PrioritySort: higher priority first, then who waits longer.
func byPriority(a, b *Pod) bool {
	if a.Info.Priority != b.Info.Priority {
		return a.Info.Priority > b.Info.Priority
	}
	return a.Queued.Before(b.Queued)
}

func byReady(a, b *Pod) bool { return a.ready.Before(b.ready) }
