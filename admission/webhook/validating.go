package webhook

import (
	"context"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/match"
)

const openValidating = "failed-open.validation.webhook.admission.k8s.io/"

// validatingPlugin is ValidatingAdmissionWebhook.
type validatingPlugin struct{ *plugin }

var _ admission.Validator = (*validatingPlugin)(nil)

type invocation struct {
	hook *hook
	view *match.View
}

// Validate calls the webhooks that the request concerns, all at once, and
// refuses it when one does.
func (p *validatingPlugin) Validate(ctx context.Context, a *admission.Attributes) error {
	hooks, err := p.hooks(ctx, a)
	if err != nil || len(hooks) == 0 {
		return err
	}
	r := match.NewRequest(a, p.namespaces, p.config.Versions)
	var due []invocation
	for _, h := range hooks {
		view, ok, err := p.concerned(ctx, h, r)
		if err != nil {
			return err
		}
		if ok {
			due = append(due, invocation{h, view})
		}
	}
	if len(due) > 0 && ctx.Err() != nil {
		return apierrors.NewTimeoutError("request did not complete within requested timeout", 0)
	}
	return p.settle(a, due, p.callAll(ctx, r, due))
}

func (p *validatingPlugin) callAll(ctx context.Context, r *match.Request, due []invocation) []outcome {
	outcomes := make([]outcome, len(due))
	if len(due) == 1 {
		outcomes[0] = p.call(ctx, due[0].hook, r, due[0].view, nil)
		return outcomes
	}
	var calls sync.WaitGroup
	for i, d := range due {
		calls.Go(func() { outcomes[i] = p.call(ctx, d.hook, r, d.view, nil) })
	}
	calls.Wait()
	return outcomes
}

// settle passes on what the webhooks said; the first refusal in order counts.
func (p *validatingPlugin) settle(a *admission.Attributes, due []invocation, outcomes []outcome) error {
	var refused error
	for i, result := range outcomes {
		result.note(due[i].hook, a)
		if result.open {
			a.Annotate(fmt.Sprintf("%sround_0_index_%d", openValidating, i), due[i].hook.name)
		}
		if refused == nil {
			refused = result.err
		}
	}
	return refused
}
