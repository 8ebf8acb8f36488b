package policystatus

import (
	"errors"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/common"
	"k8s.io/apiserver/pkg/cel/openapi"
	"k8s.io/apiserver/pkg/cel/openapi/resolver"
	"k8s.io/client-go/discovery"
)

// maxKinds is how many kinds a policy is checked against, as in Kubernetes.
const maxKinds = 10

// schemas looks up, for one check, what the server says of kinds.
type schemas struct {
	client   discovery.DiscoveryInterface
	resolver resolver.SchemaResolver
	lists    map[schema.GroupVersion]*metav1.APIResourceList
}

func newSchemas(client discovery.DiscoveryInterface) *schemas {
	return &schemas{
		client: client, resolver: &resolver.ClientDiscoveryResolver{Discovery: client},
		lists: map[schema.GroupVersion]*metav1.APIResourceList{},
	}
}

// kinds are those that rules name without wildcards, each once, in order.
// Subresources are left out.
func (s *schemas) kinds(constraints *admissionregistrationv1.MatchResources) ([]schema.GroupVersionKind, error) {
	if constraints == nil {
		return nil, nil
	}
	var kinds []schema.GroupVersionKind
	for i := range constraints.ResourceRules {
		rule := &constraints.ResourceRules[i].Rule
		if slices.Contains(rule.APIGroups, "*") || slices.Contains(rule.APIVersions, "*") {
			continue
		}
		for _, resource := range resourcesOf(rule) {
			kind, err := s.kindOf(resource)
			if err != nil {
				return nil, err
			}
			if !kind.Empty() && !slices.Contains(kinds, kind) && len(kinds) < maxKinds {
				kinds = append(kinds, kind)
			}
		}
	}
	slices.SortFunc(kinds, func(a, b schema.GroupVersionKind) int { return strings.Compare(a.String(), b.String()) })
	return kinds, nil
}

// resourcesOf are all combinations of a rule's lists.
func resourcesOf(rule *admissionregistrationv1.Rule) []schema.GroupVersionResource {
	var all []schema.GroupVersionResource
	for _, group := range rule.APIGroups {
		for _, version := range rule.APIVersions {
			for _, resource := range rule.Resources {
				if !strings.ContainsAny(resource, "*/") {
					all = append(all, schema.GroupVersionResource{Group: group, Version: version, Resource: resource})
				}
			}
		}
	}
	return all
}

// kindOf returns the empty kind for a resource that is not served.
func (s *schemas) kindOf(resource schema.GroupVersionResource) (schema.GroupVersionKind, error) {
	version := resource.GroupVersion()
	list, asked := s.lists[version]
	if !asked {
		var err error
		if list, err = s.client.ServerResourcesForGroupVersion(version.String()); err != nil && !apierrors.IsNotFound(err) {
			return schema.GroupVersionKind{}, err
		}
		s.lists[version] = list
	}
	if list != nil {
		for _, r := range list.APIResources {
			if r.Name == resource.Resource {
				return version.WithKind(r.Kind), nil
			}
		}
	}
	return schema.GroupVersionKind{}, nil
}

// declared is a kind's schema as a type for expressions, nil where nothing is
// known. The name tells types of one check apart.
func (s *schemas) declared(kind schema.GroupVersionKind, name string) (*apiservercel.DeclType, error) {
	found, err := s.resolver.ResolveSchema(kind)
	if errors.Is(err, resolver.ErrSchemaNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	declared := common.SchemaDeclType(&openapi.Schema{Schema: found}, true)
	if declared == nil {
		return nil, nil
	}
	return declared.MaybeAssignTypeName("kubernetes." + name), nil
}
