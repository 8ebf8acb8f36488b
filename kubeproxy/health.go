package kubeproxy

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// health tells load balancers and supervisors whether the node's rules follow
// the API. Safe for concurrent use.
type health struct {
	clock   clock.PassiveClock
	timeout time.Duration

	mu sync.Mutex
	// waiting is when the oldest change came that is not synchronized, zero for none.
	waiting  time.Time
	last     time.Time
	eligible bool
}

func newHealth(c clock.PassiveClock, syncPeriod time.Duration) *health {
	return &health{clock: c, timeout: 2 * syncPeriod, eligible: true}
}

// pending notes that a change has come.
func (h *health) pending() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiting.IsZero() {
		h.waiting = h.clock.Now()
	}
}

// synced notes that all changes from before start are done.
func (h *health) synced(start time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = h.clock.Now()
	if !h.waiting.After(start) {
		h.waiting = time.Time{}
	}
}

// setEligible says whether the node may get traffic from load balancers.
func (h *health) setEligible(eligible bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.eligible = eligible
}

// status returns whether synchronization works, and the rest of the answer.
func (h *health) status() (alive, eligible bool, last, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now = h.clock.Now()
	alive = !h.last.IsZero() && (h.waiting.IsZero() || now.Sub(h.waiting) < h.timeout)
	last = h.last
	if alive {
		last = now
	}
	return alive, h.eligible, last, now
}

// healthz fails also while the node is going away, so that load balancers turn
// to others; livez does not.
func (h *health) healthz(w http.ResponseWriter, _ *http.Request) {
	alive, eligible, last, now := h.status()
	answer(w, alive && eligible, eligible, last, now)
}

func (h *health) livez(w http.ResponseWriter, _ *http.Request) {
	alive, eligible, last, now := h.status()
	answer(w, alive, eligible, last, now)
}

func answer(w http.ResponseWriter, ok, eligible bool, last, now time.Time) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	// The connection is what fails here, and nobody is left to be told.
	_ = json.NewEncoder(w).Encode(map[string]any{"lastUpdated": last.String(), "currentTime": now.String(), "nodeEligible": eligible})
}
