// Package admissionregistration holds the rows of webhook configurations and
// admission policies: their defaults, their rules and their columns. It
// compiles expressions to find their errors, and evaluates none.
package admissionregistration

import (
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/apiserver/registry"
)

// Resources returns the rows of the group.
func Resources() []*registry.Resource {
	return []*registry.Resource{
		mutatingWebhooks(), validatingWebhooks(),
		validatingPolicies(), validatingBindings(),
		mutatingPolicies(), mutatingBindings(),
	}
}

func kind(name string) schema.GroupVersionKind {
	return admissionregistrationv1.SchemeGroupVersion.WithKind(name)
}
