package certificate_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"testing"
	"time"

	certificates "k8s.io/api/certificates/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/yare-io/yare/kubelet/certificate"
)

// signer answers every request with a signed certificate, as the cluster's signer does.
func signer(t *testing.T) *fake.Clientset {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	authority := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotAfter: time.Now().Add(time.Hour), IsCA: true}
	client := fake.NewClientset()
	signed := watch.NewFake()
	client.PrependWatchReactor("certificatesigningrequests", clienttesting.DefaultWatchReactor(signed, nil))
	client.PrependReactor("create", "certificatesigningrequests", func(action clienttesting.Action) (bool, apiruntime.Object, error) {
		csr := action.(clienttesting.CreateAction).GetObject().(*certificates.CertificateSigningRequest).DeepCopy()
		csr.Name, csr.UID = "csr-1", "1"
		block, _ := pem.Decode(csr.Spec.Request)
		request, err := x509.ParseCertificateRequest(block.Bytes)
		if err != nil {
			return true, nil, err
		}
		der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
			SerialNumber: big.NewInt(2), Subject: request.Subject, IPAddresses: request.IPAddresses, DNSNames: request.DNSNames,
			NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		}, authority, request.PublicKey, key)
		if err != nil {
			return true, nil, err
		}
		answer := csr.DeepCopy()
		answer.Status.Conditions = []certificates.CertificateSigningRequestCondition{{Type: certificates.CertificateApproved}}
		answer.Status.Certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
		go signed.Modify(answer)
		return true, csr, client.Tracker().Add(answer)
	})
	return client
}

func run(t *testing.T, m *certificate.Manager) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	done := make(chan struct{})
	go func() { defer close(done); m.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	if err := m.Await(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestServingCertificateIsRequestedKeptAndServed(t *testing.T) {
	client, dir := signer(t), t.TempDir()
	config := certificate.Config{
		Dir: dir, NodeName: "n1", IPs: []net.IP{net.IPv4(192, 0, 2, 1)}, Names: []string{"n1.example.com"},
		Client: func(*tls.Certificate) (kubernetes.Interface, error) { return client, nil },
	}
	m, err := certificate.NewServing(config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.GetCertificate(nil); err == nil {
		t.Error("a certificate before there is one")
	}
	run(t, m)
	served, err := m.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	leaf := served.Leaf
	if leaf.Subject.CommonName != "system:node:n1" || len(leaf.Subject.Organization) != 1 || leaf.Subject.Organization[0] != "system:nodes" ||
		len(leaf.IPAddresses) != 1 || len(leaf.DNSNames) != 1 {
		t.Errorf("certificate: %v %v %v", leaf.Subject, leaf.IPAddresses, leaf.DNSNames)
	}
	for _, action := range client.Actions() {
		if create, ok := action.(clienttesting.CreateAction); ok {
			spec := create.GetObject().(*certificates.CertificateSigningRequest).Spec
			if spec.SignerName != certificates.KubeletServingSignerName || len(spec.Usages) != 2 {
				t.Errorf("request: %s %v", spec.SignerName, spec.Usages)
			}
		}
	}
	info, err := os.Stat(dir + "/kubelet-server-current.pem")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("file: %v, %v", info, err)
	}
	again, err := certificate.NewServing(config)
	if err != nil || again.Current() == nil {
		t.Errorf("the kept certificate is not found again: %v", err)
	}
}

func TestClientShowsNothingBeforeItHasACertificate(t *testing.T) {
	m, err := certificate.NewClient(certificate.Config{
		Dir: t.TempDir(), NodeName: "n1", Client: func(*tls.Certificate) (kubernetes.Interface, error) { return signer(t), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if shown, err := m.GetClientCertificate(nil); err != nil || len(shown.Certificate) != 0 {
		t.Errorf("%v, %v", shown, err)
	}
}
