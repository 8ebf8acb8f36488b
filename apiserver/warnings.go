package apiserver

import (
	"net/http"
	"sync"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apiserver/pkg/warning"
)

// maxWarningBytes bounds the Warning headers of one answer: clients refuse
// answers whose headers are too large.
const maxWarningBytes = 4096

// warn lets every later step add Warning headers to the answer through the
// context (warning.AddWarning).
func (s *Server) warn(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		recorder := &warnings{header: w.Header()}
		next.ServeHTTP(w, r.WithContext(warning.WithWarningRecorder(r.Context(), recorder)))
	})
}

// warnings writes texts to the headers of an answer that has not begun.
type warnings struct {
	mu     sync.Mutex
	header http.Header
	seen   map[string]bool
	size   int
}

// AddWarning adds a text once.
func (w *warnings) AddWarning(agent, text string) {
	if text == "" {
		return
	}
	if agent == "" {
		agent = "-"
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen[text] || w.size+len(text) > maxWarningBytes {
		return
	}
	header, err := utilnet.NewWarningHeader(299, agent, text)
	if err != nil {
		return
	}
	if w.seen == nil {
		w.seen = make(map[string]bool)
	}
	w.seen[text] = true
	w.size += len(text)
	w.header.Add("Warning", header)
}
