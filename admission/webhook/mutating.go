package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	admissionv1 "k8s.io/api/admission/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/match"
	"github.com/yare-io/yare/apiserver/patch"
)

// Audit annotations, as Kubernetes names them.
const (
	mutationAnnotation = "mutation.webhook.admission.k8s.io/"
	patchAnnotation    = "patch.webhook.admission.k8s.io/"
	openMutating       = "failed-open.mutation.webhook.admission.k8s.io/"
)

// mutatingPlugin is MutatingAdmissionWebhook.
type mutatingPlugin struct{ *plugin }

var _ admission.Mutator = (*mutatingPlugin)(nil)

// Admit calls the webhooks that the request concerns, one after another.
func (p *mutatingPlugin) Admit(ctx context.Context, a *admission.Attributes) error {
	hooks, err := p.hooks(ctx, a)
	if err != nil || len(hooks) == 0 {
		return err
	}
	turns := admission.TurnsOf(a, MutatingName)
	defer turns.End(a)
	r := match.NewRequest(a, p.namespaces, p.config.Versions)
	for i, h := range hooks {
		if err := p.admit(ctx, h, i, r, turns); err != nil {
			return err
		}
	}
	return nil
}

// admit calls one webhook, if it is concerned and it is its turn.
func (p *mutatingPlugin) admit(ctx context.Context, h *hook, index int, r *match.Request, turns *admission.Turns) error {
	if !turns.Has(r.Attributes, h.id) {
		return nil
	}
	view, ok, err := p.concerned(ctx, h, r)
	if err != nil || !ok {
		return err
	}
	var document json.RawMessage
	changed := false
	result := p.call(ctx, h, r, view, func(response *admissionv1.AdmissionResponse) error {
		changed, err = p.patch(ctx, h, r, view, response.Patch)
		if err == nil {
			document = response.Patch
		}
		return err
	})
	result.note(h, r.Attributes)
	round := 0
	if r.Rerun() {
		round = 1
	}
	place := fmt.Sprintf("round_%d_index_%d", round, index)
	if result.open {
		r.Annotate(openMutating+place, h.name)
	}
	r.Annotate(mutationAnnotation+place, annotation(map[string]any{"configuration": h.configuration, "webhook": h.name, "mutated": changed}))
	if len(document) > 0 {
		r.AnnotateDetail(patchAnnotation+place, annotation(map[string]any{
			"configuration": h.configuration, "webhook": h.name, "patch": document, "patchType": admissionv1.PatchTypeJSONPatch,
		}))
	}
	turns.Took(r.Attributes, h.id, changed, h.reinvoke)
	return result.err
}

func annotation(facts map[string]any) string {
	text, err := json.Marshal(facts)
	if err != nil {
		return ""
	}
	return string(text)
}

// patch changes the request's object as the webhook says, and reports whether
// anything is different.
func (p *mutatingPlugin) patch(ctx context.Context, h *hook, r *match.Request, v *match.View, document []byte) (bool, error) {
	if len(document) == 0 {
		return false, nil
	}
	if v.Object == nil {
		return false, apierrors.NewInternalError(fmt.Errorf("admission webhook %q attempted to modify the object, which is not supported for this operation", h.name))
	}
	before, err := json.Marshal(v.Object)
	if err != nil {
		return false, apierrors.NewInternalError(err)
	}
	patched, _, err := patch.Apply(types.JSONPatchType, before, document, nil)
	switch {
	case errors.Is(err, patch.ErrMalformed):
		return false, failed("received undecodable patch in webhook response: %w", err)
	case err != nil:
		return false, apierrors.NewInternalError(fmt.Errorf("applying the patch of webhook %q: %w", h.name, err))
	}
	obj, err := v.Decode(patched)
	if err != nil {
		return false, apierrors.NewInternalError(fmt.Errorf("webhook %q made an object that cannot be read: %w", h.name, err))
	}
	if apiequality.Semantic.DeepEqual(v.Object, obj) {
		return false, nil
	}
	if err := r.Replace(ctx, v, obj); err != nil {
		return false, apierrors.NewInternalError(fmt.Errorf("webhook %q made an object that cannot be used: %w", h.name, err))
	}
	return true, nil
}
