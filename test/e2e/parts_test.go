package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/yare-io/yare/cmd/yare/pki"
	"github.com/yare-io/yare/test/cluster"
)

// TestPartsAlone puts a cluster together by hand, from an etcd of Debian's and
// the parts of Kubernetes under their own names, each a process with its own
// kubeconfig, and runs a Deployment on it.
func TestPartsAlone(t *testing.T) {
	etcd, err := exec.LookPath("etcd")
	if err != nil {
		t.Skipf("%v: scripts/install-test.sh installs it", err)
	}
	host := cluster.NewLAN(t).NewHost("one")
	p := &partsTest{etcd: etcd, node: cluster.NewParts(t, host)}
	for _, step := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"keys", p.makeKeys},
		{"etcd and kube-apiserver", p.startAPIServer},
		{"kube-controller-manager and kube-scheduler", p.startControlPlane},
		{"kubelet and kube-proxy", p.startNode},
		{"a deployment and its service", p.deploy},
		{"health and metrics ports", p.ports},
		{"another controller manager takes over", p.failOver},
	} {
		// Not t.Run: what a step starts lives until the end of the test.
		begin := time.Now()
		step.run(t)
		t.Logf("%s: %s", step.name, time.Since(begin).Round(time.Millisecond))
		if t.Failed() {
			t.FailNow()
		}
	}
}

type partsTest struct {
	etcd     string
	node     *cluster.Node
	keys     *pki.Cluster
	managers map[string]*cluster.Part // by secure port
	url      string
}

func (p *partsTest) key(name string) string { return filepath.Join(p.keys.Dir, name) }

