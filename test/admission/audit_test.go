package admission_test

import (
	"context"
	"net/http"
	"sync"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	auditinternal "k8s.io/apiserver/pkg/apis/audit"
	"k8s.io/apiserver/pkg/audit/policy"

	"github.com/yare-io/yare/apiserver/audit"
)

// events keeps those of config maps.
type events struct {
	mutex sync.Mutex
	seen  []*auditinternal.Event
}

func (e *events) Take(_ context.Context, events ...*auditinternal.Event) error {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	e.seen = append(e.seen, events...)
	return nil
}

func (e *events) Run(context.Context) error { return nil }

func (e *events) of(name string) *auditinternal.Event {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	for _, event := range e.seen {
		if event.ObjectRef != nil && event.ObjectRef.Name == name && event.Stage == auditinternal.StageResponseComplete {
			return event
		}
	}
	return nil
}

// TestWhatWebhooksChangeIsWrittenDown: who changed something is in every event,
// and what was changed is in those that show the object.
func TestWhatWebhooksChangeIsWrittenDown(t *testing.T) {
	to := &events{}
	rules := must(policy.LoadPolicyFromBytes([]byte(`{"apiVersion":"audit.k8s.io/v1","kind":"Policy","rules":[
		{"level":"Request","users":["loud"]},{"level":"Metadata","resources":[{"group":"","resources":["configmaps"]}]},{"level":"None"}]}`)))
	h := start(t, only(webhookPlugins...), loopbackAllowed, func(h *harness) { h.audit = audit.New(rules, nil, to) })
	h.mutating("m", serve(t, patching(`[{"op":"add","path":"/data/x","value":"secret"}]`)))
	for _, who := range []string{"loud", "quiet"} {
		if got := h.code(who, "POST", "/api/v1/namespaces/default/configmaps", `{"metadata":{"name":"`+who+`"},"data":{"a":"b"}}`); got != http.StatusCreated {
			t.Fatal(got)
		}
		h.eventually("the event is there", func() bool { return to.of(who) != nil })
		annotations := to.of(who).Annotations
		if annotations["mutation.webhook.admission.k8s.io/round_0_index_0"] != `{"configuration":"m","mutated":true,"webhook":"m.example.com"}` {
			t.Errorf("%s: %v", who, annotations)
		}
		patch := ""
		if who == "loud" {
			patch = `{"configuration":"m","patch":[{"op":"add","path":"/data/x","value":"secret"}],"patchType":"JSONPatch","webhook":"m.example.com"}`
		}
		if got := annotations["patch.webhook.admission.k8s.io/round_0_index_0"]; got != patch {
			t.Errorf("%s: %q, want %q", who, got, patch)
		}
	}
}

// TestAWebhookChangesAConnection: what a webhook makes of the options of a
// stream is what happens.
func TestAWebhookChangesAConnection(t *testing.T) {
	h := start(t, only(webhookPlugins...), loopbackAllowed)
	if err := h.create(pod("p", nil, nil)); err != nil {
		t.Fatal(err)
	}
	var seen admissionv1.AdmissionRequest
	h.mutating("m", serve(t, func(w http.ResponseWriter, r *http.Request) {
		reviewing(func(request *admissionv1.AdmissionRequest, review *admissionv1.AdmissionReview) {
			seen = *request
			kind := admissionv1.PatchTypeJSONPatch
			review.Response.Patch, review.Response.PatchType = []byte(`[{"op":"replace","path":"/container","value":"other"}]`), &kind
		})(w, r)
	}), func(w *admissionregistrationv1.MutatingWebhook) {
		w.Rules = []admissionregistrationv1.RuleWithOperations{*parse[admissionregistrationv1.RuleWithOperations](t,
			"{operations: [CONNECT], apiGroups: [''], apiVersions: [v1], resources: [pods/exec]}")}
	})
	err := h.client.CoreV1().RESTClient().Post().Namespace("default").Resource("pods").Name("p").SubResource("exec").
		Param("container", "c").Param("command", "sh").Param("stdout", "true").Do(t.Context()).Error()
	refused(t, err, http.StatusBadRequest, "container other is not valid for pod p")
	if seen.Kind.Kind != "PodExecOptions" || seen.SubResource != "exec" {
		t.Errorf("seen as %v %s", seen.Kind, seen.SubResource)
	}
}
