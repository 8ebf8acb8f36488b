package admissionregistration

import (
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
)

func policies(kindName, plural, singular string, object, list func() runtime.Object) *registry.Resource {
	return &registry.Resource{
		Kind: kind(kindName), Name: plural, Singular: singular, Categories: []string{"api-extensions"},
		Verbs: row.AllVerbs(), StoragePrefix: plural, New: object, NewList: list,
	}
}

func validatingPolicies() *registry.Resource {
	r := policies("ValidatingAdmissionPolicy", "validatingadmissionpolicies", "validatingadmissionpolicy",
		row.New[admissionregistrationv1.ValidatingAdmissionPolicy], row.New[admissionregistrationv1.ValidatingAdmissionPolicyList])
	r.Strategy = registry.Strategy{
		Default: registry.Do(defaultValidatingPolicy),
		PrepareForCreate: registry.Prepare(func(p *admissionregistrationv1.ValidatingAdmissionPolicy) {
			p.Status = admissionregistrationv1.ValidatingAdmissionPolicyStatus{}
			p.Generation = 1
		}),
		PrepareForUpdate: registry.PrepareUpdate(func(p, old *admissionregistrationv1.ValidatingAdmissionPolicy) {
			p.Status = old.Status
			row.NextGeneration(p, old, !row.Same(p.Spec, old.Spec))
		}),
		Validate:       registry.Check(validateValidatingPolicy),
		ValidateUpdate: registry.CheckUpdate(validateValidatingPolicyUpdate),
		RequireVersion: true,
	}
	r.Columns = []registry.Column{
		row.NameColumn(),
		row.Integer("Validations", func(p *admissionregistrationv1.ValidatingAdmissionPolicy) any { return int64(len(p.Spec.Validations)) }),
		row.Text("ParamKind", func(p *admissionregistrationv1.ValidatingAdmissionPolicy) any { return paramKindCell(p.Spec.ParamKind) }),
		row.AgeColumn(),
	}
	r.Subresources = []registry.Subresource{row.Status(registry.Strategy{
		PrepareForUpdate: registry.PrepareUpdate(func(p, old *admissionregistrationv1.ValidatingAdmissionPolicy) { p.Spec = old.Spec }),
		ValidateUpdate:   registry.CheckUpdate(validatePolicyStatus),
	})}
	return r
}

func mutatingPolicies() *registry.Resource {
	r := policies("MutatingAdmissionPolicy", "mutatingadmissionpolicies", "mutatingadmissionpolicy",
		row.New[admissionregistrationv1.MutatingAdmissionPolicy], row.New[admissionregistrationv1.MutatingAdmissionPolicyList])
	r.Strategy = registry.Strategy{
		Default:          registry.Do(defaultMutatingPolicy),
		PrepareForCreate: registry.Prepare(func(p *admissionregistrationv1.MutatingAdmissionPolicy) { p.Generation = 1 }),
		PrepareForUpdate: registry.PrepareUpdate(func(p, old *admissionregistrationv1.MutatingAdmissionPolicy) {
			row.NextGeneration(p, old, !row.Same(p.Spec, old.Spec))
		}),
		Validate:       registry.Check(validateMutatingPolicy),
		ValidateUpdate: registry.CheckUpdate(validateMutatingPolicyUpdate),
		RequireVersion: true,
	}
	r.Columns = []registry.Column{
		row.NameColumn(),
		row.Integer("Mutations", func(p *admissionregistrationv1.MutatingAdmissionPolicy) any { return int64(len(p.Spec.Mutations)) }),
		row.Text("ParamKind", func(p *admissionregistrationv1.MutatingAdmissionPolicy) any { return paramKindCell(p.Spec.ParamKind) }),
		row.AgeColumn(),
	}
	return r
}

func paramKindCell(k *admissionregistrationv1.ParamKind) string {
	if k == nil {
		return row.Unset
	}
	return k.APIVersion + "/" + k.Kind
}

func validatingBindings() *registry.Resource {
	r := policies("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", "validatingadmissionpolicybinding",
		row.New[admissionregistrationv1.ValidatingAdmissionPolicyBinding], row.New[admissionregistrationv1.ValidatingAdmissionPolicyBindingList])
	r.Strategy = bindings(
		func(b *admissionregistrationv1.ValidatingAdmissionPolicyBinding) any { return b.Spec },
		func(b *admissionregistrationv1.ValidatingAdmissionPolicyBinding) *admissionregistrationv1.MatchResources {
			return b.Spec.MatchResources
		})
	r.Strategy.Validate = registry.Check(validateValidatingBinding)
	r.Strategy.ValidateUpdate = registry.CheckUpdate(unchangedRules(validateValidatingBinding))
	r.Columns = bindingColumns(func(b *admissionregistrationv1.ValidatingAdmissionPolicyBinding) (string, *admissionregistrationv1.ParamRef) {
		return b.Spec.PolicyName, b.Spec.ParamRef
	})
	return r
}

func mutatingBindings() *registry.Resource {
	r := policies("MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings", "mutatingadmissionpolicybinding",
		row.New[admissionregistrationv1.MutatingAdmissionPolicyBinding], row.New[admissionregistrationv1.MutatingAdmissionPolicyBindingList])
	r.Strategy = bindings(
		func(b *admissionregistrationv1.MutatingAdmissionPolicyBinding) any { return b.Spec },
		func(b *admissionregistrationv1.MutatingAdmissionPolicyBinding) *admissionregistrationv1.MatchResources {
			return b.Spec.MatchResources
		})
	r.Strategy.Validate = registry.Check(validateMutatingBinding)
	r.Strategy.ValidateUpdate = registry.CheckUpdate(unchangedRules(validateMutatingBinding))
	r.Columns = bindingColumns(func(b *admissionregistrationv1.MutatingAdmissionPolicyBinding) (string, *admissionregistrationv1.ParamRef) {
		return b.Spec.PolicyName, b.Spec.ParamRef
	})
	return r
}

// bindings is what the strategies of both kinds of bindings share.
func bindings[T object](spec func(T) any, match func(T) *admissionregistrationv1.MatchResources) registry.Strategy {
	return registry.Strategy{
		Default:          registry.Do(func(b T) { defaultMatch(match(b)) }),
		PrepareForCreate: registry.Prepare(func(b T) { b.SetGeneration(1) }),
		PrepareForUpdate: registry.PrepareUpdate(func(b, old T) {
			row.NextGeneration(b, old, !row.Same(spec(b), spec(old)))
		}),
		RequireVersion: true,
	}
}

func bindingColumns[T object](facts func(T) (string, *admissionregistrationv1.ParamRef)) []registry.Column {
	return []registry.Column{
		row.NameColumn(),
		row.Text("PolicyName", func(b T) any {
			name, _ := facts(b)
			return name
		}),
		row.Text("ParamRef", func(b T) any {
			_, ref := facts(b)
			return paramRefCell(ref)
		}),
		row.AgeColumn(),
	}
}

func paramRefCell(r *admissionregistrationv1.ParamRef) string {
	switch {
	case r == nil:
		return row.Unset
	case r.Selector != nil:
		return row.Selector(r.Selector)
	case r.Namespace != "":
		return r.Namespace + "/" + r.Name
	}
	return "*/" + r.Name
}
