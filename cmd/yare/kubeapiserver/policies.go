package kubeapiserver

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/opa"
	"github.com/yare-io/yare/admission/opa/engine"
	"github.com/yare-io/yare/admission/opa/gatekeeper"
	"github.com/yare-io/yare/admission/opa/inventory"
)

// policies are OPA's part of admission; nil when no flag asks for it.
type policies struct {
	engine *engine.Engine
	// constraints is nil when Gatekeeper's objects do not count.
	constraints *gatekeeper.Follower
	registry    *prometheus.Registry
}

// addPolicies puts OPA behind all other plugins: it changes objects last, and
// judges what the others have left. Run starts it.
func (s *Server) addPolicies(client kubernetes.Interface) error {
	options := &s.options.opa
	if !options.enabled() {
		return nil
	}
	config, err := options.config()
	if err != nil {
		return err
	}
	p := &policies{registry: prometheus.NewRegistry()}
	cluster := inventory.New(policyObjects{s.loopback}, func() []inventory.Resource { return s.visible(p.engine.Settings().Data) })
	p.engine, err = engine.New(engine.Config{
		OPA: config, StateDir: options.stateDir, Overlay: cluster, Registerer: p.registry, Logger: s.logger,
	})
	if err != nil {
		return err
	}
	var constraints opa.Constraints
	if settings := p.engine.Settings().Gatekeeper; settings != nil {
		if p.constraints, err = s.newConstraints(p.engine, settings, cluster); err != nil {
			return err
		}
		constraints = p.constraints.Checker
	}
	namespaces := policyNamespaces{client, s.informers.Core().V1().Namespaces().Lister()}
	mutator, validator := opa.Plugins(p.engine, namespaces, constraints)
	s.gate.policies = p
	s.gate.admission = append(s.gate.admission, admission.Plugin(mutator), validator)
	return nil
}

// newConstraints reads Gatekeeper's objects from files and, if wanted, as the
// server itself from the API.
func (s *Server) newConstraints(e *engine.Engine, settings *engine.Gatekeeper, cluster engine.Overlay) (*gatekeeper.Follower, error) {
	if _, err := gatekeeper.ReadManifests(settings.Manifests...); err != nil {
		return nil, err
	}
	follower := &gatekeeper.Follower{
		Checker: gatekeeper.NewChecker(e), Store: engine.NewStore(cluster), Manifests: settings.Manifests,
		Logger: s.logger.With("component", "gatekeeper"), Clock: clock.RealClock{},
	}
	if settings.API {
		client, err := dynamic.NewForConfig(JSONOnly(s.ConfigFor(apiServerUser(), "yare-gatekeeper")))
		if err != nil {
			return nil, err
		}
		follower.Client = client
	}
	return follower, nil
}

// run keeps bundles and constraints current until ctx ends.
func (p *policies) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return p.engine.Run(ctx) })
	if p.constraints != nil {
		group.Go(func() error { return p.constraints.Run(ctx) })
	}
	return group.Wait()
}

// Describe implements prometheus.Collector. OPA adds metrics as it is
// configured, so none is promised.
func (p *policies) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (p *policies) Collect(metrics chan<- prometheus.Metric) { p.registry.Collect(metrics) }

// KeepPolicies says where the last good policy bundles are kept, unless a flag
// does.
func (o *Options) KeepPolicies(dir string) {
	if o.opa.stateDir == "" {
		o.opa.stateDir = dir
	}
}

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
