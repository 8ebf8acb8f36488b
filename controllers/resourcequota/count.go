package resourcequota

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/apiserver/api/usage"
)

// count adds up what a namespace uses of a quota's resources; all of them are
// in the list it returns.
func (c *controller) count(ctx context.Context, quota *corev1.ResourceQuota) (corev1.ResourceList, error) {
	names := usage.Names(quota.Spec.Hard)
	total := corev1.ResourceList{}
	for _, name := range names {
		total[name] = *resource.NewQuantity(0, quota.Spec.Hard.Name(name, resource.DecimalSI).Format)
	}
	for _, of := range []schema.GroupResource{podResource, serviceResource, claimResource} {
		measured := usage.Measured(of, names)
		if len(measured) == 0 {
			continue
		}
		objects, err := c.objects(of, quota.Namespace)
		if err != nil {
			return nil, err
		}
		for _, obj := range objects {
			if usage.InScope(quota, obj) {
				total = usage.Add(total, usage.Only(usage.Of(of, obj), measured))
			}
		}
	}
	if len(usage.Selectors(quota)) > 0 {
		return total, nil // what is only counted knows no scopes
	}
	return total, c.countOthers(ctx, quota.Namespace, names, total)
}

func (c *controller) countOthers(ctx context.Context, namespace string, names []corev1.ResourceName, total corev1.ResourceList) error {
	for _, name := range names {
		of, ok := usage.Counts(name)
		if !ok || of == podResource || of == serviceResource || of == claimResource {
			continue
		}
		n, err := c.counters.count(ctx, of, namespace)
		if err != nil {
			return err
		}
		total[name] = *resource.NewQuantity(int64(n), resource.DecimalSI)
	}
	return nil
}

func (c *controller) objects(of schema.GroupResource, namespace string) ([]runtime.Object, error) {
	switch of {
	case podResource:
		return widen(c.pods.Pods(namespace).List(labels.Everything()))
	case serviceResource:
		return widen(c.services.Services(namespace).List(labels.Everything()))
	}
	return widen(c.claims.PersistentVolumeClaims(namespace).List(labels.Everything()))
}

func widen[T runtime.Object](list []T, err error) ([]runtime.Object, error) {
	out := make([]runtime.Object, len(list))
	for i, obj := range list {
		out[i] = obj
	}
	return out, err
}
