package kubeproxy

import (
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/yare-io/yare/kubeproxy/model"
)

// serviceHealth tells load balancers whether this node has endpoints of a
// service, at the service's own port (spec.healthCheckNodePort, with
// externalTrafficPolicy: Local). Its methods are called from one goroutine.
type serviceHealth struct {
	proxy *health
	log   *slog.Logger

	ports   map[uint16]*servicePort
	failed  map[uint16]bool // ports that could not be opened, and were told of
	serving sync.WaitGroup
}

// servicePort answers for one service.
type servicePort struct {
	proxy  *health
	server *http.Server

	mu    sync.Mutex
	state localEndpoints
}

// localEndpoints is how many endpoints of a service the node has.
type localEndpoints struct {
	service types.NamespacedName
	count   int
}

func newServiceHealth(proxy *health, log *slog.Logger) *serviceHealth {
	return &serviceHealth{proxy: proxy, log: log, ports: map[uint16]*servicePort{}, failed: map[uint16]bool{}}
}

// update opens and closes ports and changes answers, so that they fit rules.
func (h *serviceHealth) update(rules []model.Rule) {
	wanted := localByPort(rules)
	for port, p := range h.ports {
		if _, stays := wanted[port]; !stays {
			_ = p.server.Close()
			delete(h.ports, port)
		}
	}
	for port := range h.failed {
		if _, stays := wanted[port]; !stays {
			delete(h.failed, port)
		}
	}
	for port, state := range wanted {
		if p := h.ports[port]; p != nil {
			p.set(state)
			continue
		}
		h.open(port, state)
	}
}

// localByPort counts each address once, whichever ports and families of the
// service it is behind.
func localByPort(rules []model.Rule) map[uint16]localEndpoints {
	seen := map[uint16]map[string]bool{}
	out := map[uint16]localEndpoints{}
	for i := range rules {
		rule := &rules[i]
		port := rule.HealthCheckNodePort
		if port == 0 {
			continue
		}
		if seen[port] == nil {
			seen[port] = map[string]bool{}
		}
		for _, addr := range rule.LocalReady {
			seen[port][addr.String()] = true
		}
		out[port] = localEndpoints{service: rule.Service, count: len(seen[port])}
	}
	return out
}

func (h *serviceHealth) open(port uint16, state localEndpoints) {
	listener, err := net.Listen("tcp", net.JoinHostPort("", strconv.Itoa(int(port))))
	if err != nil {
		if !h.failed[port] {
			h.failed[port] = true
			h.log.Error("health check port of a service not opened", "service", state.service, "port", port, "error", err)
		}
		return
	}
	delete(h.failed, port)
	p := &servicePort{proxy: h.proxy, state: state}
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: 10 * time.Second}
	h.ports[port] = p
	h.serving.Go(func() { _ = p.server.Serve(listener) })
}

// close closes all ports, and returns when nothing is served any more.
func (h *serviceHealth) close() {
	h.update(nil)
	h.serving.Wait()
}

func (p *servicePort) set(state localEndpoints) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state = state
}

// ServeHTTP answers with 200 while the node has endpoints and its rules follow
// the API.
func (p *servicePort) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	state := p.state
	p.mu.Unlock()
	alive, eligible, _, _ := p.proxy.status()
	healthy := alive && eligible
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("X-Load-Balancing-Endpoint-Weight", strconv.Itoa(state.count))
	if state.count == 0 || !healthy {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	// The connection is what fails here, and nobody is left to be told.
	_ = json.NewEncoder(w).Encode(map[string]any{
		"service":        map[string]string{"namespace": state.service.Namespace, "name": state.service.Name},
		"localEndpoints": state.count, "serviceProxyHealthy": healthy,
	})
}
