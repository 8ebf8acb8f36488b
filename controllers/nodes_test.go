package controllers_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/yare-io/yare/controllers"
	"github.com/yare-io/yare/controllers/podstatus"
)

func newNode(name string) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status: corev1.NodeStatus{
			Addresses:  []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.7"}, {Type: corev1.NodeHostName, Address: name}},
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.Now()}},
		},
	}
}

// A node that falls silent is marked, tainted and cleared; when it reports
// again, it is as before. The other node stays as it is.
func TestSilentNodeIsClearedAndComesBack(t *testing.T) {
	c := newCluster(t)
	ctx := t.Context()
	for _, name := range []string{"alive", "lost"} {
		if _, err := c.client.CoreV1().Nodes().Create(ctx, newNode(name), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	c.startPod("worker", "lost")
	c.startManager(controllers.Config{
		Controllers:  []string{"nodelifecycle", "taint-eviction", "nodeipam"},
		ClusterCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")},
		Node:         controllers.NodeLifecycle{MonitorPeriod: 20 * time.Millisecond, GracePeriod: 2 * time.Second},
	})
	beat := c.heartbeats("alive")
	c.eventually("the lost node is doubted and tainted", func() error {
		beat()
		node, err := c.client.CoreV1().Nodes().Get(ctx, "lost", metav1.GetOptions{})
		if err != nil {
			return err
		}
		ready := node.Status.Conditions[0]
		if ready.Status != corev1.ConditionUnknown || ready.Reason != "NodeStatusUnknown" || ready.Message != "Kubelet stopped posting node status." {
			return fmt.Errorf("ready is %v", ready)
		}
		return wantTaints(node, "node.kubernetes.io/unreachable:NoSchedule", "node.kubernetes.io/unreachable:NoExecute")
	})
	c.eventually("its pod is evicted", func() error {
		beat()
		pod, err := c.client.CoreV1().Pods("default").Get(ctx, "worker", metav1.GetOptions{})
		if err != nil {
			return err
		}
		ready := podstatus.Condition(pod, corev1.PodReady)
		why := podstatus.Condition(pod, corev1.DisruptionTarget)
		if pod.DeletionTimestamp == nil || ready.Status != corev1.ConditionFalse || why == nil || why.Reason != "DeletionByTaintManager" {
			return fmt.Errorf("it is deleted at %v, conditions %v", pod.DeletionTimestamp, pod.Status.Conditions)
		}
		return nil
	})
	back := c.heartbeats("lost")
	c.eventually("the node is free of taints when it is back", func() error {
		beat()
		back()
		for _, name := range []string{"alive", "lost"} {
			node, err := c.client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if err := wantTaints(node); err != nil {
				return err
			}
		}
		return nil
	})
	c.wantCIDRs()
}

// startPod makes a pod run on the node, and tolerate its loss for no time.
func (c *cluster) startPod(name, node string) {
	c.Helper()
	none := int64(0)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PodSpec{
			NodeName: node, Containers: []corev1.Container{{Name: "c", Image: "demo:v1"}},
			Tolerations: []corev1.Toleration{
				{Key: corev1.TaintNodeUnreachable, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: &none},
			},
		},
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	if _, err := c.client.CoreV1().ServiceAccounts("default").Create(c.Context(), account, metav1.CreateOptions{}); err != nil {
		c.Fatal(err)
	}
	created, err := c.client.CoreV1().Pods("default").Create(c.Context(), pod, metav1.CreateOptions{})
	if err != nil {
		c.Fatal(err)
	}
	created.Status.Phase = corev1.PodRunning
	created.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	if _, err := c.client.CoreV1().Pods("default").UpdateStatus(c.Context(), created, metav1.UpdateOptions{}); err != nil {
		c.Fatal(err)
	}
}

func wantTaints(node *corev1.Node, wanted ...string) error {
	var have []string
	for _, taint := range node.Spec.Taints {
		have = append(have, taint.Key+":"+string(taint.Effect))
	}
	slices.Sort(have)
	slices.Sort(wanted)
	if !slices.Equal(have, wanted) {
		return fmt.Errorf("node %s has taints %v", node.Name, have)
	}
	return nil
}

func (c *cluster) wantCIDRs() {
	c.Helper()
	seen := map[string]bool{}
	nodes, err := c.client.CoreV1().Nodes().List(c.Context(), metav1.ListOptions{})
	if err != nil {
		c.Fatal(err)
	}
	for _, node := range nodes.Items {
		if node.Spec.PodCIDR == "" || seen[node.Spec.PodCIDR] || !slices.Equal(node.Spec.PodCIDRs, []string{node.Spec.PodCIDR}) {
			c.Errorf("node %s has %q, %v", node.Name, node.Spec.PodCIDR, node.Spec.PodCIDRs)
		}
		seen[node.Spec.PodCIDR] = true
	}
}

// heartbeats returns a function that reports the node as ready.
func (c *cluster) heartbeats(name string) func() {
	n := 0
	return func() {
		n++
		node, err := c.client.CoreV1().Nodes().Get(c.Context(), name, metav1.GetOptions{})
		if err != nil {
			return
		}
		node.Status.Conditions = newNode(name).Status.Conditions
		node.Status.Conditions[0].LastHeartbeatTime = metav1.NewTime(time.Now().Add(time.Duration(n) * time.Second))
		_, _ = c.client.CoreV1().Nodes().UpdateStatus(c.Context(), node, metav1.UpdateOptions{})
	}
}

func newCA(t *testing.T) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(10 * 365 * 24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, key
}

// request asks, as somebody, for a certificate in the name of a node.
func (c *cluster) request(name, signer, username, group string, template x509.CertificateRequest, usage certificatesv1.KeyUsage) {
	c.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.Fatal(err)
	}
	template.Subject = pkix.Name{CommonName: "system:node:joined", Organization: []string{"system:nodes"}}
	der, err := x509.CreateCertificateRequest(rand.Reader, &template, key)
	if err != nil {
		c.Fatal(err)
	}
	asker := c.as(username, group)
	c.eventually(username+" may ask", func() error {
		_, err := asker.CertificatesV1().CertificateSigningRequests().Create(c.Context(), &certificatesv1.CertificateSigningRequest{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: certificatesv1.CertificateSigningRequestSpec{
				Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), SignerName: signer,
				Usages: []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, usage},
			},
		}, metav1.CreateOptions{})
		return err
	})
}

