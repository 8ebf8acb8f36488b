package certificates

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/yare-io/yare/controllers/worker"
)

const (
	cleanPeriod = time.Hour
	// settledLife is how long a request stays after it was decided, pendingLife
	// how long one that nobody decides.
	settledLife = time.Hour
	pendingLife = 24 * time.Hour
)

// NewCleaner makes the controller that removes requests nobody needs any more.
func NewCleaner(env *worker.Env) (worker.Runner, error) {
	csrs := env.Informers.Certificates().V1().CertificateSigningRequests().Lister()
	return worker.Periodically(env, cleanPeriod, func(ctx context.Context) error {
		all, err := csrs.List(labels.Everything())
		if err != nil {
			return err
		}
		for _, csr := range all {
			if !overdue(csr, env.Clock.Now()) {
				continue
			}
			err := env.Client.CertificatesV1().CertificateSigningRequests().Delete(ctx, csr.Name, metav1.DeleteOptions{})
			if err != nil && !apierrors.IsNotFound(err) {
				return err
			}
		}
		return nil
	}, env.Informers.Certificates().V1().CertificateSigningRequests().Informer()), nil
}

// overdue says whether the request has served its purpose: its certificate was
// fetched or has expired, or it was refused, or nobody will decide it.
func overdue(csr *certificatesv1.CertificateSigningRequest, now time.Time) bool {
	if expired(csr.Status.Certificate, now) {
		return true
	}
	if len(csr.Status.Conditions) == 0 {
		return now.Sub(csr.CreationTimestamp.Time) > pendingLife
	}
	for _, c := range csr.Status.Conditions {
		decided := c.Type == certificatesv1.CertificateDenied || c.Type == certificatesv1.CertificateFailed ||
			c.Type == certificatesv1.CertificateApproved && len(csr.Status.Certificate) > 0
		limit := pendingLife
		if decided {
			limit = settledLife
		}
		if now.Sub(c.LastUpdateTime.Time) > limit {
			return true
		}
	}
	return false
}

func expired(certificate []byte, now time.Time) bool {
	block, _ := pem.Decode(certificate)
	if block == nil {
		return false
	}
	parsed, err := x509.ParseCertificate(block.Bytes)
	return err == nil && now.After(parsed.NotAfter)
}
