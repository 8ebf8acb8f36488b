package certificates

import (
	"context"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	certificateslisters "k8s.io/client-go/listers/certificates/v1"

	"github.com/yare-io/yare/controllers/worker"
)

const oneYear = 365 * 24 * time.Hour

type signing struct {
	env     *worker.Env
	csrs    certificateslisters.CertificateSigningRequestLister
	signers map[string]CA
	longest time.Duration
}

// NewSigning makes the controller that signs approved requests for the given
// signers. longest is the longest life of a certificate; 0 means a year.
func NewSigning(env *worker.Env, signers map[string]CA, longest time.Duration) (worker.Runner, error) {
	if len(signers) == 0 {
		return nil, worker.NotConfigured("no certificate authority to sign with")
	}
	if longest == 0 {
		longest = oneYear
	}
	csrs := env.Informers.Certificates().V1().CertificateSigningRequests()
	s := &signing{env: env, csrs: csrs.Lister(), signers: signers, longest: longest}
	loop := worker.NewLoop(env, worker.Options[worker.Key]{Queue: "certificate_signing", Workers: env.Workers, Reconcile: s.reconcile})
	worker.WatchKeys[*certificatesv1.CertificateSigningRequest](loop, csrs.Informer())
	return loop, nil
}

func (s *signing) reconcile(ctx context.Context, key worker.Key) error {
	csr, err := s.csrs.Get(key.Name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	ca := s.signers[csr.Spec.SignerName]
	if ca == nil || !hasCondition(csr, certificatesv1.CertificateApproved) || hasCondition(csr, certificatesv1.CertificateDenied) ||
		hasCondition(csr, certificatesv1.CertificateFailed) || len(csr.Status.Certificate) > 0 {
		return nil
	}
	csr = csr.DeepCopy()
	if err := s.fill(csr, ca); err != nil {
		return err
	}
	_, err = s.env.Client.CertificatesV1().CertificateSigningRequests().UpdateStatus(ctx, csr, metav1.UpdateOptions{})
	return err
}

// fill puts the certificate into the request's status, or why there is none.
func (s *signing) fill(csr *certificatesv1.CertificateSigningRequest, ca CA) error {
	request, err := parse(csr)
	if err != nil {
		s.fail(csr, err)
		return nil
	}
	if rule := rules[csr.Spec.SignerName]; rule != nil {
		if err := rule(request, csr.Spec.Usages); err != nil {
			s.fail(csr, err)
			return nil
		}
	}
	csr.Status.Certificate, err = sign(csr, request, ca, s.longest, s.env.Clock.Now())
	return err
}

func (s *signing) fail(csr *certificatesv1.CertificateSigningRequest, why error) {
	csr.Status.Conditions = append(csr.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
		Type: certificatesv1.CertificateFailed, Status: corev1.ConditionTrue,
		Reason: "SignerValidationFailure", Message: why.Error(),
		LastUpdateTime: metav1.NewTime(s.env.Clock.Now()),
	})
}
