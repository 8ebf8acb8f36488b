package certificates

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/apiserver/api/rowtest"
	"github.com/yare-io/yare/apiserver/registry"
)

func requests(t *testing.T) *registry.Resource {
	who := func(context.Context) (user.Info, bool) {
		return &user.DefaultInfo{Name: "jo", Groups: []string{"staff"}, Extra: map[string][]string{"k": {"v"}}}, true
	}
	return rowtest.Row(t, Resources(Deps{User: who, Clock: clock.RealClock{}}), "certificatesigningrequests")
}

func request(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "jo"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

func signing(t *testing.T, change func(*certificatesv1.CertificateSigningRequest)) *certificatesv1.CertificateSigningRequest {
	r := &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: "a"},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request: request(t), SignerName: "example.com/signer", Usages: []certificatesv1.KeyUsage{certificatesv1.UsageClientAuth},
		},
	}
	if change != nil {
		change(r)
	}
	return r
}

func TestRequests(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*certificatesv1.CertificateSigningRequest)
		want   []string
	}{
		"right":               {nil, nil},
		"no request":          {func(r *certificatesv1.CertificateSigningRequest) { r.Spec.Request = nil }, []string{"Invalid spec.request"}},
		"no usage":            {func(r *certificatesv1.CertificateSigningRequest) { r.Spec.Usages = nil }, []string{"Required spec.usages"}},
		"unknown usage":       {func(r *certificatesv1.CertificateSigningRequest) { r.Spec.Usages[0] = "x" }, []string{"NotSupported spec.usages[0]"}},
		"no signer":           {func(r *certificatesv1.CertificateSigningRequest) { r.Spec.SignerName = "" }, []string{"Required spec.signerName"}},
		"signer of no path":   {func(r *certificatesv1.CertificateSigningRequest) { r.Spec.SignerName = "example.com" }, []string{"Invalid spec.signerName"}},
		"signer of no domain": {func(r *certificatesv1.CertificateSigningRequest) { r.Spec.SignerName = "example/x" }, []string{"Invalid spec.signerName"}},
		"the old signer":      {func(r *certificatesv1.CertificateSigningRequest) { r.Spec.SignerName = "kubernetes.io/legacy-unknown" }, []string{"Invalid spec.signerName"}},
		"for a minute":        {func(r *certificatesv1.CertificateSigningRequest) { s := int32(60); r.Spec.ExpirationSeconds = &s }, []string{"Invalid spec.expirationSeconds"}},
	} {
		t.Run(name, func(t *testing.T) { rowtest.Expect(t, rowtest.Create(requests(t), signing(t, c.change)), c.want...) })
	}
}

func TestWhoAsksIsNotTheClientsToSay(t *testing.T) {
	r := signing(t, func(r *certificatesv1.CertificateSigningRequest) {
		r.Spec.Username, r.Spec.Groups = "root", []string{"system:masters"}
		r.Status.Certificate = []byte("x")
		r.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue}}
	})
	rowtest.Expect(t, rowtest.Create(requests(t), r))
	if r.Spec.Username != "jo" || len(r.Spec.Groups) != 1 || r.Spec.Groups[0] != "staff" || r.Spec.Extra["k"][0] != "v" {
		t.Errorf("asked by %+v", r.Spec)
	}
	if len(r.Status.Conditions) != 0 || r.Status.Certificate != nil {
		t.Errorf("status %+v", r.Status)
	}
}

func TestDecisions(t *testing.T) {
	r := requests(t)
	approval, status := r.Subresources[0].Part, r.Subresources[1].Part
	condition := func(types ...certificatesv1.RequestConditionType) []certificatesv1.CertificateSigningRequestCondition {
		var out []certificatesv1.CertificateSigningRequestCondition
		for _, c := range types {
			out = append(out, certificatesv1.CertificateSigningRequestCondition{Type: c, Status: corev1.ConditionTrue})
		}
		return out
	}
	old := signing(t, nil)
	yes := old.DeepCopy()
	yes.Status.Conditions, yes.Spec.Username = condition(certificatesv1.CertificateApproved), "root"
	rowtest.Expect(t, rowtest.Update(approval, yes, old))
	if yes.Status.Conditions[0].LastUpdateTime.IsZero() || yes.Spec.Username != "" {
		t.Errorf("approved: %+v", yes)
	}
	both := yes.DeepCopy()
	both.Status.Conditions = condition(certificatesv1.CertificateApproved, certificatesv1.CertificateDenied)
	rowtest.Expect(t, rowtest.Update(approval, both, yes), "Invalid status.conditions[0].type", "Invalid status.conditions[1].type")
	taken := yes.DeepCopy()
	taken.Status.Conditions = nil
	rowtest.Expect(t, rowtest.Update(approval, taken, yes), "Forbidden status.conditions")

	byStatus := old.DeepCopy()
	byStatus.Status.Conditions = condition(certificatesv1.CertificateApproved)
	rowtest.Expect(t, rowtest.Update(status, byStatus, old))
	if len(byStatus.Status.Conditions) != 0 {
		t.Error("approved through the status subresource")
	}
	bad := yes.DeepCopy()
	bad.Status.Certificate = []byte("not a certificate")
	rowtest.Expect(t, rowtest.Update(status, bad, yes), "Invalid status.certificate")
	byMain := yes.DeepCopy()
	byMain.Status.Conditions, byMain.Spec.SignerName = nil, "example.com/other"
	rowtest.Expect(t, rowtest.Update(&r.Strategy, byMain, yes))
	if len(byMain.Status.Conditions) != 1 || byMain.Spec.SignerName != "example.com/signer" {
		t.Errorf("changed through the main resource: %+v", byMain)
	}
	if got := r.Columns[5].Cell(yes, time.Time{}); got != "Approved" {
		t.Errorf("condition column %q", got)
	}
}
