package aggregation

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/yare-io/yare/test/cluster"
)

const (
	sampleUser = "sample-apiserver"
	samplePort = 8443
	etcdURL    = "http://127.0.0.1:2379"

	// what the sample's admission and flow control read
	sampleRole = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: sample-apiserver}
rules:
  - {apiGroups: [""], resources: [namespaces], verbs: [get, list, watch]}
  - {apiGroups: [admissionregistration.k8s.io], resources: ["*"], verbs: [get, list, watch]}
  - {apiGroups: [flowcontrol.apiserver.k8s.io], resources: ["*"], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: sample-apiserver}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: sample-apiserver}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: sample-apiserver}]
`
	flunder = `
apiVersion: wardle.example.com/v1alpha1
kind: Flunder
metadata: {name: one, labels: {colour: red}}
spec: {reference: other}
`
)

// startSample runs Kubernetes' example of an aggregated server, on an etcd of
// its own.
func (w *world) startSample() *cluster.Part {
	w.t.Helper()
	w.delegate(sampleUser)
	w.apply(sampleRole)
	pair := w.expose("sample", samplePort)
	w.StartPart("etcd", "--data-dir="+w.dir+"/etcd", "--listen-client-urls="+etcdURL, "--advertise-client-urls="+etcdURL, "--unsafe-no-fsync")
	config := w.kubeconfig(sampleUser)
	sample := w.StartPart(cluster.Binary(w.t, "sample-apiserver"),
		"--secure-port="+strconv.Itoa(samplePort), "--bind-address="+w.Address.String(),
		"--tls-cert-file="+pair.CertFile, "--tls-private-key-file="+pair.KeyFile, "--etcd-servers="+etcdURL,
		"--kubeconfig="+config, "--authentication-kubeconfig="+config, "--authorization-kubeconfig="+config)
	for _, version := range []string{"v1alpha1", "v1beta1"} {
		w.register("sample", "wardle.example.com", version)
	}
	return sample
}

// passed is the reason of a condition that is well.
const passed = "Passed"

// available waits until the health of a service has a reason.
func (w *world) available(service, reason string) {
	w.t.Helper()
	w.says(reason, "get", "apiservice", service, "-o", `jsonpath={.status.conditions[?(@.type=="Available")]}`)
}

func TestTheSampleServer(t *testing.T) {
	w := newWorld(t)
	sample := w.startSample()
	w.available("v1alpha1.wardle.example.com", passed)
	w.available("v1beta1.wardle.example.com", passed)
	w.isDiscovered()
	w.isUsed()
	w.isWatched()
	w.asksWhoMayDoWhat()
	w.losesObjectsWithTheirNamespace()
	sample.Kill()
	w.doesNotDisturbOthersWhenItIsGone()
}

func (w *world) isDiscovered() {
	w.says("flunders", "api-resources", "--api-group=wardle.example.com")
	w.says("wardle.example.com/v1beta1", "api-versions")
	w.says("FIELDS", "explain", "flunders.spec", "--api-version=wardle.example.com/v1alpha1")
	w.says("disallowedFlunders", "explain", "fischers")
	w.Eventually(40*time.Second, func(context.Context) error { return w.inOpenAPI2("wardle") })
}

// inOpenAPI2 looks for a group in the one document of OpenAPI 2, beside the
// server's own.
func (w *world) inOpenAPI2(group string) error {
	raw, err := w.Kubectl("get", "--raw", "/openapi/v2")
	if err != nil {
		return err
	}
	var document struct {
		Paths       map[string]any
		Definitions map[string]any
	}
	if err := json.Unmarshal([]byte(raw), &document); err != nil {
		return err
	}
	theirs, ours := 0, 0
	for path := range document.Paths {
		if strings.HasPrefix(path, "/apis/"+group) {
			theirs++
		}
		if strings.HasPrefix(path, "/apis/apps/v1") {
			ours++
		}
	}
	if theirs == 0 || ours == 0 || document.Definitions["io.k8s.api.apps.v1.Deployment"] == nil {
		return errors.New("OpenAPI 2 does not have " + group + " beside the server's own groups")
	}
	return nil
}

func (w *world) isUsed() {
	w.apply(flunder)
	w.says("one", "get", "flunders")
	w.says("one", "get", "flunders.v1beta1.wardle.example.com", "-l", "colour=red", "-o", "name")
	w.says("CREATED AT", "get", "flunders", "-o", "wide")
	w.MustKubectl("label", "flunder/one", "size=small")
	w.MustKubectl("patch", "flunders.v1alpha1.wardle.example.com/one", "--type=merge", "-p", `{"spec":{"reference":"another"}}`)
	w.says("another", "get", "flunders.v1beta1.wardle.example.com/one", "-o", "jsonpath={.spec.flunderReference}")
	w.says("Reference", "describe", "flunder/one")
	if out, err := w.KubectlInput(strings.Replace(flunder, "other", "applied", 1), "apply", "--server-side", "--force-conflicts", "-f", "-"); err != nil || !strings.Contains(out, "serverside-applied") {
		w.t.Errorf("server-side apply: %v %s", err, out)
	}
	// The sample validates, and its admission plugin bans names.
	bad := "apiVersion: wardle.example.com/v1beta1\nkind: Flunder\nmetadata: {name: bad}\nspec: {flunderReference: a, fischerReference: b, referenceType: Flunder}\n"
	if out, err := w.KubectlInput(bad, "create", "-f", "-"); err == nil || !strings.Contains(err.Error(), "cannot be set with flunderReference") {
		w.t.Errorf("a flunder that refers to two things: %v %s", err, out)
	}
	w.apply("apiVersion: wardle.example.com/v1alpha1\nkind: Fischer\nmetadata: {name: censor}\ndisallowedFlunders: [banned]\n")
	w.Eventually(20*time.Second, func(context.Context) error {
		out, err := w.KubectlInput(strings.Replace(flunder, "name: one", "name: banned", 1), "create", "--dry-run=server", "-f", "-")
		if err == nil || !strings.Contains(err.Error(), "this name may not be used") {
			return errors.New("the sample's admission did not refuse: " + out)
		}
		return nil
	})
}

func (w *world) isWatched() {
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	watch := w.Command(ctx, cluster.Binary(w.t, "kubectl"), "--kubeconfig="+w.Kubeconfig(), "get", "flunders", "-w", "--output-watch-events", "--no-headers")
	lines, err := watch.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := watch.Start(); err != nil {
		w.t.Fatal(err)
	}
	seen := make([]byte, 0, 4096)
	until := func(want string) {
		for !strings.Contains(string(seen), want) {
			part := make([]byte, 1024)
			n, err := lines.Read(part)
			if err != nil {
				w.t.Fatalf("the watch ended before %q: %v\n%s", want, err, seen)
			}
			seen = append(seen, part[:n]...)
		}
	}
	until("ADDED")
	w.MustKubectl("label", "flunder/one", "size=large", "--overwrite")
	until("MODIFIED")
	w.MustKubectl("delete", "flunder/one")
	until("DELETED")
	cancel()
	_ = watch.Wait()
}

// asksWhoMayDoWhat lets the sample ask the API server about a user and rights.
func (w *world) asksWhoMayDoWhat() {
	w.refused(`flunders.wardle.example.com is forbidden: User "jane"`, "get", "flunders", "--as=jane")
	w.MustKubectl("create", "clusterrole", "flunders", "--verb=get,list", "--resource=flunders.wardle.example.com")
	w.MustKubectl("create", "clusterrolebinding", "flunders", "--clusterrole=flunders", "--user=jane")
	// What the sample was told before, it believes for some seconds.
	w.says("yes", "auth", "can-i", "list", "flunders.wardle.example.com", "--as=jane")
	w.Eventually(40*time.Second, func(context.Context) error { _, err := w.Kubectl("get", "flunders", "--as=jane"); return err })
	w.refused("forbidden", "delete", "flunder/none", "--as=jane")
}

func (w *world) losesObjectsWithTheirNamespace() {
	w.MustKubectl("create", "namespace", "short-lived")
	if out, err := w.KubectlInput(flunder, "create", "-n", "short-lived", "-f", "-"); err != nil {
		w.t.Fatalf("%v %s", err, out)
	}
	w.MustKubectl("delete", "namespace", "short-lived", "--timeout=60s")
	w.MustKubectl("create", "namespace", "short-lived")
	if out := w.MustKubectl("get", "flunders", "-n", "short-lived", "-o", "name"); out != "" {
		w.t.Errorf("outlived its namespace: %s", out)
	}
}

func (w *world) doesNotDisturbOthersWhenItIsGone() {
	// A request makes the server look again sooner than by itself.
	w.refused("", "get", "flunders")
	w.available("v1alpha1.wardle.example.com", "FailedDiscoveryCheck")
	w.silent()
	w.says("deployments", "api-resources", "--api-group=apps")
	w.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: still}\n")
	w.says("KIND", "explain", "deployments")
	w.says("still", "get", "configmaps")
	if err := w.inOpenAPI2("apps"); err != nil {
		w.t.Error(err)
	}
}

// silent registers a server that takes connections and never answers.
func (w *world) silent() {
	listener := w.listen("8444")
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			w.t.Cleanup(func() { _ = conn.Close() })
		}
	}()
	w.t.Cleanup(func() { _ = listener.Close() })
	w.expose("silent", 8444)
	w.register("silent", "silent.example.com", "v1")
	w.available("v1.silent.example.com", "FailedDiscoveryCheck")
}

func (w *world) listen(port string) net.Listener {
	w.t.Helper()
	listener, err := w.Listen(net.JoinHostPort(w.Address.String(), port))
	if err != nil {
		w.t.Fatal(err)
	}
	return listener
}
