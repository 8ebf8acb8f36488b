package trial_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/opa/trial"
)

const rules = `package kubernetes.admission

deny contains msg if {
	input.request.kind.kind == "Pod"
	some container in input.request.object.spec.containers
	not startswith(container.image, "registry.example.com/")
	msg := sprintf("%s is elsewhere", [container.image])
}

deny contains "not blue" if input.request.namespaceObject.metadata.labels.team != "blue"

deny contains "taken" if data.kubernetes.services[input.request.namespace][input.request.name]

deny contains "not you" if input.request.userInfo.username == "mallory"

patch contains {"op": "add", "path": "/metadata/labels", "value": {"owner": "ann"}} if {
	input.request.operation == "CREATE"
	not input.request.object.metadata.labels
}
`

const template = `apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata: {name: needsowner}
spec:
  crd: {spec: {names: {kind: NeedsOwner}}}
  targets:
  - target: admission.k8s.gatekeeper.sh
    rego: |
      package needsowner
      violation[{"msg": "no owner"}] { not input.review.object.metadata.labels.owner }
---
apiVersion: constraints.gatekeeper.sh/v1beta1
kind: NeedsOwner
metadata: {name: owners}
spec: {match: {kinds: [{kinds: [ConfigMap]}]}}
`

const seen = `kind: List
apiVersion: v1
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {team: blue}}}
- {apiVersion: v1, kind: Namespace, metadata: {name: other, labels: {team: red}}}
- {apiVersion: v1, kind: Service, metadata: {name: taken, namespace: shop}}
`

// write makes files in a directory and returns it.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func read(t *testing.T, text string) []trial.Document {
	t.Helper()
	documents, err := trial.Read(write(t, map[string]string{"objects.yaml": text}))
	if err != nil {
		t.Fatal(err)
	}
	return documents
}

func newTrial(t *testing.T, asWritten bool) *trial.Trial {
	t.Helper()
	tried, err := trial.New(t.Context(), trial.Config{
		OPA:         []byte("bundles: {b: {resource: file://" + write(t, map[string]string{"rules.rego": rules}) + "}}\nplugins: {kubernetes_admission: {timeoutSeconds: 20}}\ndecision_logs: {service: nobody}\n"),
		Constraints: []string{write(t, map[string]string{"gatekeeper.yaml": template})}, Cluster: read(t, seen),
		AsWritten: asWritten, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tried.Close(); err != nil {
			t.Error(err)
		}
	})
	return tried
}

func TestPoliciesAreAskedAboutFiles(t *testing.T) {
	tried := newTrial(t, false)
	caller := trial.Caller{User: "ann", Operation: admission.Create, Namespace: "shop"}
	for _, test := range []struct{ object, reasons string }{
		{"{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop, labels: {a: b}}, spec: {containers: [{image: registry.example.com/web}]}}", ""},
		{"{apiVersion: v1, kind: Pod, metadata: {name: web, labels: {a: b}}, spec: {containers: [{image: nginx}]}}", "data.kubernetes.admission.deny: nginx is elsewhere"},
		{"{apiVersion: v1, kind: Secret, metadata: {name: web, namespace: other, labels: {a: b}}}", "data.kubernetes.admission.deny: not blue"},
		{"{apiVersion: v1, kind: Secret, metadata: {name: taken, namespace: shop, labels: {a: b}}}", "data.kubernetes.admission.deny: taken"},
		{"{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: shop, labels: {a: b}}}", "NeedsOwner [owners] no owner"},
		{"{apiVersion: admission.k8s.io/v1, kind: AdmissionReview, request: {uid: u, operation: CREATE, kind: {group: '', version: v1, kind: Secret}, resource: {group: '', version: v1, resource: secrets}, name: s, namespace: shop, userInfo: {username: mallory}, object: {apiVersion: v1, kind: Secret, metadata: {name: s, namespace: shop, labels: {a: b}}}}}", "data.kubernetes.admission.deny: not you"},
	} {
		asked, err := caller.Attributes(read(t, test.object)[0])
		if err != nil {
			t.Fatal(err)
		}
		outcome := tried.Ask(t.Context(), asked)
		if got := strings.Join(outcome.Reasons, "\n"); got != test.reasons || (outcome.Refusal != nil) != (test.reasons != "") || !outcome.Asked || outcome.Changed != nil {
			t.Errorf("%s: %+v", test.object, outcome)
		}
	}
	t.Run("changed", func(t *testing.T) {
		asked, err := caller.Attributes(read(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: shop}}")[0])
		if err != nil {
			t.Fatal(err)
		}
		if outcome := tried.Ask(t.Context(), asked); outcome.Changed == nil || outcome.Refusal != nil {
			t.Errorf("%+v", outcome)
		}
	})
	t.Run("out of scope", func(t *testing.T) {
		asked, err := caller.Attributes(read(t, "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: kube-system}}")[0])
		if err != nil {
			t.Fatal(err)
		}
		if outcome := tried.Ask(t.Context(), asked); outcome.Asked || outcome.Refusal != nil {
			t.Errorf("%+v", outcome)
		}
	})
}

func TestExplanationsShowTheAuthorsRules(t *testing.T) {
	tried := newTrial(t, true)
	asked, err := trial.Caller{User: "ann", Operation: admission.Update, Namespace: "shop"}.Attributes(read(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: c}}")[0])
	if err != nil {
		t.Fatal(err)
	}
	trace := &strings.Builder{}
	outcome, err := tried.Explain(t.Context(), asked, trial.Full, trace)
	if err != nil || outcome.Refusal == nil {
		t.Fatal(outcome, err)
	}
	for _, line := range []string{"rules.rego:10", "data.kubernetes.services", "NeedsOwner/template.rego:2", "not input.review.object.metadata.labels.owner"} {
		if !strings.Contains(trace.String(), line) {
			t.Errorf("no %q in the trace:\n%s", line, trace)
		}
	}
	if _, err := tried.Explain(t.Context(), asked, "some", trace); err == nil {
		t.Error("an unknown explanation is no error")
	}
}

func TestWrongPoliciesAreSaidToBe(t *testing.T) {
	for name, config := range map[string]trial.Config{
		"rego":       {OPA: []byte("bundles: {b: {resource: file://" + write(t, map[string]string{"a.rego": "package a\n\nx if"}) + "}}\n")},
		"setting":    {OPA: []byte("plugins: {kubernetes_admission: {nonsense: 1}}\n")},
		"constraint": {OPA: []byte("{}"), Constraints: []string{write(t, map[string]string{"c.yaml": "{apiVersion: constraints.gatekeeper.sh/v1beta1, kind: Nobody, metadata: {name: c}}"})}},
	} {
		config.Logger = slog.New(slog.DiscardHandler)
		if tried, err := trial.New(t.Context(), config); err == nil {
			t.Errorf("%s: no error", name)
			_ = tried.Close()
		}
	}
}
