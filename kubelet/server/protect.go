package server

import (
	"net/http"
	"strings"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// protect lets only those requests through whose sender is known and may do
// what they ask for. Without an authenticator or authorizer nobody may.
func (s *Server) protect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, ok := s.authenticate(r)
		if !ok {
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
			return
		}
		allowed, reason, err := s.authorize(r, who)
		switch {
		case err != nil && !allowed:
			s.logger.Error("authorization failed", "user", who.GetName(), "path", r.URL.Path, "err", err)
			http.Error(w, "Internal Server Error: authorization failed", http.StatusInternalServerError)
		case !allowed:
			http.Error(w, "Forbidden (user="+who.GetName()+", verb="+verbOf(r)+", resource=nodes, subresource(s)="+
				strings.Join(subresourcesOf(r.URL.Path), ",")+"): "+reason, http.StatusForbidden)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func (s *Server) authenticate(r *http.Request) (user.Info, bool) {
	if s.config.Authenticator == nil {
		return nil, false
	}
	response, ok, err := s.config.Authenticator.AuthenticateRequest(r)
	if err != nil {
		s.logger.Debug("authentication failed", "path", r.URL.Path, "err", err)
	}
	if err != nil || !ok || response == nil || response.User == nil {
		return nil, false
	}
	return response.User, true
}

// authorize asks for the most specific subresource first: one that is granted
// is enough.
func (s *Server) authorize(r *http.Request, who user.Info) (allowed bool, reason string, err error) {
	if s.config.Authorizer == nil {
		return false, "no authorizer", nil
	}
	for _, subresource := range subresourcesOf(r.URL.Path) {
		decision, why, failed := s.config.Authorizer.Authorize(r.Context(), authorizer.AttributesRecord{
			User: who, Verb: verbOf(r), APIVersion: "v1", Resource: "nodes", Name: s.config.NodeName,
			Subresource: subresource, ResourceRequest: true, Path: r.URL.Path,
		})
		if decision == authorizer.DecisionAllow {
			return true, "", nil
		}
		reason, err = why, failed
	}
	return false, reason, err
}

// verbOf returns the verb that a request needs. Running something in a
// container or reaching into a pod is create, whatever the method: WebSockets
// begin with GET, and who may only read must not get a shell that way.
func verbOf(r *http.Request) string {
	switch firstSegment(r.URL.Path) {
	case "exec", "attach", "run", "portForward":
		return "create"
	}
	switch r.Method {
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodPatch:
		return "patch"
	case http.MethodDelete:
		return "delete"
	default:
		return "get"
	}
}

// subresourcesOf returns the subresources of nodes that give access to a path,
// the narrowest first. Whatever is not known here needs nodes/proxy, which
// gives access to everything but the metrics, statistics, logs and checkpoints
// that have names of their own.
func subresourcesOf(path string) []string {
	switch first := firstSegment(path); first {
	case "stats", "metrics", "checkpoint":
		return []string{first}
	case "logs":
		return []string{"log"}
	case "healthz", "configz":
		return []string{first, "proxy"}
	case "pods", "runningpods":
		return []string{"pods", "proxy"}
	default:
		return []string{"proxy"}
	}
}

func firstSegment(path string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return first
}
