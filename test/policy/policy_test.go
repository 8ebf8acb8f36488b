// Package policy shows OPA's policies and Gatekeeper's constraints at work in a
// running server, from the first flag to the answer that kubectl prints.
package policy

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/yare-io/yare/test/cluster"
)

const rules = `package kubernetes.admission

deny contains msg if {
	input.request.kind.kind == "ConfigMap"
	input.request.object.data.key == "bad"
	msg := "bad is not good"
}

warn contains "think twice" if input.request.object.data.key == "odd"

patch contains {"op": "add", "path": "/data/by", "value": input.request.userInfo.username} if {
	input.request.kind.kind == "ConfigMap"
	input.request.operation == "CREATE"
	input.request.object.data.key
}

deny contains msg if {
	input.request.kind.kind == "Service"
	some namespace, name
	other := data.kubernetes.services[namespace][name]
	other.spec.externalName == input.request.object.spec.externalName
	msg := sprintf("%s/%s has this name already", [namespace, name])
}

deny contains "no team" if {
	input.request.kind.kind == "Secret"
	not data.kubernetes.namespaces[input.request.namespace].metadata.labels.team
}
`

const template = `apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata: {name: needslabels}
spec:
  crd:
    spec:
      names: {kind: NeedsLabels}
      validation:
        openAPIV3Schema: {type: object, properties: {labels: {type: array, items: {type: string}}}}
  targets:
  - target: admission.k8s.gatekeeper.sh
    rego: |
      package needslabels
      violation[{"msg": msg}] {
        wanted := input.parameters.labels[_]
        not input.review.object.metadata.labels[wanted]
        msg := sprintf("label %v is missing", [wanted])
      }
`

const constraint = `apiVersion: constraints.gatekeeper.sh/v1beta1
kind: NeedsLabels
metadata: {name: teams}
spec:
  match: {kinds: [{apiGroups: [""], kinds: [Namespace]}]}
  parameters: {labels: [team]}
`

const configuration = `bundles:
  local: {resource: "file://%s"}
plugins:
  kubernetes_admission:
    timeoutSeconds: 20
    data: [{resource: services}, {resource: namespaces}]
    gatekeeper: {api: true}
`

// write makes a file and returns its path.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// refused runs kubectl, which must fail with a text.
func refused(t *testing.T, node *cluster.Node, want string, args ...string) {
	t.Helper()
	if out, err := node.Kubectl(args...); err == nil || !strings.Contains(out+err.Error(), want) {
		t.Errorf("kubectl %s: %q, %v; want %q", strings.Join(args, " "), out, err, want)
	}
}

func TestPoliciesDecideInARunningServer(t *testing.T) {
	policies := t.TempDir()
	write(t, policies, "rules.rego", rules)
	config := write(t, t.TempDir(), "opa.yaml", fmt.Sprintf(configuration, policies))
	node := cluster.StartServer(t, cluster.NewLAN(t).NewHost("one"), "--disable-agent", "--storage-backend=memory", "--opa-config-file", config)
	eventually := func(check func() error) {
		t.Helper()
		node.Eventually(time.Minute, func(context.Context) error { return check() })
	}
	eventually(func() error {
		_, err := node.Kubectl("create", "configmap", "first", "--from-literal=key=good")
		return err
	})
	if by := node.MustKubectl("get", "configmap", "first", "-o", "jsonpath={.data.by}"); by != "kubernetes-admin" {
		t.Errorf("patched with %q", by)
	}
	refused(t, node, `configmaps "second" is forbidden: bad is not good`, "create", "configmap", "second", "--from-literal=key=bad")
	refused(t, node, "bad is not good", "create", "configmap", "second", "--from-literal=key=bad", "--dry-run=server")
	node.MustKubectl("create", "service", "externalname", "one", "--external-name=example.com")
	refused(t, node, "default/one has this name already", "create", "service", "externalname", "two", "--external-name=example.com")
	refused(t, node, "no team", "create", "secret", "generic", "s", "--from-literal=a=b")
	node.MustKubectl("label", "namespace", "default", "team=blue")
	node.MustKubectl("create", "secret", "generic", "s", "--from-literal=a=b")
	t.Run("a changed rule", func(t *testing.T) {
		write(t, policies, "rules.rego", strings.Replace(rules, `"bad is not good"`, `"worse"`, 1))
		eventually(func() error {
			out, err := node.Kubectl("create", "configmap", "second", "--from-literal=key=bad")
			if err == nil || !strings.Contains(out+err.Error(), "worse") {
				return fmt.Errorf("still the old rule: %q, %w", out, err)
			}
			return nil
		})
	})
	t.Run("constraints", func(t *testing.T) { constraintsDecide(t, node, eventually) })
}

