package openapi_test

import (
	"strings"
	"testing"

	"k8s.io/kube-openapi/pkg/spec3"

	"github.com/yare-io/yare/apiserver/api"
	"github.com/yare-io/yare/apiserver/registry"
)

func TestServedResourcesAreDescribedWithTheirTypes(t *testing.T) {
	rows := api.Resources(api.Deps{})
	server := serve(t, func() []*registry.Resource { return rows })
	kubernetes := operationsOf(t, documentsV3(t))
	for name, document := range fetchFrom(t, server) {
		for schema, s := range document.Components.Schemas {
			if _, untyped := s.Extensions["x-kubernetes-preserve-unknown-fields"]; untyped {
				t.Errorf("%s: no model of %s", name, schema)
			}
		}
		for operation, op := range operationsOf(t, map[string]*spec3.OpenAPI{name: document}) {
			if known := kubernetes[operation]; known == nil || known.OperationId != op.OperationId {
				t.Errorf("%s is not one of Kubernetes' operations", operation)
			}
			if content := op.RequestBody; content != nil {
				for media, body := range content.Content {
					if !strings.HasPrefix(body.Schema.Ref.String(), "#/components/schemas/io.k8s.") {
						t.Errorf("%s takes %s of no type: %q", operation, media, body.Schema.Ref.String())
					}
				}
			}
		}
	}
}
