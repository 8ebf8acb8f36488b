package serviceaccount

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
)

// CachedGetter looks into listers first and asks the server for what they do
// not have (yet).
type CachedGetter struct {
	client          kubernetes.Interface
	serviceAccounts corelisters.ServiceAccountLister
	pods            corelisters.PodLister
	nodes           corelisters.NodeLister
}

var _ Getter = (*CachedGetter)(nil)

// NewCachedGetter uses the factory's informers for service accounts and nodes;
// secrets are always read live, so that no copy of them is kept.
func NewCachedGetter(client kubernetes.Interface, factory informers.SharedInformerFactory, pods corelisters.PodLister) *CachedGetter {
	core := factory.Core().V1()
	return &CachedGetter{
		client:          client,
		serviceAccounts: core.ServiceAccounts().Lister(),
		pods:            pods,
		nodes:           core.Nodes().Lister(),
	}
}

// ServiceAccount implements Getter.
func (g *CachedGetter) ServiceAccount(ctx context.Context, namespace, name string) (*corev1.ServiceAccount, error) {
	if account, err := g.serviceAccounts.ServiceAccounts(namespace).Get(name); err == nil {
		return account, nil
	}
	return g.client.CoreV1().ServiceAccounts(namespace).Get(ctx, name, metav1.GetOptions{})
}

// Pod implements Getter.
func (g *CachedGetter) Pod(ctx context.Context, namespace, name string) (*corev1.Pod, error) {
	if pod, err := g.pods.Pods(namespace).Get(name); err == nil {
		return pod, nil
	}
	return g.client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
}

// Secret implements Getter.
func (g *CachedGetter) Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	return g.client.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
}

// Node implements Getter.
func (g *CachedGetter) Node(ctx context.Context, name string) (*corev1.Node, error) {
	if node, err := g.nodes.Get(name); err == nil {
		return node, nil
	}
	return g.client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
}
