package main

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/apiserver"
	"github.com/yare-io/yare/apiserver/customresource"
	"github.com/yare-io/yare/apiserver/proxy"
	"github.com/yare-io/yare/apiserver/registry"
)

// extensions are the parts by which a server comes to serve resources that it
// was not built with.
type extensions struct {
	definitions *customresource.Controller
}

// extend makes a server serve custom resources.
func (s *apiServer) extend() {
	own := map[schema.GroupResource]bool{}
	for _, row := range s.Rows() {
		own[row.GroupResource()] = true
	}
	s.extensions.definitions = customresource.New(customresource.Config{
		Definitions: s.Stored(customresource.Definitions),
		Objects:     s.Objects(),
		SetRows:     func(rows []*registry.Resource) error { return s.SetRows("customresources", rows) },
		BuiltIn:     func(resource schema.GroupResource) bool { return own[resource] },
		Caller:      customresource.NewCaller(s.serviceAddress),
		Logger:      s.logger,
	})
}

// serviceAddress is where the server itself reaches a service's port.
func (s *apiServer) serviceAddress(ctx context.Context, namespace, name string, port int32) (string, error) {
	return proxy.ServiceAddress(ctx, s.Objects(), namespace, name, port)
}

// extensionChecks are parts of the server's health.
func (s *apiServer) extensionChecks() []apiserver.Check {
	return []apiserver.Check{{Name: "poststarthook/crd-informer-synced", Check: func(ctx context.Context) error {
		return s.extensions.definitions.Check(ctx)
	}}}
}
