package controllers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/controllers/worker"
)

// Manager runs the chosen controllers.
type Manager struct {
	config  Config
	log     *slog.Logger
	chosen  []descriptor
	metrics workqueue.MetricsProvider
	elector atomic.Pointer[elector]
}

// New checks the configuration. It starts nothing and calls no API.
func New(config Config) (*Manager, error) {
	if config.Clients == nil {
		return nil, errors.New("controllers need clients")
	}
	if config.Informers != nil && config.LeaderElection != nil {
		return nil, errors.New("controllers with leader election need informers of their own")
	}
	chosen, err := choose(descriptors, config.Controllers)
	if err != nil {
		return nil, err
	}
	if config.Log == nil {
		config.Log = slog.Default()
	}
	if config.Clock == nil {
		config.Clock = clock.RealClock{}
	}
	metrics, err := newQueueMetrics(config.Metrics)
	if err != nil {
		return nil, err
	}
	return &Manager{config: config, log: config.Log, chosen: chosen, metrics: metrics}, nil
}

// Run runs the controllers until ctx ends, and returns when all goroutines
// have. With leader election it waits for the lease; when the lease is lost,
// the controllers are stopped and the lease is sought again. An error means
// that a controller could not start.
func (m *Manager) Run(ctx context.Context) error {
	if m.config.LeaderElection == nil {
		return m.lead(ctx)
	}
	client, err := m.config.Clients.Kubernetes(ManagerIdentity)
	if err != nil {
		return err
	}
	elector, err := newElector(client, *m.config.LeaderElection, m.log)
	if err != nil {
		return err
	}
	m.elector.Store(elector)
	return elector.run(ctx, m.lead)
}

// Check is nil while the manager is well: it is not the leader, or it renews
// its lease in time.
func (m *Manager) Check(request *http.Request) error {
	if elector := m.elector.Load(); elector != nil {
		return elector.check(request)
	}
	return nil
}

// lead runs the controllers for one term.
func (m *Manager) lead(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	client, err := m.config.Clients.Kubernetes(ManagerIdentity)
	if err != nil {
		return err
	}
	factory := m.config.Informers
	if factory == nil {
		factory = informers.NewSharedInformerFactoryWithOptions(client, 12*time.Hour, informers.WithTransform(worker.Slim))
		defer factory.Shutdown()
		defer cancel()
	}
	runners, events, err := m.build(ctx, client, factory)
	defer func() {
		for _, broadcaster := range events {
			broadcaster.Shutdown()
		}
	}()
	if err != nil {
		return err
	}
	factory.StartWithContext(ctx)
	return worker.Together(runners...).Run(ctx)
}

// build constructs every chosen controller. Those for which the configuration
// holds nothing are left out.
func (m *Manager) build(ctx context.Context, reader kubernetes.Interface, factory informers.SharedInformerFactory) ([]worker.Runner, []record.EventBroadcaster, error) {
	var runners []worker.Runner
	var events []record.EventBroadcaster
	for _, d := range m.chosen {
		env, broadcaster, err := m.env(ctx, d)
		if err != nil {
			return nil, events, fmt.Errorf("controller %s: %w", d.name, err)
		}
		events = append(events, broadcaster)
		env.Reader, env.Informers = reader, factory
		runner, err := d.build(env, &m.config)
		var missing worker.NotConfigured
		switch {
		case errors.As(err, &missing):
			m.log.Info("controller not started", "controller", d.name, "reason", err)
		case err != nil:
			return nil, events, fmt.Errorf("controller %s: %w", d.name, err)
		default:
			runners = append(runners, runner)
		}
	}
	return runners, events, nil
}

// env is all a controller is given but for what it shares with the others.
func (m *Manager) env(ctx context.Context, d descriptor) (*worker.Env, record.EventBroadcaster, error) {
	client, err := m.config.Clients.Kubernetes(d.identity)
	if err != nil {
		return nil, nil, err
	}
	metadata, err := m.config.Clients.Metadata(d.identity)
	if err != nil {
		return nil, nil, err
	}
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events("")})
	workers := d.workers
	if chosen := m.config.ConcurrentSyncs[d.name]; chosen > 0 {
		workers = chosen
	}
	return &worker.Env{
		Client:   client,
		Metadata: metadata,
		Events:   broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: d.component}),
		Log:      m.log.With("controller", d.name),
		Clock:    m.config.Clock,
		Metrics:  m.metrics,
		Workers:  workers,
	}, broadcaster, nil
}
