package kubeapiserver

import (
	"context"
	"log/slog"
	"os"
	"slices"
	"time"

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
	"github.com/yare-io/yare/controllers"
)

// policies are OPA's part of admission; nil when no flag asks for it.
type policies struct {
	engine *engine.Engine
	// constraints is nil when Gatekeeper's objects do not count, auditor when what
	// exists is not audited.
	constraints *gatekeeper.Follower
	auditor     *gatekeeper.Auditor
	registry    *prometheus.Registry
	client      kubernetes.Interface
	logger      *slog.Logger
}

// auditLease is held by the one of several servers that audits. An audit is
// minutes apart from the next, so that nobody waits for it.
var auditLease = controllers.LeaderElection{
	Name: "yare-gatekeeper-audit", LeaseDuration: 30 * time.Second, RenewDeadline: 20 * time.Second, RetryPeriod: 5 * time.Second,
}

// addPolicies puts OPA behind all other plugins but quotas: it changes objects
// last, and judges what the others have left. Run starts it.
func (s *Server) addPolicies(client kubernetes.Interface) error {
	options := &s.options.opa
	if !options.enabled() {
		return nil
	}
	config, err := options.Config()
	if err != nil {
		return err
	}
	p := &policies{registry: prometheus.NewRegistry(), client: client, logger: s.logger}
	cluster := inventory.New(policyObjects{s.loopback}, func() []inventory.Resource { return s.visible(p) })
	p.engine, err = engine.New(engine.Config{
		OPA: config, StateDir: options.stateDir, Overlay: cluster, Registerer: p.registry, Logger: s.logger,
	})
	if err != nil {
		return err
	}
	var constraints opa.Constraints
	if settings := p.engine.Settings().Gatekeeper; settings != nil {
		if err := s.newConstraints(p, settings, cluster); err != nil {
			return err
		}
		constraints = p.constraints.Checker
	}
	namespaces := policyNamespaces{client, s.informers.Core().V1().Namespaces().Lister()}
	mutator, validator := opa.Plugins(p.engine, namespaces, constraints)
	s.gate.policies = p
	added := []admission.Plugin{mutator, validator}
	if p.constraints != nil {
		added = append(added, gatekeeper.NewGuard(p.constraints.Checker))
	}
	s.gate.admission = beforeQuotas(s.gate.admission, added...)
	return nil
}

// beforeQuotas puts plugins before the one that charges quotas, for what is
// refused is not to be charged.
func beforeQuotas(all []admission.Plugin, more ...admission.Plugin) []admission.Plugin {
	at := slices.IndexFunc(all, func(p admission.Plugin) bool { return p.Name() == "ResourceQuota" })
	if at < 0 {
		at = len(all)
	}
	return slices.Insert(all, at, more...)
}

// newConstraints reads Gatekeeper's objects from files and, if wanted, as the
// server itself from the API; these are also audited.
func (s *Server) newConstraints(p *policies, settings *engine.Gatekeeper, cluster engine.Overlay) error {
	if _, err := gatekeeper.ReadManifests(settings.Manifests...); err != nil {
		return err
	}
	id, err := os.Hostname()
	if err != nil {
		return err
	}
	p.constraints = &gatekeeper.Follower{
		Checker: gatekeeper.NewChecker(p.engine), ID: id, Store: engine.NewStore(cluster), Manifests: settings.Manifests,
		Logger: s.logger.With("component", "gatekeeper"), Clock: clock.RealClock{},
	}
	if !settings.API {
		return nil
	}
	if p.constraints.Client, err = dynamic.NewForConfig(JSONOnly(s.ConfigFor(apiServerUser(), "yare-gatekeeper"))); err != nil {
		return err
	}
	if interval := settings.AuditInterval(); interval > 0 {
		p.auditor = &gatekeeper.Auditor{
			Follower: p.constraints, Existing: policyObjects{s.loopback}, Interval: interval, Limit: settings.ViolationsLimit, Logger: p.constraints.Logger,
		}
	}
	return nil
}

// run keeps bundles and constraints current until ctx ends.
func (p *policies) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return p.engine.Run(ctx) })
	if p.constraints != nil {
		group.Go(func() error { return p.constraints.Run(ctx) })
	}
	if p.auditor != nil {
		group.Go(func() error { return controllers.Elect(ctx, p.client, auditLease, p.logger, p.auditor.Run) })
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
