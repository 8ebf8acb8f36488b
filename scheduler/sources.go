package scheduler

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/yare-io/yare/scheduler/plugins"
)

// emptySources has listers that list nothing.
func emptySources(client kubernetes.Interface) plugins.Sources {
	return plugins.NewSources(client, func(schema.GroupVersionResource) cache.Indexer { return nil })
}

// watchedSources has listers over informers for the resources that the API
// server serves, and empty ones for the rest, so that a scheduler works with an
// API server that knows only some groups.
//
// synced are what to wait for before the listers can be trusted.
func (s *Scheduler) watchedSources(ctx context.Context) (sources plugins.Sources, synced []cache.InformerSynced, err error) {
	served, err := s.served(ctx)
	if err != nil {
		return plugins.Sources{}, nil, err
	}
	var failure error
	sources = plugins.NewSources(s.cfg.Client, func(resource schema.GroupVersionResource) cache.Indexer {
		if !served.Has(resource) {
			s.log.Info("resource is not served; it is taken to be empty", "resource", resource.String())
			return nil
		}
		informer, err := s.informers.ForResource(resource)
		if err != nil {
			failure = fmt.Errorf("watch %s: %w", resource, err)
			return nil
		}
		synced = append(synced, informer.Informer().HasSynced)
		return informer.Informer().GetIndexer()
	})
	return sources, synced, failure
}

// served asks, until it gets an answer, which of the resources that plugins
// look at there are.
func (s *Scheduler) served(ctx context.Context) (sets.Set[schema.GroupVersionResource], error) {
	served := sets.New[schema.GroupVersionResource]()
	for _, gv := range plugins.SourceGroups() {
		err := wait.PollUntilContextCancel(ctx, time.Second, true, func(ctx context.Context) (bool, error) {
			list, err := s.cfg.Client.Discovery().ServerResourcesForGroupVersionWithContext(ctx, gv.String())
			if apierrors.IsNotFound(err) {
				return true, nil
			}
			if err != nil {
				s.log.Warn("discovery failed, trying again", "group", gv.String(), "error", err)
				return false, nil
			}
			for _, resource := range list.APIResources {
				served.Insert(gv.WithResource(resource.Name))
			}
			return true, nil
		})
		if err != nil {
			return nil, fmt.Errorf("discover %s: %w", gv, err)
		}
	}
	return served, nil
}
