package match

import (
	"context"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	genericadmission "k8s.io/apiserver/pkg/admission"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/lookup"
)

// Inputs are a view as the evaluators of expressions want it.
type Inputs struct {
	Attributes *genericadmission.VersionedAttributes
	Request    *admissionv1.AdmissionRequest
}

// Inputs returns the view's request for the evaluation of expressions: always
// the same, so that what was evaluated of it once is there for the next.
func (r *Request) Inputs(v *View) Inputs {
	if v.inputs.Attributes == nil {
		v.inputs = r.newInputs(v)
	}
	return v.inputs
}

func (r *Request) newInputs(v *View) Inputs {
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

// InputsOf returns the inputs of a request in the version that it came in.
func InputsOf(ctx context.Context, a *admission.Attributes) (Inputs, error) {
	r := NewRequest(a, lookup.Namespaces{}, nil)
	view, err := r.View(ctx, r.own())
	if err != nil {
		return Inputs{}, err
	}
	return r.Inputs(view), nil
}
