package webhook

import (
	"context"
	"errors"
	"strconv"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/match"
)

// outcome is what came of a call.
type outcome struct {
	response *admissionv1.AdmissionResponse
	// open: the webhook could not be asked, and that is taken as consent.
	open bool
	err  error
}

// call asks a webhook and applies its failure policy; apply uses an answer that
// allows.
func (p *plugin) call(ctx context.Context, h *hook, r *match.Request, v *match.View, apply func(*admissionv1.AdmissionResponse) error) outcome {
	begun := p.config.Clock.Now()
	response, err := h.ask(ctx, r, v)
	if err == nil && !response.Allowed {
		err = denial(h, response.Result)
	}
	if err == nil && apply != nil {
		err = apply(response)
	}
	var broken callError
	unasked := errors.As(err, &broken)
	open := unasked && h.ignore
	p.observe(h, r, p.config.Clock.Since(begun), err, unasked, open)
	switch {
	case open && ctx.Err() != nil:
		return outcome{err: apierrors.NewTimeoutError("request did not complete within requested timeout", 0)}
	case open:
		p.config.Logger.Warn("webhook could not be called, request let pass", "webhook", h.name, "configuration", h.configuration, "err", err)
		return outcome{open: true}
	case unasked:
		p.config.Logger.Warn("webhook could not be called, request refused", "webhook", h.name, "configuration", h.configuration, "err", err)
		return outcome{response: response, err: refusal(h, err)}
	}
	return outcome{response: response, err: err}
}

func (p *plugin) observe(h *hook, r *match.Request, took time.Duration, err error, unasked, open bool) {
	code := 200
	var status apierrors.APIStatus
	switch {
	case unasked:
		code = 503
	case errors.As(err, &status):
		code = int(status.Status().Code)
	case err != nil:
		code = 0
	}
	rejected := strconv.FormatBool(err != nil && !open)
	p.metrics.duration.WithLabelValues(h.name, h.typeLabel, string(r.Operation), rejected).Observe(took.Seconds())
	p.metrics.requests.WithLabelValues(h.name, h.typeLabel, string(r.Operation), strconv.Itoa(code), rejected).Inc()
	switch {
	case open:
		p.metrics.open.WithLabelValues(h.name, h.typeLabel).Inc()
	case unasked:
		p.metrics.rejections.WithLabelValues(h.name, h.typeLabel, string(r.Operation), "calling_webhook_error", strconv.Itoa(code)).Inc()
	case err != nil:
		p.metrics.rejections.WithLabelValues(h.name, h.typeLabel, string(r.Operation), "no_error", strconv.Itoa(code)).Inc()
	}
}

// note passes on what a webhook has to say beside its decision.
func (o outcome) note(h *hook, a *admission.Attributes) {
	if o.response == nil {
		return
	}
	for key, value := range o.response.AuditAnnotations {
		a.Annotate(h.name+"/"+key, value)
	}
	for _, text := range o.response.Warnings {
		a.Warn(text)
	}
}
