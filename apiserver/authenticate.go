package apiserver

import (
	"context"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/authentication/user"
	genericrequest "k8s.io/apiserver/pkg/endpoints/request"
)

// authenticate finds out who sends a request. Requests of in-process
// transports bring their user with them.
func (s *Server) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if trusted(r.Context()) != nil {
			next.ServeHTTP(w, r)
			return
		}
		response, ok, err := s.config.Authenticator.AuthenticateRequest(r)
		if err != nil || !ok {
			if err != nil {
				s.logger.Info("authentication failed", "path", r.URL.Path, "audit", w.Header().Get(auditHeader), "error", err)
			}
			s.metrics.authentications.WithLabelValues("failure").Inc()
			s.auditUnauthenticated(w, r)
			s.fail(w, r, apierrors.NewUnauthorized("Unauthorized"))
			return
		}
		s.metrics.authentications.WithLabelValues("success").Inc()
		r = r.WithContext(genericrequest.WithUser(r.Context(), response.User))
		r.Header.Del("Authorization")
		next.ServeHTTP(w, r)
	})
}

type trustedKey struct{}

// withTrusted marks a request that comes from this process.
func withTrusted(ctx context.Context, who user.Info) context.Context {
	return context.WithValue(genericrequest.WithUser(ctx, who), trustedKey{}, who)
}

func trusted(ctx context.Context) user.Info {
	who, _ := ctx.Value(trustedKey{}).(user.Info)
	return who
}

// userOf is the user of an authenticated request.
func userOf(ctx context.Context) user.Info {
	who, _ := genericrequest.UserFrom(ctx)
	return who
}
