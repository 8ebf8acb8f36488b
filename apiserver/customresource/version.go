package customresource

import (
	"errors"
	"fmt"
	"sync"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/runtime/schema"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
)

// version is one version of a custom resource: what its objects must look
// like. It is immutable; what is costly is made on first use.
type version struct {
	kind schema.GroupVersionKind
	spec apiextensionsv1.CustomResourceDefinitionVersion
	// preserve: nothing is pruned (definitions of the days of v1beta1).
	preserve   bool
	namespaced bool

	structural func() (*structuralschema.Structural, error)
	validators func() (*validators, error)
	traits     func() traits
}

// traits say what a schema has anywhere, so that nobody looks for what is not
// there in every object.
type traits struct {
	// embedded: whole objects; keyed: lists that are sets or maps.
	embedded, keyed bool
}

func traitsOf(s *structuralschema.Structural) (found traits) {
	if s == nil {
		return found
	}
	visitor := structuralschema.Visitor{Structural: func(s *structuralschema.Structural) bool {
		found.embedded = found.embedded || s.XEmbeddedResource
		found.keyed = found.keyed || s.XListType != nil && *s.XListType != "atomic"
		return false
	}}
	visitor.Visit(s)
	return found
}

// validators check objects against the schema.
type validators struct {
	whole, status validation.SchemaValidator
	// quick and quickStatus may spare asking these.
	quick, quickStatus *check
	// rules is nil for schemas without CEL rules.
	rules *cel.Validator
}

func newVersion(d *apiextensionsv1.CustomResourceDefinition, spec apiextensionsv1.CustomResourceDefinitionVersion) *version {
	v := &version{
		kind:       schema.GroupVersionKind{Group: d.Spec.Group, Version: spec.Name, Kind: d.Status.AcceptedNames.Kind},
		spec:       spec,
		preserve:   d.Spec.PreserveUnknownFields,
		namespaced: d.Spec.Scope == apiextensionsv1.NamespaceScoped,
	}
	v.structural = sync.OnceValues(v.buildStructural)
	v.validators = sync.OnceValues(v.buildValidators)
	v.traits = sync.OnceValue(func() traits {
		s, err := v.structural()
		if err != nil {
			return traits{embedded: true, keyed: true}
		}
		return traitsOf(s)
	})
	return v
}

// props returns the schema in the library's internal form; nil without one.
func (v *version) props() (*apiextensions.JSONSchemaProps, error) {
	if v.spec.Schema == nil || v.spec.Schema.OpenAPIV3Schema == nil {
		return nil, nil
	}
	out := &apiextensions.CustomResourceValidation{}
	if err := apiextensionsv1.Convert_v1_CustomResourceValidation_To_apiextensions_CustomResourceValidation(v.spec.Schema, out, nil); err != nil {
		return nil, fmt.Errorf("schema of %s: %w", v.kind, err)
	}
	return out.OpenAPIV3Schema, nil
}

func (v *version) buildStructural() (*structuralschema.Structural, error) {
	props, err := v.props()
	if err != nil || props == nil {
		return nil, err
	}
	s, err := structuralschema.NewStructural(props)
	if err != nil {
		if v.preserve {
			return nil, nil
		}
		return nil, fmt.Errorf("schema of %s: %w", v.kind, err)
	}
	// The defaults are shared with the definition; pruning changes them.
	s = s.DeepCopy()
	if v.preserve {
		return s, nil
	}
	if err := defaulting.PruneDefaults(s); err != nil {
		return nil, fmt.Errorf("defaults of %s: %w", v.kind, err)
	}
	return s, nil
}

func (v *version) buildValidators() (*validators, error) {
	s, err := v.structural()
	if err != nil {
		return nil, err
	}
	props, err := v.props()
	if err != nil {
		return nil, err
	}
	out := &validators{quick: newCheck(props)}
	if out.whole, _, err = validation.NewSchemaValidator(props); err != nil {
		return nil, fmt.Errorf("schema of %s: %w", v.kind, err)
	}
	if status, ok := statusProps(props); ok && v.hasStatus() {
		if out.status, _, err = validation.NewSchemaValidator(status); err != nil {
			return nil, fmt.Errorf("status schema of %s: %w", v.kind, err)
		}
		out.quickStatus = newCheck(status)
	}
	out.rules = cel.NewValidator(s, true, celconfig.PerCallLimit)
	return out, nil
}

func statusProps(props *apiextensions.JSONSchemaProps) (*apiextensions.JSONSchemaProps, bool) {
	if props == nil {
		return nil, false
	}
	status, ok := props.Properties["status"]
	return &status, ok
}

func (v *version) hasStatus() bool {
	return v.spec.Subresources != nil && v.spec.Subresources.Status != nil
}

// scale returns the scale subresource, or nil.
func (v *version) scale() *apiextensionsv1.CustomResourceSubresourceScale {
	if v.spec.Subresources == nil {
		return nil
	}
	return v.spec.Subresources.Scale
}

var errNoVersion = errors.New("the definition has no such version")
