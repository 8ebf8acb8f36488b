package builtin

import (
	"context"
	"fmt"

	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/yare-io/yare/admission"
	nodeauthz "github.com/yare-io/yare/apiserver/authz/node"
)

// nodeRestriction limits what a node writes to itself and to the pods that are
// bound to it. The node authorizer says which kinds a node may write; this
// plugin sees the objects.
type nodeRestriction struct {
	plugin
	client     kubernetes.Interface
	pods       corelisters.PodLister
	authorizer authorizer.UnconditionalAuthorizer
	checks     map[schema.GroupResource]func(context.Context, *admission.Attributes, string) error
}

func newNodeRestriction(deps Deps) (admission.Plugin, error) {
	p := &nodeRestriction{
		plugin:     on("NodeRestriction", admission.Create, admission.Update, admission.Delete),
		client:     deps.Client,
		pods:       deps.Pods,
		authorizer: deps.Authorizer,
	}
	p.checks = map[schema.GroupResource]func(context.Context, *admission.Attributes, string) error{
		corev1.Resource("pods"):                           p.checkPod,
		corev1.Resource("nodes"):                          checkNode,
		corev1.Resource("persistentvolumeclaims"):         checkClaim,
		corev1.Resource("serviceaccounts"):                p.checkToken,
		coordinationv1.Resource("leases"):                 checkLease,
		storagev1.Resource("csinodes"):                    checkCSINode,
		resourcev1.Resource("resourceslices"):             checkResourceSlice,
		certificatesv1.Resource("podcertificaterequests"): p.checkPodCertificate,
		signingRequests:                                   checkSigningRequest,
	}
	return p, nil
}

// Admit runs early, so that nothing acts for a node that goes too far.
func (p *nodeRestriction) Admit(ctx context.Context, a *admission.Attributes) error {
	return p.check(ctx, a)
}

// Validate runs again on what will be stored, which other plugins may have
// changed on the node's behalf.
func (p *nodeRestriction) Validate(ctx context.Context, a *admission.Attributes) error {
	if a.Is(corev1.Resource("nodes"), "") || a.Is(corev1.Resource("pods"), "") {
		return nil // these get their taints, accounts and tolerations from us
	}
	return p.check(ctx, a)
}

func (p *nodeRestriction) check(ctx context.Context, a *admission.Attributes) error {
	node, isNode := nodeauthz.Identity(a.User)
	if !isNode {
		return nil
	}
	if node == "" {
		return admission.Forbidden(a, fmt.Errorf("could not determine node from user %q", a.User.GetName()))
	}
	check, ok := p.checks[a.Resource.GroupResource()]
	if !ok {
		return nil
	}
	return admission.Refusal(a, check(ctx, a, node))
}

func checkClaim(_ context.Context, a *admission.Attributes, node string) error {
	if a.Operation != admission.Update || a.Subresource != "status" {
		return fmt.Errorf("unexpected operation %q on subresource %q, node %q may only update PVC status", a.Operation, a.Subresource, node)
	}
	return checkClaimStatus(a, node)
}

func checkLease(_ context.Context, a *admission.Attributes, node string) error {
	if a.Namespace != corev1.NamespaceNodeLease {
		return fmt.Errorf("can only access leases in the %q system namespace", corev1.NamespaceNodeLease)
	}
	name := a.Name
	if lease, ok := a.Object.(*coordinationv1.Lease); ok && a.Operation == admission.Create {
		name = lease.Name
	}
	if name != node {
		return fmt.Errorf("can only access node lease with the same name as the requesting node")
	}
	return nil
}

func checkCSINode(_ context.Context, a *admission.Attributes, node string) error {
	name := a.Name
	if csiNode, ok := a.Object.(*storagev1.CSINode); ok && a.Operation == admission.Create {
		name = csiNode.Name
	}
	if name != node {
		return fmt.Errorf("can only access CSINode with the same name as the requesting node")
	}
	return nil
}

func checkResourceSlice(_ context.Context, a *admission.Attributes, node string) error {
	for _, object := range []any{a.Object, a.OldObject} {
		slice, ok := object.(*resourcev1.ResourceSlice)
		if ok && (slice.Spec.NodeName == nil || *slice.Spec.NodeName != node) {
			return fmt.Errorf("can only %s ResourceSlice with the same NodeName as the requesting node", verbOf(a.Operation))
		}
	}
	return nil
}

func verbOf(o admission.Operation) string {
	return map[admission.Operation]string{
		admission.Create: "create", admission.Update: "update", admission.Delete: "delete", admission.Connect: "connect to",
	}[o]
}

// checkSigningRequest: a node asks for certificates in its own name only.
func checkSigningRequest(_ context.Context, a *admission.Attributes, node string) error {
	request, ok := a.Object.(*certificatesv1.CertificateSigningRequest)
	if !ok || a.Operation != admission.Create {
		return nil
	}
	switch request.Spec.SignerName {
	case certificatesv1.KubeAPIServerClientKubeletSignerName, certificatesv1.KubeletServingSignerName:
	default:
		return nil
	}
	parsed, err := parseSigningRequest(request.Spec.Request)
	if err != nil {
		return err
	}
	if want := "system:node:" + node; parsed.Subject.CommonName != want {
		return fmt.Errorf("can only create a node CSR with CN=%s", want)
	}
	return nil
}
