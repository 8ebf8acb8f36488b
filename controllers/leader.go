package controllers

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// elector runs something while it holds a lease.
type elector struct {
	config leaderelection.LeaderElectionConfig
	log    *slog.Logger
	health *leaderelection.HealthzAdaptor
}

// Elect calls lead for each term in which this process holds the lease, until
// ctx ends or lead fails. lead must end when its context does; the lease is given
// back after it.
func Elect(ctx context.Context, client kubernetes.Interface, options LeaderElection, log *slog.Logger, lead func(context.Context) error) error {
	elector, err := newElector(client, options, log)
	if err != nil {
		return err
	}
	return elector.run(ctx, lead)
}

func newElector(client kubernetes.Interface, options LeaderElection, log *slog.Logger) (*elector, error) {
	if options.Identity == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("identity for leader election: %w", err)
		}
		options.Identity = host + "_" + string(uuid.NewUUID())
	}
	name := cmp.Or(options.Name, "kube-controller-manager")
	lock, err := resourcelock.New(resourcelock.LeasesResourceLock, cmp.Or(options.Namespace, "kube-system"), name,
		client.CoreV1(), client.CoordinationV1(), resourcelock.ResourceLockConfig{Identity: options.Identity})
	if err != nil {
		return nil, err
	}
	health := leaderelection.NewLeaderHealthzAdaptor(20 * time.Second)
	return &elector{log: log, health: health, config: leaderelection.LeaderElectionConfig{
		Lock:            lock,
		Name:            name,
		LeaseDuration:   cmp.Or(options.LeaseDuration, 15*time.Second),
		RenewDeadline:   cmp.Or(options.RenewDeadline, 10*time.Second),
		RetryPeriod:     cmp.Or(options.RetryPeriod, 2*time.Second),
		ReleaseOnCancel: true,
		WatchDog:        health,
	}}, nil
}

func (e *elector) check(request *http.Request) error { return e.health.Check(request) }

// run calls lead for each term won, until ctx ends or lead fails. The lease is
// given back only after lead has returned.
func (e *elector) run(ctx context.Context, lead func(context.Context) error) error {
	for ctx.Err() == nil {
		if err := e.term(ctx, lead); err != nil {
			return err
		}
	}
	return nil
}

// The stages of a term. Whoever moves it out of seeking decides its course.
const (
	seeking int32 = iota
	leading
	over
)

// term seeks the lease and holds it for as long as it can. The election ends
// either because the lease is lost, which ends lead's context, or because lead
// has returned, which ends the election.
func (e *elector) term(ctx context.Context, lead func(context.Context) error) error {
	election, resign := context.WithCancel(context.WithoutCancel(ctx))
	defer resign()
	var stage atomic.Int32
	ended := make(chan error, 1)
	config := e.config
	config.Callbacks = leaderelection.LeaderCallbacks{
		OnStartedLeading: func(held context.Context) {
			if !stage.CompareAndSwap(seeking, leading) {
				return
			}
			defer resign()
			term, cancel := context.WithCancel(held)
			defer cancel()
			defer context.AfterFunc(ctx, cancel)()
			ended <- lead(term)
		},
		OnStoppedLeading: func() { e.log.Info("stopped leading", "lease", config.Name) },
		OnNewLeader:      func(identity string) { e.log.Info("new leader", "lease", config.Name, "identity", identity) },
	}
	elector, err := leaderelection.NewLeaderElector(config)
	if err != nil {
		return err
	}
	e.health.SetLeaderElection(elector)
	defer context.AfterFunc(ctx, func() {
		if stage.CompareAndSwap(seeking, over) {
			resign()
		}
	})()
	elector.Run(election)
	if stage.CompareAndSwap(seeking, over) || stage.Load() == over {
		return nil
	}
	return <-ended
}
