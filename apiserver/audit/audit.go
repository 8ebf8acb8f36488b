// Package audit writes down who did what: an event for each stage of each
// request that the policy names, sent to a log file or a webhook. It owns the
// event's life, the policy's answer and the backends; it knows no HTTP beyond
// what an event says of it, and decides nothing about requests.
//
// See https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/.
package audit

import (
	"context"
	"maps"
	"slices"
	"sync"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	upstream "k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/audit/policy"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/utils/clock"
)

// Backend takes events. Take is called concurrently, and may keep the events:
// they are not changed any more. An error is reported to the client only where
// a backend is strict.
type Backend interface {
	// When ctx ends, a backend gives up trying again.
	Take(ctx context.Context, events ...*auditinternal.Event) error
	// Run works until ctx ends and everything taken is delivered.
	Run(ctx context.Context) error
}

// Auditor begins the records of requests. It is safe for concurrent use.
type Auditor struct {
	evaluator upstream.PolicyRuleEvaluator
	backends  []Backend
	clock     clock.PassiveClock
}

// New returns an auditor that sends to all backends. A nil clock is the real
// one.
func New(p *auditinternal.Policy, now clock.PassiveClock, backends ...Backend) *Auditor {
	if now == nil {
		now = clock.RealClock{}
	}
	return &Auditor{evaluator: policy.NewPolicyRuleEvaluator(p), backends: backends, clock: now}
}

// Request is what an event says of a request from the beginning.
type Request struct {
	ID, URI, UserAgent string
	SourceIPs          []string
	Attributes         authorizer.Attributes
}

// Record is the event of one request. A nil Record takes everything and keeps
// nothing, so that callers need not ask whether anybody listens.
type Record struct {
	auditor *Auditor
	config  upstream.RequestAuditConfig

	mu    sync.Mutex
	event auditinternal.Event
}

// Begin returns the record of a request, nil when the policy wants none.
func (a *Auditor) Begin(r Request) *Record {
	config := a.evaluator.EvaluatePolicyRule(r.Attributes)
	if config.Level == auditinternal.LevelNone {
		return nil
	}
	record := &Record{auditor: a, config: config}
	record.event = auditinternal.Event{
		Level: config.Level, AuditID: types.UID(r.ID), RequestURI: r.URI, Verb: r.Attributes.GetVerb(),
		SourceIPs: r.SourceIPs, UserAgent: truncate(r.UserAgent, maxUserAgent),
		RequestReceivedTimestamp: metav1.NewMicroTime(a.clock.Now()),
	}
	if who := r.Attributes.GetUser(); who != nil {
		describe(&record.event.User.Username, &record.event.User.UID, &record.event.User.Groups, who)
		for key, values := range who.GetExtra() {
			if record.event.User.Extra == nil {
				record.event.User.Extra = map[string]authenticationv1.ExtraValue{}
			}
			record.event.User.Extra[key] = values
		}
	}
	if r.Attributes.IsResourceRequest() {
		record.event.ObjectRef = &auditinternal.ObjectReference{
			Namespace: r.Attributes.GetNamespace(), Name: r.Attributes.GetName(), Resource: r.Attributes.GetResource(),
			Subresource: r.Attributes.GetSubresource(), APIGroup: r.Attributes.GetAPIGroup(), APIVersion: r.Attributes.GetAPIVersion(),
		}
	}
	return record
}

const maxUserAgent = 1024

func truncate(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return s[:most] + "...TRUNCATED"
}

func describe(name, uid *string, groups *[]string, who user.Info) {
	*name, *uid, *groups = who.GetName(), who.GetUID(), who.GetGroups()
}

