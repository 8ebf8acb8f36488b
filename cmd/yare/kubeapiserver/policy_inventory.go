package kubeapiserver

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/admission/opa/engine"
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

// visible finds the rows of the resources that policies see; one that is not
// served, or not any more, is not there for policies either.
func (s *Server) visible(data []engine.Resource) []inventory.Resource {
	server := s.loopback.server.Load()
	if server == nil || len(data) == 0 {
		return nil
	}
	found := make([]inventory.Resource, 0, len(data))
	for _, row := range server.Rows() {
		for _, wanted := range data {
			if row.Kind.Group == wanted.Group && row.Name == wanted.Resource {
				found = append(found, inventory.Resource{GroupResource: row.GroupResource(), Kind: row.Kind, Namespaced: row.Namespaced})
			}
		}
	}
	return found
}
