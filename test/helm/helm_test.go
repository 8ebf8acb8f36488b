package helm

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/yare-io/yare/test/cluster"
)

// world is a cluster with a hollow node, whose pods get ready and end without
// running anything, and a helm beside it.
type world struct {
	*cluster.Node
	t    *testing.T
	home string
}

func newWorld(t *testing.T) *world {
	node := cluster.StartServer(t, cluster.NewLAN(t).NewHost("one"), "--hollow-node", "--storage-backend=memory", "--disable=coredns")
	node.WaitNodeReady("one")
	return &world{Node: node, t: t, home: t.TempDir()}
}

// helm runs helm and returns what it printed, on both outputs if it failed.
func (w *world) helm(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	command := w.Command(ctx, cluster.Binary(w.t, "helm"), args...)
	command.Env = append(os.Environ(), "KUBECONFIG="+w.Kubeconfig(), "HELM_CACHE_HOME="+w.home, "HELM_CONFIG_HOME="+w.home, "HELM_DATA_HOME="+w.home)
	var out, problems bytes.Buffer
	command.Stdout, command.Stderr = &out, &problems
	if err := command.Run(); err != nil {
		return out.String(), fmt.Errorf("helm %s: %w: %s", strings.Join(args, " "), err, problems.String())
	}
	return out.String(), nil
}

