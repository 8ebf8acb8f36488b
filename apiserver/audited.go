package apiserver

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	auditinternal "k8s.io/apiserver/pkg/apis/audit"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/apiserver/audit"
	"github.com/yare-io/yare/apiserver/codec"
	"github.com/yare-io/yare/apiserver/request"
)

// audit writes down what becomes of a request. It costs nothing when it is off.
func (s *Server) audit(next http.Handler) http.Handler {
	if s.config.Audit == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		record := s.config.Audit.Begin(s.auditRequest(w, r))
		if record == nil {
			next.ServeHTTP(w, r)
			return
		}
		if err := record.Emit(auditinternal.StageRequestReceived); err != nil {
			s.fail(w, r, apierrors.NewInternalError(err))
			return
		}
		answer := &auditedAnswer{recorder: recorder{ResponseWriter: w}, record: record, long: request.From(r.Context()).LongRunning()}
		defer answer.finish()
		next.ServeHTTP(answer, r.WithContext(audit.With(r.Context(), record)))
	})
}

func (s *Server) auditRequest(w http.ResponseWriter, r *http.Request) audit.Request {
	return audit.Request{
		ID: w.Header().Get(auditHeader), URI: r.URL.RequestURI(), UserAgent: r.UserAgent(),
		SourceIPs: sourceIPs(r), Attributes: attributesOf(r.Context()),
	}
}

// sourceIPs are the addresses that a request says and seems to come from.
func sourceIPs(r *http.Request) []string {
	var out []string
	add := func(address string) {
		if ip := net.ParseIP(strings.TrimSpace(address)); ip != nil && (len(out) == 0 || out[len(out)-1] != ip.String()) {
			out = append(out, ip.String())
		}
	}
	for part := range strings.SplitSeq(r.Header.Get("X-Forwarded-For"), ",") {
		add(part)
	}
	add(r.Header.Get("X-Real-Ip"))
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err == nil {
		add(host)
	}
	return out
}

// auditedAnswer notes when an answer begins and ends.
type auditedAnswer struct {
	recorder
	record *audit.Record
	long   bool
	begun  bool
}

// WriteHeader implements http.ResponseWriter.
func (a *auditedAnswer) WriteHeader(status int) {
	a.recorder.WriteHeader(status)
	a.begin()
}

// Write implements http.ResponseWriter.
func (a *auditedAnswer) Write(b []byte) (int, error) {
	n, err := a.recorder.Write(b)
	a.begin()
	return n, err
}

// begin emits the stage that only answers of long-running requests have.
func (a *auditedAnswer) begin() {
	if a.begun || a.status == 0 {
		return
	}
	a.begun = true
	a.record.Code(a.status)
	if a.long {
		_ = a.record.Emit(auditinternal.StageResponseStarted) // too late to fail the request
	}
}

// finish emits the last stage.
func (a *auditedAnswer) finish() {
	if reason := recover(); reason != nil {
		if err, ok := reason.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
			a.record.Respond(&metav1.Status{Status: metav1.StatusFailure, Code: http.StatusInternalServerError, Reason: metav1.StatusReasonInternalError, Message: "APIServer panic'd"})
		}
		_ = a.record.Emit(auditinternal.StagePanic)
		panic(reason)
	}
	a.record.Code(max(a.status, http.StatusOK))
	_ = a.record.Emit(auditinternal.StageResponseComplete)
}

// auditUnauthenticated writes down that nobody sent a request.
func (s *Server) auditUnauthenticated(w http.ResponseWriter, r *http.Request) {
	if s.config.Audit == nil {
		return
	}
	record := s.config.Audit.Begin(s.auditRequest(w, r))
	record.Respond(&metav1.Status{Status: metav1.StatusFailure, Code: http.StatusUnauthorized, Reason: metav1.StatusReasonUnauthorized, Message: "Authentication failed, attempted: bearer, certificate"})
	_ = record.Emit(auditinternal.StageResponseStarted)
}

// auditBody keeps the object that a client sent.
func auditBody(ctx context.Context, kind schema.GroupVersionKind, obj runtime.Object) {
	record := audit.From(ctx)
	if !record.WantsRequest() {
		return
	}
	if raw, err := inJSON(kind, obj); err == nil {
		record.RequestObject(raw)
	}
}

// auditReply keeps the object that a client gets.
func auditReply(ctx context.Context, kind schema.GroupVersionKind, from encodable) {
	record := audit.From(ctx)
	if record == nil {
		return
	}
	obj, err := from.Decoded()
	if err != nil {
		return
	}
	if m, err := meta.Accessor(obj); err == nil {
		record.Identify(m.GetName(), m.GetNamespace(), m.GetUID(), m.GetResourceVersion())
	}
	if status, ok := obj.(*metav1.Status); ok {
		record.Respond(status)
	}
	if !record.WantsResponse() {
		return
	}
	if raw, err := inJSON(kind, obj); err == nil {
		record.ResponseObject(raw)
	}
}

func inJSON(kind schema.GroupVersionKind, obj runtime.Object) ([]byte, error) {
	bare, err := codec.Encode(codec.JSON, obj)
	if err != nil {
		return nil, err
	}
	return codec.Wrap(codec.JSON, kind, bare)
}

// auditAdmission passes on what plugins wrote down.
func auditAdmission(ctx context.Context, a *admission.Attributes) {
	record := audit.From(ctx)
	if record == nil {
		return
	}
	for key, value := range a.Annotations() {
		record.Annotate(key, value)
	}
	if !record.WantsRequest() {
		return
	}
	for key, value := range a.Details() {
		record.Annotate(key, value)
	}
}
