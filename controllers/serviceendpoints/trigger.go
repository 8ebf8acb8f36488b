package serviceendpoints

import (
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/yare-io/yare/controllers/podstatus"
	"github.com/yare-io/yare/controllers/worker"
)

// Triggers remembers, for each service, when its pods and itself last changed
// as far as endpoints are concerned, so that the time from a change to its
// effect can be measured. It is safe for concurrent use on different services.
type Triggers struct {
	mu       sync.Mutex
	services map[worker.Key]*seen
}

type seen struct {
	service time.Time
	pods    map[string]time.Time
}

// NewTriggers makes an empty memory.
func NewTriggers() *Triggers { return &Triggers{services: map[worker.Key]*seen{}} }

// LastChange returns the time of the oldest change that the last call for this
// service did not know, zero if there is none.
func (t *Triggers) LastChange(service *corev1.Service, pods []*corev1.Pod) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := worker.KeyOf(service)
	before, known := t.services[key]
	if !known {
		before = &seen{}
	}
	now := &seen{service: service.CreationTimestamp.Time, pods: map[string]time.Time{}}
	t.services[key] = now
	var oldest time.Time
	consider := func(changed, before time.Time) {
		if changed.After(before) && (oldest.IsZero() || changed.Before(oldest)) {
			oldest = changed
		}
	}
	for _, pod := range pods {
		ready := podstatus.Condition(pod, corev1.PodReady)
		if ready == nil || ready.LastTransitionTime.IsZero() {
			continue
		}
		changed := ready.LastTransitionTime.Time
		now.pods[pod.Name] = changed
		consider(changed, before.pods[pod.Name])
	}
	consider(now.service, before.service)
	return oldest
}

// Forget drops what is known of a service.
func (t *Triggers) Forget(service worker.Key) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.services, service)
}
