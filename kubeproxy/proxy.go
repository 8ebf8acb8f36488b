package kubeproxy

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/informers"

	"github.com/yare-io/yare/kubeproxy/conntrack"
	"github.com/yare-io/yare/kubeproxy/model"
	"github.com/yare-io/yare/kubeproxy/nftables"
)

// backend makes packets obey the rules. One caller at a time.
type backend interface {
	// Reset replaces all that is there. It is the first call, and the next one
	// after any error.
	Reset(ctx context.Context, rules []model.Rule, around model.Surroundings) error
	// Apply makes the changes to what the last call left.
	Apply(ctx context.Context, changes []model.Change, around model.Surroundings) error
}

// Proxy keeps one node's packet rules in step with the API.
type Proxy struct {
	cfg          Config
	log          *slog.Logger
	informers    informers.SharedInformerFactory
	ownInformers bool
	nodes        informers.SharedInformerFactory

	tracker *model.Tracker
	backend backend
	health  *health
	// services are the health check ports of services.
	services *serviceHealth
	metrics  *metrics
	// wake holds at most one token: something has changed.
	wake chan struct{}

	mu     sync.Mutex
	around model.Surroundings
}

// New checks the configuration and prepares a proxy; Run starts it.
func New(cfg Config) (*Proxy, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	p := &Proxy{cfg: cfg, log: cfg.Logger, backend: cfg.backend, informers: cfg.Informers, around: model.Surroundings{NodeAddrs: cfg.NodeIPs},
		tracker: model.NewTracker(model.Node{Name: cfg.NodeName}), metrics: newMetrics(),
		health: newHealth(cfg.Clock, cfg.SyncPeriod), wake: make(chan struct{}, 1)}
	p.services = newServiceHealth(p.health, p.log)
	if p.backend == nil {
		tables, err := nftables.New(nftables.Config{PodNetworks: cfg.ClusterCIDRs, MasqueradeAll: cfg.MasqueradeAll,
			MasqueradeBit: cfg.MasqueradeBit, Families: families()})
		if err != nil {
			return nil, err
		}
		p.backend = tables
	}
	return p, nil
}

// Run proxies until ctx ends; the rules stay in the kernel, so that services
// work on while the proxy is restarted. All that it started has ended when it
// returns. It may be called once.
func (p *Proxy) Run(ctx context.Context) error {
	if err := enableForwarding(); err != nil {
		return err
	}
	if err := p.metrics.register(p.cfg.Registry); err != nil {
		return fmt.Errorf("register kube-proxy metrics: %w", err)
	}
	defer p.metrics.unregister(p.cfg.Registry)
	group, ctx := errgroup.WithContext(ctx)
	if err := p.startServers(ctx, group); err != nil {
		return err
	}
	group.Go(func() error {
		stop, err := p.watch(ctx)
		if err != nil {
			return err
		}
		defer stop()
		defer p.services.close()
		p.log.Info("kube-proxy started", "node", p.cfg.NodeName)
		p.syncLoop(ctx)
		return nil
	})
	return group.Wait()
}

// Cleanup removes every rule that a proxy on this node has made.
func Cleanup(ctx context.Context) error { return nftables.Cleanup(ctx) }

// changed wakes the loop; what changed is in the tracker.
func (p *Proxy) changed() {
	p.health.pending()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *Proxy) surroundings() model.Surroundings {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.around
}

// cleanFlows is best effort: a stale flow hurts one client, a failed
// synchronization all.
func (p *Proxy) cleanFlows(changes []model.Change) {
	deleted, err := conntrack.Clean(changes, p.surroundings().NodeAddrs)
	if err != nil {
		p.log.Warn("stale connections not deleted", "error", err)
	}
	if deleted > 0 {
		p.log.Debug("stale connections deleted", "count", deleted)
	}
}
