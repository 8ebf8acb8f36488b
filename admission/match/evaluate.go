package match

import (
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	genericadmission "k8s.io/apiserver/pkg/admission"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
)

// Inputs are a view as the evaluators of expressions want it.
type Inputs struct {
	Attributes *genericadmission.VersionedAttributes
	Request    *admissionv1.AdmissionRequest
}

// Inputs returns the view's request for the evaluation of expressions.
func (r *Request) Inputs(v *View) Inputs {
	record := genericadmission.NewAttributesRecord(v.Object, v.OldObject, r.Kind, r.ObjectNamespace(), r.Name, r.Resource,
		r.Subresource, genericadmission.Operation(r.Operation), r.NamedOptions(), r.DryRun, r.User)
	attributes := &genericadmission.VersionedAttributes{Attributes: record, VersionedKind: v.Kind}
	if v.Object != nil {
		attributes.VersionedObject.Set(v.Object)
	}
	if v.OldObject != nil {
		attributes.VersionedOldObject.Set(v.OldObject)
	}
	return Inputs{attributes, plugincel.CreateAdmissionRequest(record, metav1.GroupVersionResource(v.Resource), metav1.GroupVersionKind(v.Kind))}
}
