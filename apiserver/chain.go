package apiserver

import (
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"
)

// chain puts the steps that every request takes before its handler, first to
// last.
func (s *Server) chain(routes http.Handler) http.Handler {
	steps := chi.Chain(
		s.identify,     // request id
		s.understand,   // what the request is about
		s.measure,      // metrics
		s.recoverPanic, // 500 instead of a dead connection
		s.warn,         // warnings reach the client
		s.allowOrigins, // browsers
		s.goAway,       // to other servers
		s.limitTime,    // deadlines
		s.authenticate, // who asks
		s.audit,        // who did what, written down
		s.impersonate,  // on whose behalf
		s.limitFlow,    // how many at once
		s.authorize,    // whether they may
	)
	return steps.Handler(routes)
}

// routes leads a request that passed all steps to its handler. The paths below
// /api and /apis are those of rows, looked up by the handler.
func (s *Server) routes() http.Handler {
	mux := chi.NewRouter()
	mux.NotFound(s.notFound)
	mux.MethodNotAllowed(func(w http.ResponseWriter, r *http.Request) { s.fail(w, r, errMethod()) })
	s.healthRoutes(mux)
	mux.Get("/metrics", s.metrics.handler().ServeHTTP)
	s.debugRoutes(mux)
	mux.Get("/version", s.serveVersion)
	if s.config.Documents != nil {
		for path, document := range s.config.Documents(s.Rows) {
			s.mountDocument(mux, path, document)
		}
	}
	mux.HandleFunc("/api/{version}/*", s.serveResource)
	mux.HandleFunc("/apis/{group}/{version}/*", s.serveResource)
	mux.Get("/", s.servePaths(mux))
	return mux
}

// mountDocument serves a handler at a path and below it. For /api and /apis
// the more specific routes of resources come first.
func (s *Server) mountDocument(mux chi.Router, path string, document http.Handler) {
	patterns := []string{path, path + "/"}
	switch path {
	case "/api":
		patterns = append(patterns, "/api/{version}", "/api/{version}/")
	case "/apis":
		patterns = append(patterns, "/apis/{group}", "/apis/{group}/", "/apis/{group}/{version}", "/apis/{group}/{version}/")
	default:
		patterns = append(patterns, path+"/*")
	}
	for _, pattern := range patterns {
		mux.Get(pattern, document.ServeHTTP)
		mux.Head(pattern, document.ServeHTTP)
	}
}

func (s *Server) notFound(w http.ResponseWriter, r *http.Request) { s.fail(w, r, errNoResource()) }

// servePaths lists the paths that are there, as GET / does.
func (s *Server) servePaths(mux chi.Routes) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var paths []string
		for _, route := range mux.Routes() {
			if path := strings.TrimSuffix(route.Pattern, "/*"); !strings.ContainsAny(path, "{") && (path == "/" || !strings.HasSuffix(path, "/")) {
				paths = append(paths, path)
			}
		}
		for _, res := range s.set().ordered {
			if gv := res.row.Kind.GroupVersion(); gv.Group == "" {
				paths = append(paths, "/api/"+gv.Version)
			} else {
				paths = append(paths, "/apis/"+gv.Group, "/apis/"+gv.String())
			}
		}
		s.sendJSON(w, r, map[string][]string{"paths": sortedUnique(paths)})
	}
}
