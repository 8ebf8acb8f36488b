package main

import (
	"context"
	"log/slog"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/opa"
	"github.com/yare-io/yare/admission/opa/engine"
)

// policies are OPA's part of admission; nil when no flag asks for it.
type policies struct {
	engine   *engine.Engine
	plugins  []admission.Plugin
	registry *prometheus.Registry
}

// newPolicies reads the configuration of OPA; run starts it.
func newPolicies(options *opaOptions, client kubernetes.Interface, factory informers.SharedInformerFactory, logger *slog.Logger) (*policies, error) {
	if !options.enabled() {
		return nil, nil
	}
	config, err := options.config()
	if err != nil {
		return nil, err
	}
	stateDir := options.stateDir
	if stateDir == "" {
		stateDir = filepath.Join(defaultDataDir, "opa")
	}
	p := &policies{registry: prometheus.NewRegistry()}
	p.engine, err = engine.New(engine.Config{OPA: config, StateDir: stateDir, Registerer: p.registry, Logger: logger})
	if err != nil {
		return nil, err
	}
	mutator, validator := opa.Plugins(p.engine, policyNamespaces{client, factory.Core().V1().Namespaces().Lister()})
	p.plugins = []admission.Plugin{mutator, validator}
	return p, nil
}

// addPolicies puts OPA behind all other plugins: it changes objects last, and
// judges what the others have left.
func (s *apiServer) addPolicies(client kubernetes.Interface) error {
	policies, err := newPolicies(&s.options.opa, client, s.informers, s.logger)
	if err != nil || policies == nil {
		return err
	}
	s.gate.policies = policies
	s.gate.admission = append(s.gate.admission, policies.plugins...)
	return nil
}

// run keeps bundles current until ctx ends.
func (p *policies) run(ctx context.Context) error { return p.engine.Run(ctx) }

// Describe implements prometheus.Collector. OPA adds metrics as it is
// configured, so none is promised.
func (p *policies) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (p *policies) Collect(metrics chan<- prometheus.Metric) { p.registry.Collect(metrics) }

// policyNamespaces looks namespaces up in the informer, and live what is not
// there yet.
type policyNamespaces struct {
	client kubernetes.Interface
	lister corelisters.NamespaceLister
}

// Get implements opa.Namespaces.
func (n policyNamespaces) Get(ctx context.Context, name string) (*corev1.Namespace, error) {
	if namespace, err := n.lister.Get(name); err == nil {
		return namespace, nil
	}
	return n.client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
}
