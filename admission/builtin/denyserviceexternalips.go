package builtin

import (
	"context"
	"errors"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/yare-io/yare/admission"
)

// denyServiceExternalIPs keeps services from claiming addresses that are not
// theirs. Those that have some may keep them.
type denyServiceExternalIPs struct{ plugin }

func newDenyServiceExternalIPs(Deps) (admission.Plugin, error) {
	return &denyServiceExternalIPs{on("DenyServiceExternalIPs", admission.Create, admission.Update)}, nil
}

// Validate refuses addresses that the service did not have.
func (p *denyServiceExternalIPs) Validate(_ context.Context, a *admission.Attributes) error {
	service, ok := a.Object.(*corev1.Service)
	if !ok || !a.Is(corev1.Resource("services"), "") {
		return nil
	}
	var had []string
	if old, ok := a.OldObject.(*corev1.Service); ok {
		had = old.Spec.ExternalIPs
	}
	for _, address := range service.Spec.ExternalIPs {
		if !slices.Contains(had, address) {
			//lint:ignore ST1005 clients know these words
			return admission.Forbidden(a, errors.New("Use of external IPs is denied by admission control"))
		}
	}
	return nil
}
