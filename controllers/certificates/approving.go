package certificates

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	certificateslisters "k8s.io/client-go/listers/certificates/v1"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/yare-io/yare/controllers/worker"
)

type approving struct {
	env     *worker.Env
	csrs    certificateslisters.CertificateSigningRequestLister
	nodes   corelisters.NodeLister
	serving bool
}

// NewApproving makes the controller that approves what nodes ask for: client
// certificates, if the asker may create certificatesigningrequests/nodeclient or
// selfnodeclient, and, if serving is set, serving certificates for nothing but
// the asking node's own names and addresses.
func NewApproving(env *worker.Env, serving bool) (worker.Runner, error) {
	csrs := env.Informers.Certificates().V1().CertificateSigningRequests()
	a := &approving{env: env, csrs: csrs.Lister(), serving: serving}
	loop := worker.NewLoop(env, worker.Options[worker.Key]{Queue: "certificate_approving", Workers: env.Workers, Reconcile: a.reconcile})
	worker.WatchKeys[*certificatesv1.CertificateSigningRequest](loop, csrs.Informer())
	if serving {
		nodes := env.Informers.Core().V1().Nodes()
		a.nodes = nodes.Lister()
		loop.Needs(nodes.Informer())
	}
	return loop, nil
}

func (a *approving) reconcile(ctx context.Context, key worker.Key) error {
	csr, err := a.csrs.Get(key.Name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(csr.Status.Certificate) > 0 || hasCondition(csr, certificatesv1.CertificateApproved) || hasCondition(csr, certificatesv1.CertificateDenied) {
		return nil
	}
	request, err := parse(csr)
	if err != nil {
		a.env.Log.Info("certificate request left alone", "csr", csr.Name, "err", err)
		return nil
	}
	switch csr.Spec.SignerName {
	case certificatesv1.KubeAPIServerClientKubeletSignerName:
		return a.client(ctx, csr, request)
	case certificatesv1.KubeletServingSignerName:
		if a.serving {
			return a.server(ctx, csr, request)
		}
	}
	return nil
}

func (a *approving) client(ctx context.Context, csr *certificatesv1.CertificateSigningRequest, request *x509.CertificateRequest) error {
	if validateKubeletClient(request, csr.Spec.Usages) != nil {
		return nil
	}
	for _, way := range clientWays(csr, request) {
		allowed, err := a.mayCreate(ctx, csr, way.subresource)
		if err != nil {
			return err
		}
		if allowed {
			return a.approve(ctx, csr, way.message)
		}
	}
	return fmt.Errorf("recognized csr %q as node client certificate but subject access review was not approved: %w", csr.Name, worker.ErrAgain)
}

type way struct{ subresource, message string }

// clientWays are the permissions under which a node's client certificate may be
// had: the first for a node that renews its own.
func clientWays(csr *certificatesv1.CertificateSigningRequest, request *x509.CertificateRequest) []way {
	other := way{"nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview."}
	if csr.Spec.Username != request.Subject.CommonName {
		return []way{other}
	}
	return []way{{"selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview."}, other}
}

func (a *approving) mayCreate(ctx context.Context, csr *certificatesv1.CertificateSigningRequest, subresource string) (bool, error) {
	extra := map[string]authorizationv1.ExtraValue{}
	for key, values := range csr.Spec.Extra {
		extra[key] = authorizationv1.ExtraValue(values)
	}
	review, err := a.env.Client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: csr.Spec.Username, UID: csr.Spec.UID, Groups: csr.Spec.Groups, Extra: extra,
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Group: "certificates.k8s.io", Version: "*", Resource: "certificatesigningrequests", Verb: "create", Subresource: subresource,
			},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("asking whether %s may: %w", csr.Spec.Username, err)
	}
	return review.Status.Allowed, nil
}

// server approves a serving certificate that the node asks for itself. A node
// that does not show its addresses yet is asked about again.
func (a *approving) server(ctx context.Context, csr *certificatesv1.CertificateSigningRequest, request *x509.CertificateRequest) error {
	if validateKubeletServing(request, csr.Spec.Usages) != nil ||
		csr.Spec.Username != request.Subject.CommonName || !slices.Contains(csr.Spec.Groups, nodesGroup) {
		return nil
	}
	name := strings.TrimPrefix(csr.Spec.Username, nodeUserPrefix)
	node, err := a.nodes.Get(name)
	if err == nil {
		err = ownAddresses(request, node)
	}
	if err != nil {
		return fmt.Errorf("serving certificate of node %s is not approved yet: %w: %w", name, err, worker.ErrAgain)
	}
	return a.approve(ctx, csr, "Auto approving kubelet serving certificate for the node's own addresses.")
}

func (a *approving) approve(ctx context.Context, csr *certificatesv1.CertificateSigningRequest, message string) error {
	csr = csr.DeepCopy()
	now := metav1.NewTime(a.env.Clock.Now())
	csr.Status.Conditions = append(csr.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
		Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue,
		Reason: "AutoApproved", Message: message, LastUpdateTime: now, LastTransitionTime: now,
	})
	_, err := a.env.Client.CertificatesV1().CertificateSigningRequests().UpdateApproval(ctx, csr.Name, csr, metav1.UpdateOptions{})
	if err != nil {
		return fmt.Errorf("error updating approval for csr: %w", err)
	}
	return nil
}
