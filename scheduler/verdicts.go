package scheduler

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/yare-io/yare/scheduler/framework"
)

// verdicts keeps the last diagnosis of every pod that waits. Safe for concurrent use.
type verdicts struct {
	mu    sync.Mutex
	byUID map[types.UID]*verdict
}

type verdict struct {
	pod       string
	at        time.Time
	diagnosis *Diagnosis
}

func newVerdicts() *verdicts { return &verdicts{byUID: map[types.UID]*verdict{}} }

func (v *verdicts) set(pod *framework.PodInfo, d *Diagnosis, at time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.byUID[pod.Pod.UID] = &verdict{pod: pod.Key(), at: at, diagnosis: d}
}

func (v *verdicts) drop(uid types.UID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.byUID, uid)
}

func (v *verdicts) of(pod string) []*verdict {
	v.mu.Lock()
	defer v.mu.Unlock()
	var found []*verdict
	for _, verdict := range v.byUID {
		if pod == "" || verdict.pod == pod {
			found = append(found, verdict)
		}
	}
	return found
}

// verdictJSON is the wire form of a verdict.
type verdictJSON struct {
	Pod     string              `json:"pod"`
	Time    time.Time           `json:"time"`
	Message string              `json:"message"`
	Nodes   map[string][]reason `json:"nodes,omitempty"`
	All     *reason             `json:"allNodes,omitempty"`
}

type reason struct {
	Plugin  string   `json:"plugin"`
	Code    string   `json:"code"`
	Reasons []string `json:"reasons"`
}

func newReason(s *framework.Status) reason {
	return reason{Plugin: s.Plugin, Code: s.Code.String(), Reasons: s.Reasons}
}

// Pending serves, as JSON, why pods are not scheduled: every rejection of every
// plugin on every node in the last attempt. ?pod=namespace/name asks for one
// pod, with its nodes; without it, the summaries of all pods are listed.
func (s *Scheduler) Pending() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pod := r.URL.Query().Get("pod")
		answer := []verdictJSON{}
		for _, v := range s.verdicts.of(pod) {
			out := verdictJSON{Pod: v.pod, Time: v.at, Message: v.diagnosis.Message()}
			if pod != "" {
				out.detail(v.diagnosis)
			}
			answer = append(answer, out)
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			s.log.Debug("answer not sent", "error", err)
		}
	})
}

func (v *verdictJSON) detail(d *Diagnosis) {
	if d.Everywhere != nil {
		all := newReason(d.Everywhere)
		v.All = &all
	}
	v.Nodes = make(map[string][]reason, len(d.Rejected))
	for _, rejected := range d.Rejected {
		for _, status := range rejected.Statuses {
			v.Nodes[rejected.Node] = append(v.Nodes[rejected.Node], newReason(status))
		}
	}
}