func constraintsDecide(t *testing.T, node *cluster.Node, eventually func(func() error)) {
	dir := t.TempDir()
	eventually(func() error {
		_, err := node.Kubectl("apply", "-f", write(t, dir, "template.yaml", template))
		return err
	})
	eventually(func() error {
		_, err := node.Kubectl("apply", "-f", write(t, dir, "constraint.yaml", constraint))
		return err
	})
	eventually(func() error {
		out, err := node.Kubectl("create", "namespace", "shop", "--dry-run=server")
		if err == nil || !strings.Contains(out+err.Error(), "[teams] label team is missing") {
			return fmt.Errorf("not refused: %q, %w", out, err)
		}
		return nil
	})
	changed := strings.Replace(template, "labels: {type: array, items: {type: string}}", "labels: {type: array, items: {type: string}}, more: {type: boolean}", 1)
	node.MustKubectl("apply", "-f", write(t, dir, "template.yaml", changed))
	eventually(func() error {
		_, err := node.Kubectl("patch", "needslabels", "teams", "--type=merge", "-p", `{"spec":{"parameters":{"more":true}}}`)
		if more := node.MustKubectl("get", "needslabels", "teams", "-o", "jsonpath={.spec.parameters.more}"); err == nil && more != "true" {
			return fmt.Errorf("the new parameter is not known yet: %q", more)
		}
		return err
	})
	node.MustKubectl("delete", "needslabels", "teams")
	eventually(func() error {
		_, err := node.Kubectl("create", "namespace", "shop")
		return err
	})
	t.Run("go with their template", func(t *testing.T) {
		node.MustKubectl("delete", "constrainttemplate", "needslabels")
		node.MustKubectl("wait", "--for=delete", "crd/needslabels.constraints.gatekeeper.sh", "--timeout=60s")
	})
	t.Run("of a template of an older version", func(t *testing.T) {
		node.MustKubectl("apply", "-f", write(t, dir, "old.yaml", oldTemplate))
		eventually(func() error {
			_, err := node.Kubectl("apply", "-f", write(t, dir, "constraint.yaml", strings.Replace(constraint, "NeedsLabels", "OldLabels", 1)))
			return err
		})
		eventually(func() error {
			out, err := node.Kubectl("create", "namespace", "inn", "--dry-run=server")
			if err == nil || !strings.Contains(out+err.Error(), `[teams] one of ["team"]`) {
				return fmt.Errorf("not refused: %q, %w", out, err)
			}
			return nil
		})
	})
}

// oldTemplate has a schema without types, as version v1beta1 takes it.
const oldTemplate = `apiVersion: templates.gatekeeper.sh/v1beta1
kind: ConstraintTemplate
metadata: {name: oldlabels}
spec:
  crd:
    spec:
      names: {kind: OldLabels}
      validation:
        openAPIV3Schema: {properties: {labels: {items: {type: string}}}}
  targets:
  - target: admission.k8s.gatekeeper.sh
    rego: |
      package oldlabels
      violation[{"msg": msg}] {
        wanted := {label | label := input.parameters.labels[_]}
        given := {label | input.review.object.metadata.labels[label]}
        count(wanted & given) == 0
        msg := sprintf("one of %v", [input.parameters.labels])
      }
`
