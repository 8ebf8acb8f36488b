package aggregation

import (
	"context"
	"encoding/base64"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/yare-io/yare/cmd/yare/pki"
	"github.com/yare-io/yare/test/cluster"
)

// namespace is where the servers of others have their services.
const namespace = "others"

// world is a cluster with a hollow node, and room for other servers beside it.
type world struct {
	*cluster.Node
	t *testing.T
	// authority vouches for what others serve with.
	authority *pki.Authority
	dir       string
}

func newWorld(t *testing.T) *world {
	node := cluster.StartServer(t, cluster.NewLAN(t).NewHost("one"), "--hollow-node", "--storage-backend=memory", "--disable=coredns")
	w := &world{Node: node, t: t, dir: t.TempDir()}
	var err error
	if w.authority, err = pki.LoadAuthority(w.dir, "others-ca", "others"); err != nil {
		t.Fatal(err)
	}
	node.WaitNodeReady("one")
	w.MustKubectl("create", "namespace", namespace)
	return w
}

// kubeconfig is a file for a program that acts as a user.
func (w *world) kubeconfig(user string) string {
	w.t.Helper()
	authority, err := pki.LoadAuthority(filepath.Join(w.DataDir, "pki"), "ca", "kubernetes")
	if err != nil {
		w.t.Fatal(err)
	}
	pair, err := authority.Ensure(w.dir, pki.Profile{Name: user, User: user})
	if err != nil {
		w.t.Fatal(err)
	}
	file := filepath.Join(w.dir, user+".kubeconfig")
	if err := pki.WriteKubeconfig(file, w.URL(), user, authority, pair); err != nil {
		w.t.Fatal(err)
	}
	return file
}

// expose gives a program on this host a service, and returns what it serves
// with.
func (w *world) expose(name string, port int) *pki.KeyPair {
	w.t.Helper()
	pair, err := w.authority.Ensure(w.dir, pki.Profile{Name: "serving-" + name, User: name, Hosts: []string{name + "." + namespace + ".svc"}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.apply(fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: %[1]s, namespace: %[2]s}
spec: {ports: [{name: https, port: 443, targetPort: %[3]d}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %[1]s-1, namespace: %[2]s, labels: {kubernetes.io/service-name: %[1]s}}
addressType: IPv4
ports: [{name: https, port: %[3]d, protocol: TCP}]
endpoints: [{addresses: [%[4]s], conditions: {ready: true}}]
`, name, namespace, port, w.Address))
	return pair
}

// register hands a group and version over to a service.
func (w *world) register(service, group, version string) {
	w.t.Helper()
	w.apply(fmt.Sprintf(`
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: %[3]s.%[2]s}
spec:
  group: %[2]s
  version: %[3]s
  groupPriorityMinimum: 1000
  versionPriority: 15
  caBundle: %[4]s
  service: {name: %[1]s, namespace: %[5]s}
`, service, group, version, base64.StdEncoding.EncodeToString(w.authority.PEM()), namespace))
}

// delegate lets a user ask the API server who callers are and what they may,
// as servers of others do.
func (w *world) delegate(user string) {
	w.t.Helper()
	w.MustKubectl("create", "clusterrolebinding", user+":delegates", "--clusterrole=system:auth-delegator", "--user="+user)
	w.MustKubectl("create", "rolebinding", user+":reads", "-n", "kube-system", "--role=extension-apiserver-authentication-reader", "--user="+user)
}

func (w *world) apply(manifest string) {
	w.t.Helper()
	if out, err := w.KubectlInput(manifest, "apply", "-f", "-"); err != nil {
		w.t.Fatalf("%v\n%s", err, out)
	}
}

// says waits until kubectl prints something.
func (w *world) says(want string, args ...string) {
	w.t.Helper()
	w.Eventually(40*time.Second, func(context.Context) error {
		out, err := w.Kubectl(args...)
		if err != nil || !strings.Contains(out, want) {
			return fmt.Errorf("kubectl %s: want %q, got %v %s", strings.Join(args, " "), want, err, out)
		}
		return nil
	})
}

// refused expects kubectl to fail for a reason.
func (w *world) refused(reason string, args ...string) {
	w.t.Helper()
	if out, err := w.Kubectl(args...); err == nil || !strings.Contains(err.Error(), reason) {
		w.t.Errorf("kubectl %s: want an error with %q, got %v %s", strings.Join(args, " "), reason, err, out)
	}
}
