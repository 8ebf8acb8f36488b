package apiserver_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	auditinternal "k8s.io/apiserver/pkg/apis/audit"

	"github.com/yare-io/yare/apiserver"
	"github.com/yare-io/yare/apiserver/audit"
)

// events keeps audit events.
type events struct {
	mu   sync.Mutex
	kept []*auditinternal.Event
}

func (e *events) Take(_ context.Context, taken ...*auditinternal.Event) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.kept = append(e.kept, taken...)
	return nil
}

func (*events) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// of returns the stages of the requests to a path, and the last event.
func (e *events) of(path string) (stages []string, last *auditinternal.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, event := range e.kept {
		if strings.HasPrefix(event.RequestURI, path) {
			stages = append(stages, string(event.Stage))
			last = event
		}
	}
	return stages, last
}

func (e *events) await(t *testing.T, path string, want ...string) *auditinternal.Event {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		stages, last := e.of(path)
		if slices.Equal(stages, want) {
			return last
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: stages %q, want %q", path, stages, want)
		}
	}
}

// TestAuditTellsOfEachRequest: who, what, with which outcome, stage by stage.
func TestAuditTellsOfEachRequest(t *testing.T) {
	kept := &events{}
	policy := &auditinternal.Policy{Rules: []auditinternal.PolicyRule{{Level: auditinternal.LevelRequestResponse}}}
	h := start(t, func(c *apiserver.Config) { c.Audit = audit.New(policy, nil, kept) })
	const base = "/api/v1/namespaces/default/configmaps"
	h.do(t, "POST", base, `{"metadata":{"name":"a"},"data":{"k":"v"}}`, "User", "alice")
	e := kept.await(t, base, "RequestReceived", "ResponseComplete")
	if e.User.Username != "alice" || e.Verb != "create" || e.ResponseStatus.Code != 201 || e.ObjectRef.Name != "a" ||
		e.Annotations["authorization.k8s.io/decision"] != "allow" {
		t.Errorf("event %+v", e)
	}
	if !strings.Contains(string(e.RequestObject.Raw), `"k":"v"`) || !strings.Contains(string(e.ResponseObject.Raw), `"uid"`) {
		t.Errorf("bodies %s %s", e.RequestObject.Raw, e.ResponseObject.Raw)
	}
	h.do(t, "GET", base+"/none", "")
	if e := kept.await(t, base+"/none", "RequestReceived", "ResponseComplete"); e.ResponseStatus.Code != 404 || e.ResponseStatus.Reason != "NotFound" {
		t.Errorf("status %+v", e.ResponseStatus)
	}
	h.do(t, "GET", base+"/a", "", "User", "mallory")
	if e := kept.await(t, base+"/a", "RequestReceived", "ResponseComplete"); e.ResponseStatus.Code != 403 || e.Annotations["authorization.k8s.io/decision"] != "forbid" {
		t.Errorf("status %+v, annotations %v", e.ResponseStatus, e.Annotations)
	}
	h.do(t, "GET", "/api/v1/pods?watch=1&timeoutSeconds=1", "", "Impersonate-User", "bob")
	if e := kept.await(t, "/api/v1/pods", "RequestReceived", "ResponseStarted", "ResponseComplete"); e.ImpersonatedUser == nil || e.ImpersonatedUser.Username != "bob" {
		t.Errorf("impersonated %v", e.ImpersonatedUser)
	}
	h.do(t, "GET", "/version", "", "User", "nobody")
	if e := kept.await(t, "/version", "ResponseStarted"); e.ResponseStatus.Code != 401 {
		t.Errorf("status %+v", e.ResponseStatus)
	}
}
