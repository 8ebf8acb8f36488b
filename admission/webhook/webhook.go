// Package webhook calls the admission webhooks that
// MutatingWebhookConfigurations and ValidatingWebhookConfigurations name. It
// owns whom it calls, how, and what their answers may do; which requests
// concern a webhook is decided in admission/match.
package webhook

import (
	"context"
	"log/slog"
	"net"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/lookup"
	"github.com/yare-io/yare/admission/match"
	"github.com/yare-io/yare/apiserver/egress"
)

// The plugins' names in Kubernetes.
const (
	MutatingName   = "MutatingAdmissionWebhook"
	ValidatingName = "ValidatingAdmissionWebhook"
)

// Config is what the plugins need. All fields but Credentials, Guard.Allow,
// Metrics, Logger and Clock are required.
type Config struct {
	Client    kubernetes.Interface
	Informers informers.SharedInformerFactory
	Versions  *match.Versions
	// Authorizer is what match conditions may ask.
	Authorizer authorizer.UnconditionalAuthorizer
	// Services says where the webhooks of services are.
	Services Resolver
	// Guard says where no webhook may be.
	Guard egress.Guard
	// Mutating and Validating are how the plugins show who they are.
	Mutating, Validating Credentials
	Metrics              prometheus.Registerer
	Logger               *slog.Logger
	Clock                clock.WithTicker
}

// plugin is what both plugins are made of.
type plugin struct {
	name       string
	config     Config
	source     *source
	namespaces lookup.Namespaces
	synced     lookup.Synced
	dialer     *net.Dialer
	metrics    *metrics
}

// Name implements admission.Plugin.
func (p *plugin) Name() string { return p.name }

// Handles implements admission.Plugin.
func (p *plugin) Handles(admission.Operation) bool { return true }

// New builds both plugins. They read configurations from informers, which the
// caller starts.
func New(config Config) (mutating, validating admission.Plugin, err error) {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if config.Clock == nil {
		config.Clock = clock.RealClock{}
	}
	counted, err := newMetrics(config.Metrics)
	if err != nil {
		return nil, nil, err
	}
	registered := config.Informers.Admissionregistration().V1()
	m := &mutatingPlugin{newPlugin(MutatingName, config, counted)}
	if m.source, err = follow(registered.MutatingWebhookConfigurations().Informer(), m.compileMutating); err != nil {
		return nil, nil, err
	}
	v := &validatingPlugin{newPlugin(ValidatingName, config, counted)}
	if v.source, err = follow(registered.ValidatingWebhookConfigurations().Informer(), v.compileValidating); err != nil {
		return nil, nil, err
	}
	m.synced.Has, v.synced.Has = m.source.informer.HasSynced, v.source.informer.HasSynced
	return m, v, nil
}

func newPlugin(name string, config Config, counted *metrics) *plugin {
	return &plugin{
		name: name, config: config, metrics: counted,
		namespaces: lookup.NewNamespaces(config.Client, config.Informers),
		synced:     lookup.Synced{Clock: config.Clock},
		dialer:     config.Guard.Dialer(),
	}
}

// hooks are all webhooks, in order; none for requests they must not see.
func (p *plugin) hooks(ctx context.Context, a *admission.Attributes) ([]*hook, error) {
	if match.Exempt(a) {
		return nil, nil
	}
	if err := p.synced.Wait(ctx, a); err != nil {
		return nil, err
	}
	return p.source.hooks(), nil
}

// concerned reports whether a webhook is to be called, and as about what.
func (p *plugin) concerned(ctx context.Context, h *hook, r *match.Request) (*match.View, bool, error) {
	if h.broken != nil {
		return nil, false, refusal(h, h.broken)
	}
	subject, ok, err := h.criteria.Match(ctx, r)
	if !ok || err != nil {
		return nil, false, err
	}
	view, err := r.View(ctx, subject)
	if err != nil || h.conditions == nil {
		return view, err == nil, err
	}
	ok, err = h.conditions.Match(ctx, r.Inputs(view), nil, p.config.Authorizer)
	if err == nil {
		return view, ok, nil
	}
	if h.ignore {
		p.config.Logger.Warn("match conditions failed, webhook left out", "webhook", h.name, "err", err)
		return nil, false, nil
	}
	return nil, false, admission.Forbidden(r.Attributes, err)
}
