package kubeapiserver

import (
	"context"
	"errors"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/admission/opa/engine"
	"github.com/yare-io/yare/admission/opa/gatekeeper"
	"github.com/yare-io/yare/admission/opa/inventory"
)

var errNoServer = errors.New("the API server is not there yet")

// policyObjects reads the server's cache for policies.
type policyObjects struct{ loopback *loopback }

// Get implements inventory.Objects.
func (o policyObjects) Get(ctx context.Context, resource schema.GroupResource, namespace, name string) (runtime.Object, error) {
	server := o.loopback.server.Load()
	if server == nil {
		return nil, errNoServer
	}
	return server.Objects().Get(ctx, resource, namespace, name)
}

// List implements inventory.Objects.
func (o policyObjects) List(ctx context.Context, resource schema.GroupResource, namespace string) ([]runtime.Object, error) {
	server := o.loopback.server.Load()
	if server == nil {
		return nil, errNoServer
	}
	return server.Objects().List(ctx, resource, namespace)
}

// Resources implements gatekeeper.Existing.
func (o policyObjects) Resources() []gatekeeper.ExistingResource {
	server := o.loopback.server.Load()
	if server == nil {
		return nil
	}
	var stored []gatekeeper.ExistingResource
	for _, row := range server.Rows() {
		if row.StoragePrefix != "" && row.StoredAs == nil {
			stored = append(stored, gatekeeper.ExistingResource{Resource: row.GroupVersionResource(), Kind: row.Kind})
		}
	}
	return stored
}

// visible finds the rows of the resources that policies see: those of the
// settings, and those that Gatekeeper's objects name. One that is not served, or
// not any more, is not there for policies either.
func (s *Server) visible(p *policies) []inventory.Resource {
	server, data := s.loopback.server.Load(), p.engine.Settings().Data
	var synced []schema.GroupVersionKind
	if p.constraints != nil {
		synced = p.constraints.Checker.Synced()
	}
	if server == nil || len(data)+len(synced) == 0 {
		return nil
	}
	found := make([]inventory.Resource, 0, len(data)+len(synced))
	for _, row := range server.Rows() {
		wanted := slices.Contains(synced, row.Kind) || slices.ContainsFunc(data, func(d engine.Resource) bool {
			return row.Kind.Group == d.Group && row.Name == d.Resource
		})
		if wanted {
			found = append(found, inventory.Resource{GroupResource: row.GroupResource(), Kind: row.Kind, Namespaced: row.Namespaced})
		}
	}
	return found
}
