// Package rootca publishes the cluster's certificate authorities as the ConfigMap
// kube-root-ca.crt in every namespace, where pods mount it from. It watches the
// config maps of that name and no others.
package rootca

import (
	"context"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	coreinformers "k8s.io/client-go/informers/core/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/yare-io/yare/controllers/worker"
)

const (
	name                  = "kube-root-ca.crt"
	descriptionAnnotation = "kubernetes.io/description"
	description           = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters."
)

type controller struct {
	env        *worker.Env
	bundle     string
	namespaces corelisters.NamespaceLister
	maps       corelisters.ConfigMapLister
}

// New makes the publisher of the PEM bundle.
func New(env *worker.Env, bundle []byte) (worker.Runner, error) {
	if len(bundle) == 0 {
		return nil, worker.NotConfigured("no root CA")
	}
	namespaces := env.Informers.Core().V1().Namespaces()
	published := coreinformers.NewFilteredConfigMapInformer(env.Reader, metav1.NamespaceAll, 0,
		cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc},
		func(options *metav1.ListOptions) {
			options.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()
		})
	if err := published.SetTransform(worker.Slim); err != nil {
		return nil, err
	}
	c := &controller{env: env, bundle: string(bundle), namespaces: namespaces.Lister(), maps: corelisters.NewConfigMapLister(published.GetIndexer())}
	loop := worker.NewLoop(env, worker.Options[string]{Queue: "root_ca_cert_publisher", Workers: env.Workers, Reconcile: c.reconcile})
	worker.Watch(loop, namespaces.Informer(), func(_, now *corev1.Namespace) {
		if now != nil && now.Status.Phase != corev1.NamespaceTerminating {
			loop.Add(now.Name)
		}
	})
	worker.Watch(loop, published, func(old, now *corev1.ConfigMap) {
		loop.Add(worker.Latest(old, now).Namespace)
	})
	return worker.Together(worker.Informing(published), loop), nil
}

func (c *controller) reconcile(ctx context.Context, namespace string) error {
	owner, err := c.namespaces.Get(namespace)
	if apierrors.IsNotFound(err) || err == nil && owner.Status.Phase == corev1.NamespaceTerminating {
		return nil
	}
	if err != nil {
		return err
	}
	current, err := c.maps.ConfigMaps(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		return c.create(ctx, namespace)
	}
	if err != nil {
		return err
	}
	data := map[string]string{"ca.crt": c.bundle}
	if maps.Equal(current.Data, data) && len(current.BinaryData) == 0 && current.Annotations[descriptionAnnotation] == description {
		return nil
	}
	updated := current.DeepCopy()
	updated.Data, updated.BinaryData = data, nil
	if updated.Annotations == nil {
		updated.Annotations = map[string]string{}
	}
	updated.Annotations[descriptionAnnotation] = description
	_, err = c.env.Client.CoreV1().ConfigMaps(namespace).Update(ctx, updated, metav1.UpdateOptions{})
	return err
}

func (c *controller) create(ctx context.Context, namespace string) error {
	_, err := c.env.Client.CoreV1().ConfigMaps(namespace).Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{descriptionAnnotation: description}},
		Data:       map[string]string{"ca.crt": c.bundle},
	}, metav1.CreateOptions{})
	if apierrors.IsNotFound(err) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return nil
	}
	return err
}
