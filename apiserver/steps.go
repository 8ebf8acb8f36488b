package apiserver

import (
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/yare-io/yare/apiserver/request"
)

// auditHeader carries the id of a request, from the client or made here.
const auditHeader = "Audit-Id"

// identify gives every request an id, which the answer carries and logs name.
func (s *Server) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(auditHeader)
		if id == "" || len(id) > 64 {
			id = newRequestID()
		}
		w.Header().Set(auditHeader, id)
		next.ServeHTTP(w, r)
	})
}

// recoverPanic answers with 500 when a handler panics. A panic in the middle
// of an answer can only end the connection.
func (s *Server) recoverPanic(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			reason := recover()
			if reason == nil {
				return
			}
			if err, ok := reason.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(reason)
			}
			s.logger.Error("request panicked", "method", r.Method, "path", r.URL.Path, "audit", w.Header().Get(auditHeader), "reason", reason, "stack", string(debug.Stack()))
			if recorded, ok := w.(interface{ Started() bool }); ok && recorded.Started() {
				panic(http.ErrAbortHandler)
			}
			s.fail(w, r, apierrors.NewInternalError(fmt.Errorf("this request caused apiserver to panic; see the server's log for audit id %s", w.Header().Get(auditHeader))))
		}()
		next.ServeHTTP(w, r)
	})
}

// understand finds out what the request is about, and refuses paths that are
// made to be read in two ways.
func (s *Server) understand(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		info, err := request.Of(r)
		if err != nil {
			s.fail(w, r, apierrors.NewBadRequest(err.Error()))
			return
		}
		next.ServeHTTP(w, r.WithContext(request.With(r.Context(), info)))
	})
}
