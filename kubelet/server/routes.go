package server

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// routes is the list of all that is served.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/healthz", Healthz(s.config.Backend))
	mux.Handle("/healthz/", Healthz(s.config.Backend))
	mux.HandleFunc("GET /configz", s.configz)
	mux.HandleFunc("GET /pods", s.pods)
	mux.HandleFunc("GET /pods/{$}", s.pods)
	mux.HandleFunc("GET /runningpods/{$}", s.runningPods)
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", s.containerLogs)

	mux.HandleFunc("POST /run/{namespace}/{pod}/{container}", s.run)
	mux.HandleFunc("POST /run/{namespace}/{pod}/{uid}/{container}", s.run)
	for _, method := range []string{"GET ", "POST "} {
		mux.HandleFunc(method+"/exec/{namespace}/{pod}/{container}", s.exec)
		mux.HandleFunc(method+"/exec/{namespace}/{pod}/{uid}/{container}", s.exec)
		mux.HandleFunc(method+"/attach/{namespace}/{pod}/{container}", s.attach)
		mux.HandleFunc(method+"/attach/{namespace}/{pod}/{uid}/{container}", s.attach)
		mux.HandleFunc(method+"/portForward/{namespace}/{pod}", s.portForward)
		mux.HandleFunc(method+"/portForward/{namespace}/{pod}/{uid}", s.portForward)
	}

	mux.HandleFunc("GET /stats/summary", s.summary)
	mux.HandleFunc("GET /metrics/resource", s.resourceMetrics)
	mux.HandleFunc("GET /metrics/cadvisor", s.containerMetrics)
	if s.config.Metrics != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(s.config.Metrics, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
	}
	mux.HandleFunc("/checkpoint/", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "container checkpoints are not supported by this kubelet", http.StatusNotFound)
	})
	if s.config.Profiling {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}

// Healthz is the health check of a node, which is ok while its main loop makes
// progress. The named checks that Kubernetes has are parts of the same answer.
// It asks nobody who they are.
func Healthz(backend Backend) http.Handler {
	check := func(w http.ResponseWriter, r *http.Request) {
		switch r.PathValue("check") {
		case "", "ping", "log", "syncloop":
		default:
			http.NotFound(w, r)
			return
		}
		if err := backend.Healthy(); err != nil && r.PathValue("check") != "ping" {
			http.Error(w, "healthz check failed: "+err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok"))
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", check)
	mux.HandleFunc("GET /healthz/{check}", check)
	return mux
}

func (s *Server) configz(w http.ResponseWriter, _ *http.Request) {
	s.writeJSON(w, map[string]any{"kubeletconfig": s.config.Configz})
}

func (s *Server) pods(w http.ResponseWriter, _ *http.Request) {
	s.writePods(w, s.config.Backend.Pods())
}

// runningPods lists the pods of which a container runs.
func (s *Server) runningPods(w http.ResponseWriter, _ *http.Request) {
	var running []*corev1.Pod
	for _, pod := range s.config.Backend.Pods() {
		if hasRunningContainer(&pod.Status) {
			running = append(running, pod)
		}
	}
	s.writePods(w, running)
}

func hasRunningContainer(status *corev1.PodStatus) bool {
	for _, statuses := range [][]corev1.ContainerStatus{status.ContainerStatuses, status.InitContainerStatuses, status.EphemeralContainerStatuses} {
		for i := range statuses {
			if statuses[i].State.Running != nil {
				return true
			}
		}
	}
	return false
}

func (s *Server) writePods(w http.ResponseWriter, pods []*corev1.Pod) {
	list := corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}, Items: []corev1.Pod{}}
	for _, pod := range pods {
		list.Items = append(list.Items, *pod)
	}
	s.writeJSON(w, &list)
}

func (s *Server) summary(w http.ResponseWriter, r *http.Request) {
	summary, err := s.config.Backend.Summary(r.Context())
	if err != nil {
		s.fail(w, err)
		return
	}
	s.writeJSON(w, summary)
}

func (s *Server) writeJSON(w http.ResponseWriter, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		s.fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // the client has gone: nobody to tell
}

// fail answers with an error: this is where errors become status codes.
func (s *Server) fail(w http.ResponseWriter, err error) {
	code := http.StatusInternalServerError
	var status apierrors.APIStatus
	switch {
	case errors.As(err, &status) && status.Status().Code > 0:
		code = int(status.Status().Code)
	case errors.Is(err, ErrNotFound):
		code = http.StatusNotFound
	}
	if code >= http.StatusInternalServerError {
		s.logger.Error("request failed", "err", err)
	}
	http.Error(w, err.Error(), code)
}
