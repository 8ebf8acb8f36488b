package operator

import (
	"context"
	"fmt"
	"strings"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// KeepAnnotation on a Backup keeps it from being deleted.
const KeepAnnotation = "backup.example.com/keep"

// SetupWebhooks makes a manager serve the operator's webhooks: defaults,
// validation, and conversion between versions.
func SetupWebhooks(manager ctrl.Manager) error {
	return ctrl.NewWebhookManagedBy(manager, &Backup{}).WithDefaulter(rules{}).WithValidator(rules{}).Complete()
}

// rules are those that the schema cannot say.
type rules struct{}

// Default implements admission.Defaulter.
func (rules) Default(_ context.Context, b *Backup) error {
	if b.Spec.Schedule == "" {
		b.Spec.Schedule = "@daily"
	}
	return nil
}

// ValidateCreate implements admission.Validator.
func (rules) ValidateCreate(_ context.Context, b *Backup) (admission.Warnings, error) {
	if !strings.HasPrefix(b.Spec.Schedule, "@") {
		return nil, fmt.Errorf("%s is no schedule: write @daily or the like", b.Spec.Schedule)
	}
	return nil, nil
}

// ValidateUpdate implements admission.Validator.
func (r rules) ValidateUpdate(ctx context.Context, _, b *Backup) (admission.Warnings, error) {
	return r.ValidateCreate(ctx, b)
}

// ValidateDelete implements admission.Validator.
func (rules) ValidateDelete(_ context.Context, b *Backup) (admission.Warnings, error) {
	if b.Annotations[KeepAnnotation] != "" {
		return nil, fmt.Errorf("%s is to be kept", b.Name)
	}
	return nil, nil
}