func (w *world) must(args ...string) string {
	w.t.Helper()
	out, err := w.helm(args...)
	if err != nil {
		w.t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// refused expects helm to fail for a reason.
func (w *world) refused(reason string, args ...string) {
	w.t.Helper()
	if out, err := w.helm(args...); err == nil || !strings.Contains(err.Error(), reason) {
		w.t.Fatalf("helm %s: want an error with %q, got %v\n%s", strings.Join(args, " "), reason, err, out)
	}
}

// field is a field of an object, by its JSONPath.
func (w *world) field(object, path string) string {
	w.t.Helper()
	return w.MustKubectl("get", object, "-o", "jsonpath={"+path+"}")
}

func (w *world) want(object, path, want string) {
	w.t.Helper()
	if got := w.field(object, path); got != want {
		w.t.Errorf("%s of %s is %q, want %q", path, object, got, want)
	}
}

func (w *world) gone(objects ...string) {
	w.t.Helper()
	if out := w.MustKubectl(append([]string{"get", "--ignore-not-found", "-o", "name"}, objects...)...); out != "" {
		w.t.Errorf("still there: %s", out)
	}
}

// status is the status of a release and its revision.
func (w *world) status(release string) string {
	w.t.Helper()
	var found struct {
		Version int
		Info    struct{ Status string }
	}
	if err := json.Unmarshal([]byte(w.must("status", release, "-o", "json")), &found); err != nil {
		w.t.Fatal(err)
	}
	return fmt.Sprint(found.Info.Status, " ", found.Version)
}

var chart = filepath.Join("testdata", "greeter")

// ready is what --wait waits with.
var ready = []string{"--wait", "--timeout", "60s"}

func TestAReleaseFromInstallToUninstall(t *testing.T) {
	w := newWorld(t)
	w.rendersAgainstTheCluster()
	w.installs()
	w.upgrades()
	w.conflicts()
	w.takesABadUpgradeBack()
	w.rollsBack()
	w.uninstalls()
}

func (w *world) rendersAgainstTheCluster() {
	if out := w.must("template", "web", chart); !strings.Contains(out, `cluster: "none"`) {
		w.t.Errorf("rendered without a cluster:\n%s", out)
	}
	w.MustKubectl("apply", "-f", filepath.Join(chart, "crds"))
	w.MustKubectl("wait", "--for=condition=Established", "crd/greetings.greeter.example.com", "--timeout=20s")
	if out := w.must("template", "web", chart, "--dry-run=server"); !strings.Contains(out, `cluster: "kube-system"`) {
		w.t.Errorf("lookup found nothing:\n%s", out)
	}
	w.MustKubectl("delete", "-f", filepath.Join(chart, "crds"), "--wait")
}

func (w *world) installs() {
	w.must(append([]string{"install", "web", chart}, ready...)...)
	if got := w.status("web"); got != "deployed 1" {
		w.t.Errorf("the release is %s", got)
	}
	w.want("deployment/web", ".status.readyReplicas", "1")
	w.want("greeting/web", ".spec", `{"text":"hello","times":1}`)
	w.want("configmap/web-settings", ".data.cluster", "kube-system")
	for _, hook := range []string{"web-pre-install", "web-post-install"} {
		w.want("pod/"+hook, ".status.phase", "Succeeded")
	}
	if out := w.must("test", "web"); !strings.Contains(out, "Succeeded") {
		w.t.Errorf("helm test:\n%s", out)
	}
	w.refused("cannot reuse a name", "install", "web", chart)
}

func (w *world) upgrades() {
	w.MustKubectl("label", "deployment/web", "team=one")
	w.must(append([]string{"upgrade", "web", chart, "--set", "replicas=3,text=goodbye"}, ready...)...)
	w.want("deployment/web", ".status.readyReplicas", "3")
	w.want("deployment/web", ".metadata.labels.team", "one")
	w.want("greeting/web", ".spec.text", "goodbye")
	w.want("pod/web-post-upgrade", ".status.phase", "Succeeded")
}

// conflicts has somebody else own a field that the chart sets.
func (w *world) conflicts() {
	theirs := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"web-settings"},"data":{"text":"theirs"}}`
	if out, err := w.KubectlInput(theirs, "apply", "--server-side", "--field-manager=others", "--force-conflicts", "-f", "-"); err != nil {
		w.t.Fatalf("%v %s", err, out)
	}
	w.refused(`conflict with "others"`, "upgrade", "web", chart, "--set", "replicas=3,text=ours")
	w.want("configmap/web-settings", ".data.text", "theirs")
	w.must(append([]string{"upgrade", "web", chart, "--set", "replicas=3,text=ours", "--force-conflicts"}, ready...)...)
	w.want("configmap/web-settings", ".data.text", "ours")
}

func (w *world) takesABadUpgradeBack() {
	w.refused("spec.text", append([]string{"upgrade", "web", chart, "--set", "text=", "--rollback-on-failure"}, ready...)...)
	w.want("greeting/web", ".spec.text", "ours")
	w.refused("post-upgrade", append([]string{"upgrade", "web", chart, "--set", "text=late,hookExitCode=3"}, ready...)...)
	if got := w.status("web"); !strings.HasPrefix(got, "failed") {
		w.t.Errorf("after a failed hook the release is %s", got)
	}
}

func (w *world) rollsBack() {
	w.must(append([]string{"rollback", "web", "1"}, ready...)...)
	w.want("deployment/web", ".spec.replicas", "1")
	w.want("greeting/web", ".spec.text", "hello")
	w.want("pod/web-pre-rollback", ".status.phase", "Succeeded")
	if out := w.must("history", "web"); !strings.Contains(out, "Rollback to 1") {
		w.t.Errorf("history:\n%s", out)
	}
}

func (w *world) uninstalls() {
	w.must(append([]string{"uninstall", "web"}, ready...)...)
	w.gone("deployment/web", "service/web", "greeting/web", "configmap/web-settings")
	w.want("pod/web-pre-delete", ".status.phase", "Succeeded")
	w.want("configmap/web-kept", ".metadata.name", "web-kept")
	w.want("crd/greetings.greeter.example.com", ".metadata.name", "greetings.greeter.example.com")
	if out := w.must("list", "-q"); strings.TrimSpace(out) != "" {
		w.t.Errorf("releases left: %s", out)
	}
}

// TestThreeWayMerge is how helm changed objects before server-side apply, and
// still does for releases that began so.
func TestThreeWayMerge(t *testing.T) {
	w := newWorld(t)
	w.must(append([]string{"install", "old", chart, "--server-side=false"}, ready...)...)
	w.MustKubectl("scale", "deployment/old", "--replicas=2")
	w.MustKubectl("patch", "configmap/old-settings", "--type=merge", "-p", `{"data":{"more":"kept"}}`)
	w.must(append([]string{"upgrade", "old", chart, "--server-side=false", "--set", "text=goodbye"}, ready...)...)
	// The chart says 1 as before: the merge sees that the cluster differs.
	w.want("deployment/old", ".spec.replicas", "1")
	w.want("configmap/old-settings", ".data.more", "kept")
	w.want("configmap/old-settings", ".data.text", "goodbye")
	w.want("greeting/old", ".spec", `{"text":"goodbye","times":1}`)
	w.must(append([]string{"uninstall", "old"}, ready...)...)
	w.gone("deployment/old", "greeting/old")
}
