package apiserver

import (
	"net/http"

	genericrequest "k8s.io/apiserver/pkg/endpoints/request"

	"github.com/yare-io/yare/apiserver/audit"
	"github.com/yare-io/yare/apiserver/authn/impersonation"
)

// impersonate lets a user act as another, if it may impersonate every part of
// that identity.
func (s *Server) impersonate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := impersonation.User(r.Context(), r.Header, attributesOf(r.Context()), s.config.Authorizer)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		if who != nil {
			impersonation.Strip(r.Header)
			audit.From(r.Context()).Impersonate(who.Info, who.Constraint)
			r = r.WithContext(genericrequest.WithUser(r.Context(), who.Info))
		}
		next.ServeHTTP(w, r)
	})
}