func (p *partsTest) makeKeys(t *testing.T) {
	address := p.node.Address.String()
	var err error
	if p.keys, err = pki.LoadCluster(filepath.Join(p.node.DataDir, "pki"), []string{address, "127.0.0.1", "10.96.0.1", "kubernetes.default.svc"}); err != nil {
		t.Fatal(err)
	}
	etcdCA, err := pki.LoadAuthority(p.keys.Dir, "etcd-ca", "etcd-ca")
	if err != nil {
		t.Fatal(err)
	}
	for authority, profiles := range map[*pki.Authority][]pki.Profile{
		etcdCA: {
			{Name: "etcd-server", User: "etcd", Hosts: []string{"127.0.0.1"}, Client: true},
			{Name: "apiserver-etcd-client", User: "kube-apiserver-etcd-client"},
		},
		p.keys.CA: {{Name: "kubelet", User: "system:node:one", Groups: []string{"system:nodes"}, Hosts: []string{"one", address}}},
	} {
		for _, profile := range profiles {
			if _, err := authority.Ensure(p.keys.Dir, profile); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := pki.WriteKubeconfig(p.node.Kubeconfig(), p.node.URL(), "admin", p.keys.CA, p.keys.Admin); err != nil {
		t.Fatal(err)
	}
}

func (p *partsTest) startAPIServer(t *testing.T) {
	const clients = "https://127.0.0.1:2379"
	p.node.StartPart(p.etcd,
		"--data-dir="+filepath.Join(p.node.DataDir, "etcd"), "--listen-client-urls="+clients, "--advertise-client-urls="+clients,
		"--client-cert-auth", "--trusted-ca-file="+p.key("etcd-ca.crt"), "--cert-file="+p.key("etcd-server.crt"), "--key-file="+p.key("etcd-server.key"))
	p.node.StartPart("kube-apiserver",
		"--etcd-servers="+clients, "--etcd-cafile="+p.key("etcd-ca.crt"),
		"--etcd-certfile="+p.key("apiserver-etcd-client.crt"), "--etcd-keyfile="+p.key("apiserver-etcd-client.key"),
		"--advertise-address="+p.node.Address.String(), "--service-cluster-ip-range=10.96.0.0/12",
		"--client-ca-file="+p.key("ca.crt"), "--requestheader-client-ca-file="+p.key("front-proxy-ca.crt"),
		"--tls-cert-file="+p.key("apiserver.crt"), "--tls-private-key-file="+p.key("apiserver.key"),
		"--service-account-signing-key-file="+p.key("sa.key"),
		"--kubelet-client-certificate="+p.key("apiserver-kubelet-client.crt"), "--kubelet-client-key="+p.key("apiserver-kubelet-client.key"),
		"--kubelet-certificate-authority="+p.key("ca.crt"))
	p.node.Eventually(60*time.Second, func(ctx context.Context) error {
		return p.node.Client().CoreV1().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
}

func (p *partsTest) startControlPlane(t *testing.T) {
	p.managers = map[string]*cluster.Part{}
	for _, port := range []string{"10257", "10267"} {
		p.managers[port] = p.node.StartPart("kube-controller-manager",
			"--kubeconfig="+p.node.WriteKubeconfig(p.keys, "system:kube-controller-manager"), "--secure-port="+port,
			"--use-service-account-credentials", "--root-ca-file="+p.key("ca.crt"),
			"--cluster-signing-cert-file="+p.key("ca.crt"), "--cluster-signing-key-file="+p.key("ca.key"),
			"--allocate-node-cidrs", "--cluster-cidr=10.244.0.0/16", "--service-cluster-ip-range=10.96.0.0/12",
			"--leader-elect-lease-duration=4s", "--leader-elect-renew-deadline=3s", "--leader-elect-retry-period=500ms")
	}
	p.node.StartPart("kube-scheduler", "--kubeconfig="+p.node.WriteKubeconfig(p.keys, "system:kube-scheduler"))
}

func (p *partsTest) startNode(t *testing.T) {
	endpoint := p.node.StartContainerd("10.244.0.0/24")
	p.node.StartPart("kubelet",
		"--kubeconfig="+p.node.WriteKubeconfig(p.keys, "system:node:one", "system:nodes"),
		"--config="+writeFile(t, p.node.DataDir, "kubelet.yaml", fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupRoot: %s
podLogsDir: %s/pod-logs
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
authentication: {x509: {clientCAFile: %s}}
`, p.node.CgroupRoot(), p.node.DataDir, p.key("ca.crt"))),
		"--root-dir="+filepath.Join(p.node.DataDir, "kubelet"), "--container-runtime-endpoint="+endpoint,
		"--hostname-override=one", "--node-ip="+p.node.Address.String(),
		"--tls-cert-file="+p.key("kubelet.crt"), "--tls-private-key-file="+p.key("kubelet.key"))
	p.node.StartPart("kube-proxy",
		"--kubeconfig="+p.node.WriteKubeconfig(p.keys, "system:kube-proxy"), "--hostname-override=one", "--cluster-cidr=10.244.0.0/16")
	p.node.WaitNodeReady("one")
}

func (p *partsTest) deploy(t *testing.T) {
	createDemo(t, p.node, 2, func(*corev1.PodSpec) {})
	p.ready(2)
	p.url = exposeDemo(t, p.node)
	p.node.Eventually(30*time.Second, func(ctx context.Context) error {
		_, err := get(ctx, p.node, p.url)
		return err
	})
	pods, _, err := demoPods(t.Context(), p.node)
	if err != nil {
		t.Fatal(err)
	}
	if out := p.node.MustKubectl("logs", pods[0].Name); !strings.Contains(out, "listens on") {
		t.Errorf("logs are %q", out)
	}
	if out := p.node.MustKubectl("exec", pods[0].Name, "--", "/bin/demo", "--help"); !strings.Contains(out, "demo answers HTTP") {
		t.Errorf("exec prints %q", out)
	}
	accounts := p.node.MustKubectl("get", "serviceaccounts", "-n", "kube-system", "-o", "name")
	if !strings.Contains(accounts, "serviceaccount/replicaset-controller\n") {
		t.Errorf("the controllers have no accounts of their own: %s", accounts)
	}
}

func (p *partsTest) ready(replicas int) {
	p.node.Eventually(90*time.Second, func(ctx context.Context) error {
		pods, ready, err := demoPods(ctx, p.node)
		if err == nil && (len(pods) != replicas || ready["one"] != replicas) {
			err = fmt.Errorf("%d pods, ready on %v, want %d", len(pods), ready, replicas)
		}
		return err
	})
}

// ports checks what each part says of itself, and to whom.
func (p *partsTest) ports(t *testing.T) {
	admin := tlsClient(p.node, p.keys.Admin.GetClientCertificate)
	stranger, err := p.keys.CA.Ensure(p.keys.Dir, pki.Profile{Name: "stranger", User: "stranger"})
	if err != nil {
		t.Fatal(err)
	}
	anonymous, unknown := tlsClient(p.node, nil), tlsClient(p.node, stranger.GetClientCertificate)
	check := func(client *http.Client, url string, code int, contains string) {
		t.Helper()
		response, err := client.Get(url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			return
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != code || !strings.Contains(string(body), contains) {
			t.Errorf("%s: %d %.200q, %v; want %d with %q", url, response.StatusCode, body, err, code, contains)
		}
	}
	check(anonymous, "http://127.0.0.1:10248/healthz", 200, "ok")
	check(anonymous, "http://127.0.0.1:10248/pods", 404, "")
	check(anonymous, "http://127.0.0.1:10256/healthz", 200, "nodeEligible")
	check(anonymous, "http://127.0.0.1:10256/livez", 200, "nodeEligible")
	check(anonymous, "http://127.0.0.1:10249/metrics", 200, "kubeproxy_sync_proxy_rules_duration_seconds")
	for port, metric := range map[string]string{"10257": "workqueue_depth", "10259": "scheduler_"} {
		url := "https://127.0.0.1:" + port
		for _, path := range []string{"/healthz", "/livez", "/readyz", "/healthz?verbose"} {
			check(anonymous, url+path, 200, "ok")
		}
		check(anonymous, url+"/metrics", 401, "Unauthorized")
		check(unknown, url+"/metrics", 403, `User "stranger" cannot get path "/metrics"`)
		p.node.Eventually(30*time.Second, func(context.Context) error { // the authority is read now and then
			response, err := admin.Get(url + "/metrics")
			if err == nil && response.StatusCode != 200 {
				err = fmt.Errorf("/metrics: %s", response.Status)
			}
			return err
		})
		check(admin, url+"/metrics", 200, metric)
		check(admin, url+"/metrics", 200, "process_resident_memory_bytes")
		check(admin, url+"/configz", 200, "config.k8s.io")
	}
	check(admin, "https://127.0.0.1:10259/healthz/leaderElection", 200, "ok")
}

func tlsClient(node *cluster.Node, certificate func(*tls.CertificateRequestInfo) (*tls.Certificate, error)) *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DialContext: node.DialContext, DisableKeepAlives: true,
		// The ports prove themselves with certificates of their own making.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, GetClientCertificate: certificate},
	}}
}

// failOver kills the controller manager that leads.
func (p *partsTest) failOver(t *testing.T) {
	leases := p.node.Client().CoordinationV1().Leases(metav1.NamespaceSystem)
	holder := func(ctx context.Context) (string, error) {
		lease, err := leases.Get(ctx, "kube-controller-manager", metav1.GetOptions{})
		if err != nil || lease.Spec.HolderIdentity == nil {
			return "", err
		}
		return *lease.Spec.HolderIdentity, nil
	}
	before, err := holder(t.Context())
	if err != nil || before == "" {
		t.Fatalf("nobody leads: %v", err)
	}
	p.leader(t).Kill()
	p.node.MustKubectl("scale", "deployment/web", "--replicas=3")
	begin := time.Now()
	p.ready(3)
	after, err := holder(t.Context())
	if err != nil || after == before || after == "" {
		t.Errorf("the lease was held by %q and now by %q: %v", before, after, err)
	}
	t.Logf("a pod more was ready %s after the leader was killed", time.Since(begin).Round(time.Millisecond))
}

// leader is the controller manager whose work queues have seen work.
func (p *partsTest) leader(t *testing.T) *cluster.Part {
	t.Helper()
	admin := tlsClient(p.node, p.keys.Admin.GetClientCertificate)
	for port, part := range p.managers {
		response, err := admin.Get("https://127.0.0.1:" + port + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(body), `workqueue_adds_total{name="deployment"}`) {
			return part
		}
	}
	t.Fatal("no controller manager has work queues")
	return nil
}

func writeFile(t *testing.T, dir, name, content string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