// Emit sends the event as it is now, for a stage, unless the policy omits that.
// The error is that of a strict backend.
func (r *Record) Emit(stage auditinternal.Stage) error {
	if r == nil || slices.Contains(r.config.OmitStages, stage) {
		return nil
	}
	r.mu.Lock()
	event := r.event
	event.Annotations = maps.Clone(event.Annotations)
	r.mu.Unlock()
	event.Stage = stage
	event.StageTimestamp = metav1.NewMicroTime(r.auditor.clock.Now())
	if stage == auditinternal.StageRequestReceived {
		event.StageTimestamp = event.RequestReceivedTimestamp
	}
	for _, backend := range r.auditor.backends {
		if err := backend.Take(context.Background(), &event); err != nil {
			return err
		}
	}
	return nil
}

// change edits the event.
func (r *Record) change(edit func(*auditinternal.Event)) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	edit(&r.event)
}

// Impersonate says on whose behalf the request is, and which constrained verb
// allowed it, empty if none.
func (r *Record) Impersonate(who user.Info, constraint string) {
	r.change(func(e *auditinternal.Event) {
		if constraint != "" {
			e.AuthenticationMetadata = &auditinternal.AuthenticationMetadata{ImpersonationConstraint: constraint}
		}
		e.ImpersonatedUser = &authenticationv1.UserInfo{}
		describe(&e.ImpersonatedUser.Username, &e.ImpersonatedUser.UID, &e.ImpersonatedUser.Groups, who)
	})
}

// Annotate adds a fact; the first value of a key stays.
func (r *Record) Annotate(key, value string) {
	r.change(func(e *auditinternal.Event) {
		if e.Annotations == nil {
			e.Annotations = map[string]string{}
		}
		if _, there := e.Annotations[key]; !there {
			e.Annotations[key] = value
		}
	})
}

// Identify says which object the request turned out to be about.
func (r *Record) Identify(name, namespace string, uid types.UID, version string) {
	r.change(func(e *auditinternal.Event) {
		if e.ObjectRef == nil {
			return
		}
		if e.ObjectRef.Name == "" {
			e.ObjectRef.Name = name
		}
		if e.ObjectRef.Namespace == "" {
			e.ObjectRef.Namespace = namespace
		}
		if e.ObjectRef.UID == "" {
			e.ObjectRef.UID = uid
		}
		if e.ObjectRef.ResourceVersion == "" {
			e.ObjectRef.ResourceVersion = version
		}
	})
}

// WantsRequest reports whether the request's body belongs to the event.
func (r *Record) WantsRequest() bool {
	return r != nil && !r.config.Level.Less(auditinternal.LevelRequest)
}

// WantsResponse reports whether the answer's body belongs to the event.
func (r *Record) WantsResponse() bool {
	return r != nil && !r.config.Level.Less(auditinternal.LevelRequestResponse)
}

// RequestObject keeps the body of the request, in JSON.
func (r *Record) RequestObject(body []byte) {
	if r.WantsRequest() {
		r.change(func(e *auditinternal.Event) { e.RequestObject = r.unknown(body) })
	}
}

// ResponseObject keeps the body of the answer, in JSON.
func (r *Record) ResponseObject(body []byte) {
	if r.WantsResponse() {
		r.change(func(e *auditinternal.Event) { e.ResponseObject = r.unknown(body) })
	}
}

func (r *Record) unknown(body []byte) *runtime.Unknown {
	if r.config.OmitManagedFields {
		body = withoutManagedFields(body)
	}
	return &runtime.Unknown{Raw: body, ContentType: runtime.ContentTypeJSON}
}

// Respond keeps the outcome.
func (r *Record) Respond(status *metav1.Status) {
	r.change(func(e *auditinternal.Event) { e.ResponseStatus = status })
}

// Code keeps the HTTP code of an answer that has no Status.
func (r *Record) Code(code int) {
	r.change(func(e *auditinternal.Event) {
		if e.ResponseStatus == nil {
			e.ResponseStatus = &metav1.Status{Code: int32(code)}
		}
	})
}

type recordKey struct{}

// With returns a context that carries a record.
func With(ctx context.Context, r *Record) context.Context {
	return context.WithValue(ctx, recordKey{}, r)
}

// From returns the record of a request, nil when there is none.
func From(ctx context.Context) *Record {
	r, _ := ctx.Value(recordKey{}).(*Record)
	return r
}
