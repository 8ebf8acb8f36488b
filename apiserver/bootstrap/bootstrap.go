// Package bootstrap creates the objects that a cluster cannot do without and
// that no user makes: system namespaces, priority classes, the service
// "kubernetes" with the addresses of the live API servers, the bindings that
// let nodes join, and join tokens. It is an ordinary client of the API, so
// several servers may do it at once.
package bootstrap

import (
	"context"
	"fmt"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/yare-io/yare/apiserver/authn"
)

// Namespaces that exist in every cluster.
var Namespaces = []string{metav1.NamespaceSystem, metav1.NamespacePublic, corev1.NamespaceNodeLease, metav1.NamespaceDefault}

// Options say what belongs into this cluster's objects.
type Options struct {
	// ServiceCIDRs are the ranges that service addresses come from.
	ServiceCIDRs []string
	// ClientCA vouches for clients, and Proxies are believed about their users;
	// both are published for aggregated API servers. Nil: none.
	ClientCA *authn.CABundle
	Proxies  *authn.RequestHeader
}

// Ensure creates what is missing. What is there is left as it is, with the
// changes that its owners made.
func Ensure(ctx context.Context, client kubernetes.Interface, options Options) error {
	if err := ensureNamespaces(ctx, client); err != nil {
		return err
	}
	if err := ensurePriorityClasses(ctx, client); err != nil {
		return err
	}
	if err := ensureServiceCIDR(ctx, client, options.ServiceCIDRs); err != nil {
		return err
	}
	if err := ensureNodeBindings(ctx, client); err != nil {
		return err
	}
	if err := ensureServingApproval(ctx, client); err != nil {
		return err
	}
	if err := ensureTokenTracking(ctx, client); err != nil {
		return err
	}
	return ensureAuthenticationConfig(ctx, client, options)
}

// ensureTokenTracking says since when the use of tokens in secrets is noted.
func ensureTokenTracking(ctx context.Context, client kubernetes.Interface) error {
	const name = "kube-apiserver-legacy-service-account-token-tracking"
	_, err := client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"since": time.Now().UTC().Format(time.DateOnly)},
	}, metav1.CreateOptions{})
	return created("config map "+name, err)
}

// created treats an object that is already there as success.
func created(what string, err error) error {
	if err == nil || apierrors.IsAlreadyExists(err) {
		return nil
	}
	return fmt.Errorf("create %s: %w", what, err)
}

func ensureNamespaces(ctx context.Context, client kubernetes.Interface) error {
	for _, name := range Namespaces {
		_, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		if err := created("namespace "+name, err); err != nil {
			return err
		}
	}
	return nil
}

func ensurePriorityClasses(ctx context.Context, client kubernetes.Interface) error {
	for _, class := range []schedulingv1.PriorityClass{
		{
			ObjectMeta:  metav1.ObjectMeta{Name: "system-node-critical"},
			Value:       2_000_001_000,
			Description: "Used for system critical pods that must not be moved from their current node.",
		},
		{
			ObjectMeta:  metav1.ObjectMeta{Name: "system-cluster-critical"},
			Value:       2_000_000_000,
			Description: "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
		},
	} {
		_, err := client.SchedulingV1().PriorityClasses().Create(ctx, &class, metav1.CreateOptions{})
		if err := created("priority class "+class.Name, err); err != nil {
			return err
		}
	}
	return nil
}

func ensureServiceCIDR(ctx context.Context, client kubernetes.Interface, cidrs []string) error {
	const name = "kubernetes"
	_, err := client.NetworkingV1().ServiceCIDRs().Create(ctx, &networkingv1.ServiceCIDR{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       networkingv1.ServiceCIDRSpec{CIDRs: cidrs},
	}, metav1.CreateOptions{})
	return created("service CIDR "+name, err)
}

// ensureNodeBindings lets holders of a bootstrap token ask for a node's client
// certificate, and has such requests approved, as kubeadm sets it up. A node's
// own identity also runs its service proxy and pod network, which read
// services, endpoints and nodes.
func ensureNodeBindings(ctx context.Context, client kubernetes.Interface) error {
	for _, binding := range []struct{ name, role, group string }{
		{"yare:kubelet-bootstrap", "system:node-bootstrapper", "system:bootstrappers"},
		{"yare:node-proxier", "system:node-proxier", "system:nodes"},
		{"yare:node-autoapprove-bootstrap", "system:certificates.k8s.io:certificatesigningrequests:nodeclient", "system:bootstrappers"},
		{"yare:node-autoapprove-certificate-rotation", "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient", "system:nodes"},
	} {
		_, err := client.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: binding.name},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: binding.role},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: binding.group}},
		}, metav1.CreateOptions{})
		if err := created("cluster role binding "+binding.name, err); err != nil {
			return err
		}
	}
	return nil
}

// ensureServingApproval lets the certificate controller approve what nodes serve
// with. Kubernetes leaves that to people; here the controller does it, when told
// to, for a node's own addresses, and needs the right to.
func ensureServingApproval(ctx context.Context, client kubernetes.Interface) error {
	const name = "yare:kubelet-serving-approver"
	_, err := client.RbacV1().ClusterRoles().Create(ctx, &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{certificatesv1.GroupName}, Resources: []string{"signers"}, Verbs: []string{"approve"},
			ResourceNames: []string{certificatesv1.KubeletServingSignerName},
		}},
	}, metav1.CreateOptions{})
	if err := created("cluster role "+name, err); err != nil {
		return err
	}
	_, err = client.RbacV1().ClusterRoleBindings().Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: metav1.NamespaceSystem, Name: "certificate-controller"}},
	}, metav1.CreateOptions{})
	return created("cluster role binding "+name, err)
}
