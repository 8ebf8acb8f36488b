package policy

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/yare-io/yare/test/cluster"
)

// gatekeeperSource is the directory of Gatekeeper's own module, with its custom
// resource definitions and the policies that it shows.
func gatekeeperSource(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", "github.com/open-policy-agent/gatekeeper/v3@v3.23.1").Output()
	if err != nil {
		t.Fatalf("Gatekeeper's module cannot be had: %v: %s", err, out)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		t.Fatal(err)
	}
	return module.Dir
}

// gatekeeperTest is a running server with Gatekeeper's own definitions.
type gatekeeperTest struct {
	*testing.T
	node   *cluster.Node
	source string
}

// eventually waits until kubectl prints a text.
func (g *gatekeeperTest) eventually(want string, args ...string) {
	g.Helper()
	g.node.Eventually(time.Minute, func(context.Context) error {
		if out, err := g.node.Kubectl(args...); err != nil || !strings.Contains(out, want) {
			return fmt.Errorf("kubectl %s: %q, %w; want %q", strings.Join(args, " "), out, err, want)
		}
		return nil
	})
}

// apply applies a file of Gatekeeper's source; retried, because resources come
// to be served after they are defined.
func (g *gatekeeperTest) apply(file string) {
	g.Helper()
	g.node.Eventually(time.Minute, func(context.Context) error {
		_, err := g.node.Kubectl("apply", "-f", filepath.Join(g.source, file))
		return err
	})
}

func TestGatekeepersObjectsWorkUnmodified(t *testing.T) {
	config := write(t, t.TempDir(), "opa.yaml", "plugins:\n  kubernetes_admission:\n    timeoutSeconds: 20\n    gatekeeper: {api: true, auditIntervalSeconds: 1}\n")
	node := cluster.StartServer(t, cluster.NewLAN(t).NewHost("one"), "--disable-agent", "--storage-backend=memory", "--opa-config-file", config)
	g := &gatekeeperTest{t, node, gatekeeperSource(t)}
	g.apply("charts/gatekeeper/crds")
	node.MustKubectl("create", "namespace", "gatekeeper-system")
	g.apply("demo/basic/templates/k8srequiredlabels_template.yaml")
	g.eventually("true", "get", "constrainttemplate", "k8srequiredlabels", "-o", "jsonpath={.status.created}")
	g.apply("demo/basic/constraints/all_ns_must_have_gatekeeper.yaml")
	t.Run("denies", func(t *testing.T) {
		g.eventually("true", "get", "k8srequiredlabels", "ns-must-have-gk", "-o", "jsonpath={.status.byPod[0].enforced}")
		refused(t, node, `you must provide labels: {"gatekeeper"}`, "create", "namespace", "shop")
	})
	t.Run("audits what exists", func(t *testing.T) {
		g.eventually("default", "get", "k8srequiredlabels", "ns-must-have-gk", "-o", "jsonpath={.status.violations[*].name}")
		g.eventually("default", "get", "k8srequiredlabels", "ns-must-have-gk", "-o", `jsonpath={.status.violations[?(@.enforcementAction=="deny")].name}`)
		node.MustKubectl("label", "namespace", "default", "gatekeeper=yes")
		g.node.Eventually(time.Minute, func(context.Context) error {
			if out := node.MustKubectl("get", "k8srequiredlabels", "ns-must-have-gk", "-o", "jsonpath={.status.violations[*].name}"); strings.Contains(out, "default") {
				return fmt.Errorf("still %q", out)
			}
			return nil
		})
	})
	t.Run("shows the inventory", func(t *testing.T) {
		g.apply("demo/basic/sync.yaml")
		g.apply("demo/basic/templates/k8suniquelabel_template.yaml")
		g.apply("demo/basic/constraints/all_ns_gatekeeper_label_unique.yaml")
		g.eventually("true", "get", "k8suniquelabel", "ns-gk-label-unique", "-o", "jsonpath={.status.byPod[0].enforced}")
		node.MustKubectl("apply", "-f", filepath.Join(g.source, "demo/basic/good/no_dupe_ns.yaml"))
		refused(t, node, "has duplicate value", "apply", "-f", filepath.Join(g.source, "demo/basic/bad/no_dupe_ns_2.yaml"))
	})
	t.Run("refuses what is wrong", func(t *testing.T) {
		for file, why := range map[string]string{
			"demo/basic/bad/bad_template.yaml":                                            "in lower case",
			"demo/basic/bad/bad_constraint_labelselector.yaml":                            "",
			"demo/basic/bad/bad_schema.yaml":                                              "",
			"demo/agilebank/expansion_templates/expand_deployment_expansiontemplate.yaml": "not supported",
		} {
			refused(t, node, why, "apply", "-f", filepath.Join(g.source, file))
		}
	})
	t.Run("mutates", func(t *testing.T) {
		g.apply("test/bats/tests/mutations/k8sownerlabel_assignmetadata.yaml")
		g.eventually("true", "get", "assignmetadata", "k8sownerlabel", "-o", "jsonpath={.status.byPod[0].enforced}")
		node.MustKubectl("apply", "-f", filepath.Join(g.source, "test/bats/tests/mutations/mutate_cm.yaml"))
		if owner := node.MustKubectl("get", "configmap", "mutate-cm", "-o", "jsonpath={.metadata.labels.owner}"); owner != "gatekeeper" {
			t.Errorf("owner is %q", owner)
		}
	})
	t.Run("evaluates CEL", func(t *testing.T) {
		node.MustKubectl("delete", "k8srequiredlabels", "--all")
		g.apply("test/bats/tests/templates/k8snamespacelabelcheck_template_cel.yaml")
		g.eventually("true", "get", "constrainttemplate", "k8snamespacelabelcheckcel", "-o", "jsonpath={.status.created}")
		file := write(t, t.TempDir(), "cel.yaml", `apiVersion: constraints.gatekeeper.sh/v1beta1
kind: K8sNamespaceLabelCheckCel
metadata: {name: cel}
spec: {match: {kinds: [{apiGroups: [""], kinds: [ConfigMap]}]}, parameters: {requiredLabel: team}}
`)
		node.Eventually(time.Minute, func(context.Context) error {
			_, err := node.Kubectl("apply", "-f", file)
			return err
		})
		g.eventually("true", "get", "k8snamespacelabelcheckcel", "cel", "-o", "jsonpath={.status.byPod[0].enforced}")
		refused(t, node, "does not have required label: team", "create", "configmap", "c")
		node.MustKubectl("label", "namespace", "default", "team=blue")
		node.MustKubectl("create", "configmap", "c")
	})
}
