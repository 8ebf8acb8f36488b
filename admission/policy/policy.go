// Package policy enforces ValidatingAdmissionPolicies and applies
// MutatingAdmissionPolicies: CEL expressions that are stored as objects, bound to
// requests and parameters by bindings. A policy is compiled when a request first
// concerns it, once for each generation.
package policy

import (
	"context"
	"errors"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/lookup"
	"github.com/yare-io/yare/admission/match"
	"github.com/yare-io/yare/apiserver/registry"
)

// The plugins' names in Kubernetes.
const (
	MutatingName   = "MutatingAdmissionPolicy"
	ValidatingName = "ValidatingAdmissionPolicy"
)

// Config is what the plugins need. All fields but Metrics, Logger and Clock are
// required.
type Config struct {
	Client    kubernetes.Interface
	Informers informers.SharedInformerFactory
	Versions  *match.Versions
	// Objects are where parameters are read; nil until the server is there.
	Objects func() registry.Objects
	// Converter knows the schemas of built-in kinds, by which configurations
	// are applied; those of others are in their rows.
	Converter func() managedfields.TypeConverter
	// Authorizer is what expressions may ask.
	Authorizer authorizer.UnconditionalAuthorizer
	Metrics    prometheus.Registerer
	Logger     *slog.Logger
	Clock      clock.WithTicker
}

// plugin is what both plugins are made of.
type plugin struct {
	name       string
	config     Config
	namespaces lookup.Namespaces
	synced     []lookup.Synced
	metrics    *metrics
}

// Name implements admission.Plugin.
func (p *plugin) Name() string { return p.name }

// New builds both plugins. They read policies from informers, which the caller
// starts.
func New(config Config) (mutating, validating admission.Plugin, err error) {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if config.Clock == nil {
		config.Clock = clock.RealClock{}
	}
	m, err := newMutating(config)
	if err != nil {
		return nil, nil, err
	}
	v, err := newValidating(config)
	return m, v, err
}

func newPlugin(name, metric string, config Config) (*plugin, error) {
	counted, err := newMetrics(metric, config.Metrics)
	return &plugin{
		name: name, config: config, metrics: counted, namespaces: lookup.NewNamespaces(config.Client, config.Informers),
	}, err
}

// ready waits for the informers, and says whether the request is one for
// policies at all.
func (p *plugin) ready(ctx context.Context, a *admission.Attributes) (bool, error) {
	if match.Exempt(a) {
		return false, nil
	}
	for _, s := range p.synced {
		if err := s.Wait(ctx, a); err != nil {
			return false, err
		}
	}
	return true, nil
}

// converter knows the schema of a kind.
func (p *plugin) converter(kind schema.GroupVersionKind) (managedfields.TypeConverter, error) {
	if row := p.config.Versions.RowOf(kind); row != nil && row.Schema != nil {
		return row.Schema.Types()
	}
	return p.config.Converter(), nil
}

// namespaceObject is the namespace that expressions see: none for what is in
// none, namespaces among them.
func namespaceObject(ctx context.Context, r *match.Request) (*corev1.Namespace, error) {
	if r.Namespace == "" || r.Resource.Group == "" && r.Resource.Resource == "namespaces" {
		return nil, nil
	}
	return r.NamespaceObject(ctx)
}

// objectsOf is the server's objects, or why there are none.
func (p *plugin) objectsOf() (registry.Objects, error) {
	if objects := p.config.Objects(); objects != nil {
		return objects, nil
	}
	return nil, errors.New("the server is not there yet")
}