// issued waits for the request's certificate.
func (c *cluster) issued(name string) *x509.Certificate {
	c.Helper()
	var certificate *x509.Certificate
	c.eventually("request "+name+" is signed", func() error {
		csr, err := c.client.CertificatesV1().CertificateSigningRequests().Get(c.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		block, _ := pem.Decode(csr.Status.Certificate)
		if block == nil {
			return fmt.Errorf("conditions are %v", csr.Status.Conditions)
		}
		certificate, err = x509.ParseCertificate(block.Bytes)
		return err
	})
	return certificate
}

func TestJoiningNodeGetsItsCertificates(t *testing.T) {
	c := newCluster(t)
	certificate, key := newCA(t)
	ca := controllers.StaticCA(certificate, key)
	if _, err := c.client.CoreV1().Nodes().Create(t.Context(), newNode("joined"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.startManager(controllers.Config{
		Controllers:    []string{"csrapproving", "csrsigning"},
		ApproveServing: true,
		Signing: controllers.Signing{Signers: map[string]controllers.CA{
			certificatesv1.KubeAPIServerClientKubeletSignerName: ca, certificatesv1.KubeletServingSignerName: ca,
		}},
	})
	c.request("client", certificatesv1.KubeAPIServerClientKubeletSignerName, "system:bootstrap:abcdef", "system:bootstrappers", x509.CertificateRequest{}, certificatesv1.UsageClientAuth)
	c.request("stranger", certificatesv1.KubeAPIServerClientKubeletSignerName, "mallory", "nobodies", x509.CertificateRequest{}, certificatesv1.UsageClientAuth)
	c.request("serving", certificatesv1.KubeletServingSignerName, "system:node:joined", "system:nodes",
		x509.CertificateRequest{DNSNames: []string{"joined"}, IPAddresses: []net.IP{net.ParseIP("192.0.2.7")}}, certificatesv1.UsageServerAuth)
	c.request("foreign", certificatesv1.KubeletServingSignerName, "system:node:joined", "system:nodes",
		x509.CertificateRequest{DNSNames: []string{"kubernetes.default"}}, certificatesv1.UsageServerAuth)

	pool := x509.NewCertPool()
	pool.AddCert(certificate)
	client := c.issued("client")
	if _, err := client.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil || client.IsCA {
		t.Errorf("client certificate: %v", err)
	}
	if _, err := c.issued("serving").Verify(x509.VerifyOptions{Roots: pool, DNSName: "joined"}); err != nil {
		t.Errorf("serving certificate: %v", err)
	}
	for _, name := range []string{"stranger", "foreign"} {
		csr, err := c.client.CertificatesV1().CertificateSigningRequests().Get(t.Context(), name, metav1.GetOptions{})
		if err != nil || len(csr.Status.Conditions) > 0 || csr.Status.Certificate != nil {
			t.Errorf("request %s: %+v, %v", name, csr.Status, err)
		}
	}
}

func TestOnlyOneManagerLeadsAndAnotherTakesOver(t *testing.T) {
	c := newCluster(t)
	election := func(identity string) controllers.Config {
		return controllers.Config{
			Controllers: []string{"serviceaccount"},
			LeaderElection: &controllers.LeaderElection{
				Identity: identity, LeaseDuration: 3 * time.Second, RenewDeadline: 2 * time.Second, RetryPeriod: 50 * time.Millisecond,
			},
		}
	}
	stop := c.startManager(election("first"))
	c.wantLeader("first")
	c.startManager(election("second"))
	c.eventually("the account of a namespace is there", func() error {
		_, err := c.client.CoreV1().ServiceAccounts("kube-public").Get(t.Context(), "default", metav1.GetOptions{})
		return err
	})
	c.wantLeader("first")
	stop()
	c.wantLeader("second")
}

func (c *cluster) wantLeader(identity string) {
	c.Helper()
	c.eventually(identity+" leads", func() error {
		lease, err := c.client.CoordinationV1().Leases("kube-system").Get(c.Context(), "kube-controller-manager", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity != identity {
			return fmt.Errorf("the lease is %v", lease.Spec)
		}
		return nil
	})
}
