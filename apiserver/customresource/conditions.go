package customresource

import (
	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// establish says that the definition is served, or not yet.
func establish(d *apiextensionsv1.CustomResourceDefinition) {
	if apihelpers.IsCRDConditionTrue(d, apiextensionsv1.Established) {
		return
	}
	condition := apiextensionsv1.CustomResourceDefinitionCondition{
		Type: apiextensionsv1.Established, Status: apiextensionsv1.ConditionFalse, Reason: "NotAccepted", Message: "not all names are accepted",
	}
	if apihelpers.IsCRDConditionTrue(d, apiextensionsv1.NamesAccepted) {
		condition.Status, condition.Reason = apiextensionsv1.ConditionTrue, "InitialNamesAccepted"
		condition.Message = "the initial names have been accepted"
	}
	apihelpers.SetCRDCondition(d, condition)
}

// served reports whether a definition has names to be served under.
func served(d *apiextensionsv1.CustomResourceDefinition) bool {
	return apihelpers.IsCRDConditionTrue(d, apiextensionsv1.NamesAccepted) || apihelpers.IsCRDConditionTrue(d, apiextensionsv1.Established)
}

// set replaces a condition, or takes it away when there is nothing to say.
func set(d *apiextensionsv1.CustomResourceDefinition, kind apiextensionsv1.CustomResourceDefinitionConditionType, condition *apiextensionsv1.CustomResourceDefinitionCondition) {
	if condition == nil {
		apihelpers.RemoveCRDCondition(d, kind)
		return
	}
	condition.Type = kind
	if old := apihelpers.FindCRDCondition(d, kind); old == nil || !apihelpers.IsCRDConditionEquivalent(old, condition) {
		condition.LastTransitionTime = metav1.Now()
		apihelpers.SetCRDCondition(d, *condition)
	}
}

// structure is the condition NonStructuralSchema: what keeps the schemas of a
// definition, which may be older than the rule, from being structural. Those
// that do not preserve unknown fields were never accepted without.
func structure(d *apiextensionsv1.CustomResourceDefinition) *apiextensionsv1.CustomResourceDefinitionCondition {
	if !d.Spec.PreserveUnknownFields {
		return nil
	}
	errs := field.ErrorList{field.Invalid(field.NewPath("spec", "preserveUnknownFields"), true, "must be false")}
	for i, v := range d.Spec.Versions {
		if v.Schema == nil || v.Schema.OpenAPIV3Schema == nil {
			continue
		}
		internal := &apiextensions.CustomResourceValidation{}
		err := apiextensionsv1.Convert_v1_CustomResourceValidation_To_apiextensions_CustomResourceValidation(v.Schema, internal, nil)
		var s *structuralschema.Structural
		if err == nil {
			s, err = structuralschema.NewStructural(internal.OpenAPIV3Schema)
		}
		if err != nil {
			return &apiextensionsv1.CustomResourceDefinitionCondition{
				Status: apiextensionsv1.ConditionUnknown, Reason: "StructuralError",
				Message: "failed to check validation schema for version " + v.Name + ": " + err.Error(),
			}
		}
		errs = append(errs, structuralschema.ValidateStructural(field.NewPath("spec", "versions").Index(i).Child("schema", "openAPIV3Schema"), s)...)
	}
	if len(errs) == 0 {
		return nil
	}
	return &apiextensionsv1.CustomResourceDefinitionCondition{
		Status: apiextensionsv1.ConditionTrue, Reason: "Violations", Message: errs.ToAggregate().Error(),
	}
}

// approval is the condition KubernetesAPIApprovalPolicyConformant of groups
// that belong to the Kubernetes project.
func approval(d *apiextensionsv1.CustomResourceDefinition) *apiextensionsv1.CustomResourceDefinitionCondition {
	if !apihelpers.IsProtectedCommunityGroup(d.Spec.Group) {
		return nil
	}
	state, why := apihelpers.GetAPIApprovalState(d.Annotations)
	condition := &apiextensionsv1.CustomResourceDefinitionCondition{Status: apiextensionsv1.ConditionFalse, Message: why}
	switch state {
	case apihelpers.APIApproved:
		condition.Status, condition.Reason = apiextensionsv1.ConditionTrue, "ApprovedAnnotation"
	case apihelpers.APIApprovalBypassed:
		condition.Reason = "UnapprovedAnnotation"
	case apihelpers.APIApprovalMissing:
		condition.Reason = "MissingAnnotation"
	default:
		condition.Reason = "InvalidAnnotation"
	}
	return condition
}
