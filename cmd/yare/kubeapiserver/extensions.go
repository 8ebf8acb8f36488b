package kubeapiserver

import (
	"context"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/apiserver"
	"github.com/yare-io/yare/apiserver/aggregation"
	"github.com/yare-io/yare/apiserver/customresource"
	"github.com/yare-io/yare/apiserver/proxy"
	"github.com/yare-io/yare/apiserver/registry"
	"github.com/yare-io/yare/cmd/yare/part"
	"github.com/yare-io/yare/storage/cache"
)

// extensions are the parts by which a server comes to serve resources that it
// was not built with.
type extensions struct {
	definitions *customresource.Controller
	aggregator  *aggregation.Aggregator
}

// run works for all extensions until ctx ends.
func (e *extensions) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(part.Named(ctx, "custom resources", e.definitions.Run))
	group.Go(part.Named(ctx, "aggregation", e.aggregator.Run))
	return group.Wait()
}

// extend makes a server serve custom resources, and what others serve.
func (s *Server) extend() error {
	guard, err := s.options.egress.webhookGuard(s.isOwn)
	if err != nil {
		return err
	}
	own := map[schema.GroupResource]bool{}
	for _, row := range s.Rows() {
		own[row.GroupResource()] = true
	}
	s.extensions.definitions = customresource.New(customresource.Config{
		Definitions: s.Stored(customresource.Definitions),
		Objects:     s.Objects(),
		SetRows:     func(rows []*registry.Resource) error { return s.SetRows("customresources", rows) },
		BuiltIn:     func(resource schema.GroupResource) bool { return own[resource] },
		Caller:      customresource.NewCaller(s.serviceAddress, guard),
		Logger:      s.logger,
	})
	return nil
}

// aggregate makes the aggregator, which a server needs from its beginning; what
// it works with comes when the server is there.
func (s *Server) aggregate() {
	s.extensions.aggregator = aggregation.New(aggregation.Config{
		Services:          func() *cache.Resource { return s.Stored(aggregation.Services) },
		Objects:           func() registry.Objects { return s.Objects() },
		Rows:              func() []*registry.Resource { return s.Rows() },
		Custom:            func(row *registry.Resource) bool { return row.Schema != nil },
		Resolve:           s.serviceAddress,
		ClientCertificate: s.trust.proxyClientCertificate(),
		Logger:            s.logger,
	})
}

// serviceAddress is where the server itself reaches a service's port.
func (s *Server) serviceAddress(ctx context.Context, namespace, name string, port int32) (string, error) {
	return proxy.ServiceAddress(ctx, s.Objects(), namespace, name, port)
}

// extensionChecks are parts of the server's health.
func (s *Server) extensionChecks() []apiserver.Check {
	return []apiserver.Check{{Name: "poststarthook/crd-informer-synced", Check: func(ctx context.Context) error {
		return s.extensions.definitions.Check(ctx)
	}}}
}
