package allocation

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/yare-io/yare/storage"
)

// managedBy is how Kubernetes marks the addresses that it handed out itself.
const managedBy = "ipallocator.k8s.io"

var serializer = protobuf.NewSerializer(scheme.Scheme, scheme.Scheme)

// encode writes an object, whose kind must be set, as the store keeps it.
func encode(o runtime.Object) ([]byte, error) {
	var b bytes.Buffer
	if err := serializer.Encode(o, &b); err != nil {
		return nil, fmt.Errorf("encoding %s: %w", o.GetObjectKind().GroupVersionKind().Kind, err)
	}
	return b.Bytes(), nil
}

// decode reads an object, in whatever format it was written.
func decode[T runtime.Object](kv storage.KV) (T, error) {
	var none T
	o, _, err := scheme.Codecs.UniversalDeserializer().Decode(kv.Value, nil, nil)
	if err != nil {
		return none, fmt.Errorf("decoding %s: %w", kv.Key, err)
	}
	t, ok := o.(T)
	if !ok {
		return none, fmt.Errorf("decoding %s: found a %T", kv.Key, o)
	}
	return t, nil
}

func newIPAddress(ip netip.Addr, service types.NamespacedName, now time.Time) *networkingv1.IPAddress {
	a := &networkingv1.IPAddress{
		ObjectMeta: metav1.ObjectMeta{
			Name:              ip.String(),
			UID:               uuid.NewUUID(),
			CreationTimestamp: metav1.NewTime(now).Rfc3339Copy(),
			Labels: map[string]string{
				networkingv1.LabelIPAddressFamily: string(familyOf(ip)),
				networkingv1.LabelManagedBy:       managedBy,
			},
		},
		Spec: networkingv1.IPAddressSpec{ParentRef: &networkingv1.ParentReference{
			Resource: "services", Namespace: service.Namespace, Name: service.Name,
		}},
	}
	a.SetGroupVersionKind(networkingv1.SchemeGroupVersion.WithKind("IPAddress"))
	return a
}

// holder returns the service that has an address, or nothing when it is no
// service's.
func holder(a *networkingv1.IPAddress) types.NamespacedName {
	r := a.Spec.ParentRef
	if r == nil || r.Group != "" || r.Resource != "services" {
		return types.NamespacedName{}
	}
	return types.NamespacedName{Namespace: r.Namespace, Name: r.Name}
}

// spans returns where to take addresses of a family from: the cluster's own
// network, then those of the ServiceCIDR objects that are ready.
func (s *Services) spans(ctx context.Context, family corev1.IPFamily) ([]span, error) {
	own, ok := s.networks[family]
	if !ok {
		return nil, fmt.Errorf("this cluster has no service network of %s", family)
	}
	list, err := s.store.List(ctx, storage.ListRequest{Prefix: s.prefix + "servicecidrs/"})
	if err != nil {
		return nil, fmt.Errorf("listing service networks: %w", err)
	}
	spans := []span{usable(own)}
	for _, kv := range list.KVs {
		c, err := decode[*networkingv1.ServiceCIDR](kv)
		if err != nil {
			return nil, err
		}
		if c.DeletionTimestamp != nil || !meta.IsStatusConditionTrue(c.Status.Conditions, networkingv1.ServiceCIDRConditionReady) {
			continue
		}
		for _, text := range c.Spec.CIDRs {
			n, err := netip.ParsePrefix(text)
			if err == nil && n != own && familyOf(n.Addr()) == family && usable(n).size > 0 {
				spans = append(spans, usable(n))
			}
		}
	}
	return spans, nil
}
