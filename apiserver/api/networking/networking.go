// Package networking holds the rows of the networking.k8s.io group: ingresses,
// network policies, and the addresses that services have.
package networking

import (
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/apiserver/registry"
)

// Resources returns the rows of the group.
func Resources() []*registry.Resource {
	return []*registry.Resource{ingressClasses(), ingresses(), ipAddresses(), networkPolicies(), serviceCIDRs()}
}

func kind(name string) schema.GroupVersionKind { return networkingv1.SchemeGroupVersion.WithKind(name) }
