package aggregation

import (
	"os"
	"strconv"
	"testing"

	"github.com/yare-io/yare/test/cluster"
)

const (
	metricsUser = "metrics-server"
	metricsPort = 4443

	metricsRole = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: metrics-server}
rules:
  - {apiGroups: [""], resources: [nodes/metrics], verbs: [get]}
  - {apiGroups: [""], resources: [pods, nodes], verbs: [get, list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: metrics-server}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: metrics-server}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: metrics-server}]
`
	// busyPod uses what it says on a hollow node.
	busyPod = `
apiVersion: v1
kind: Pod
metadata:
  name: busy
  annotations: {hollow.yare.io/cpu: 250m, hollow.yare.io/memory: 64Mi}
spec: {containers: [{name: main, image: "yare.local/demo:v1"}]}
`
)

// TestTheMetricsServer lets kubectl top show what the metrics server has read
// from the node.
func TestTheMetricsServer(t *testing.T) {
	if os.Getenv("YARE_TEST_METRICS_SERVER") == "" {
		t.Skip("building the metrics server takes minutes: make bin/metrics-server, and set YARE_TEST_METRICS_SERVER=1")
	}
	w := newWorld(t)
	w.apply(busyPod)
	w.delegate(metricsUser)
	w.apply(metricsRole)
	pair := w.expose("metrics-server", metricsPort)
	config := w.kubeconfig(metricsUser)
	server := w.StartPart(cluster.Binary(t, "metrics-server"),
		"--secure-port="+strconv.Itoa(metricsPort), "--bind-address="+w.Address.String(),
		"--tls-cert-file="+pair.CertFile, "--tls-private-key-file="+pair.KeyFile,
		"--kubeconfig="+config, "--authentication-kubeconfig="+config, "--authorization-kubeconfig="+config,
		"--kubelet-preferred-address-types=InternalIP", "--kubelet-use-node-status-port",
		"--kubelet-certificate-authority="+w.DataDir+"/pki/ca.crt", "--metric-resolution=10s", "--kubelet-request-timeout=5s")
	w.register("metrics-server", "metrics.k8s.io", "v1beta1")
	w.available("v1beta1.metrics.k8s.io", passed)
	w.says("one", "top", "nodes", "--no-headers")
	w.says("64Mi", "top", "pod", "busy", "--no-headers")
	w.says("250m", "top", "pod", "busy", "--containers", "--no-headers")
	w.says("containers", "get", "--raw", "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods")
	w.refused("forbidden", "top", "pods", "--as=jane")
	server.Kill()
}
