package trial

import (
	"encoding/json"
	"fmt"
	"slices"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/yare-io/yare/admission"
)

// Caller is who sends plain objects, and what for.
type Caller struct {
	User      string
	Groups    []string
	Operation admission.Operation
	// Namespace is that of plain objects that name none, unless their kind is
	// known to have none.
	Namespace string
}

// clusterKinds are kinds that are in no namespace, by group.
var clusterKinds = map[string][]string{
	"":                             {"Namespace", "Node", "PersistentVolume"},
	"rbac.authorization.k8s.io":    {"ClusterRole", "ClusterRoleBinding"},
	"storage.k8s.io":               {"StorageClass", "CSIDriver", "CSINode", "VolumeAttachment", "VolumeAttributesClass"},
	"scheduling.k8s.io":            {"PriorityClass"},
	"node.k8s.io":                  {"RuntimeClass"},
	"networking.k8s.io":            {"IngressClass", "IPAddress", "ServiceCIDR"},
	"apiextensions.k8s.io":         {"CustomResourceDefinition"},
	"apiregistration.k8s.io":       {"APIService"},
	"certificates.k8s.io":          {"CertificateSigningRequest", "ClusterTrustBundle"},
	"flowcontrol.apiserver.k8s.io": {"FlowSchema", "PriorityLevelConfiguration"},
	"resource.k8s.io":              {"DeviceClass", "ResourceSlice", "DeviceTaintRule"},
	"admissionregistration.k8s.io": {
		"ValidatingWebhookConfiguration", "MutatingWebhookConfiguration", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
		"MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding",
	},
}

// Attributes is the request that a document stands for: an AdmissionReview's
// own, or that which sends the object.
func (c Caller) Attributes(d Document) (*admission.Attributes, error) {
	if d.GetKind() == "AdmissionReview" {
		return fromReview(d)
	}
	if d.GetNamespace() == "" && c.Namespace != "" && !slices.Contains(clusterKinds[d.GroupVersionKind().Group], d.GetKind()) {
		d.Unstructured = d.DeepCopy()
		d.SetNamespace(c.Namespace)
	}
	a := &admission.Attributes{
		Operation: c.Operation, Kind: d.GroupVersionKind(), Resource: resourceOf(d.GroupVersionKind()),
		Namespace: d.GetNamespace(), Name: d.GetName(), User: &user.DefaultInfo{Name: c.User, Groups: c.Groups},
	}
	switch c.Operation {
	case admission.Create:
		a.Object, a.Options = d.DeepCopy(), &metav1.CreateOptions{}
	case admission.Update:
		a.Object, a.OldObject, a.Options = d.DeepCopy(), d.DeepCopy(), &metav1.UpdateOptions{}
	case admission.Delete:
		a.OldObject, a.Options = d.DeepCopy(), &metav1.DeleteOptions{}
	default:
		return nil, fmt.Errorf("the operation must be CREATE, UPDATE or DELETE, not %q; others need an AdmissionReview", c.Operation)
	}
	return a, nil
}

// fromReview reads a review as a webhook gets it.
func fromReview(d Document) (*admission.Attributes, error) {
	raw, err := json.Marshal(d.Object)
	if err != nil {
		return nil, err
	}
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal(raw, &review); err != nil {
		return nil, fmt.Errorf("%s: %w", d.Source, err)
	}
	r := review.Request
	if r == nil {
		return nil, fmt.Errorf("%s: the AdmissionReview has no request", d.Source)
	}
	a := &admission.Attributes{
		Operation: admission.Operation(r.Operation), Kind: schema.GroupVersionKind(r.Kind), Resource: schema.GroupVersionResource(r.Resource),
		Subresource: r.SubResource, Namespace: r.Namespace, Name: r.Name, DryRun: r.DryRun != nil && *r.DryRun,
		User: &user.DefaultInfo{Name: r.UserInfo.Username, UID: r.UserInfo.UID, Groups: r.UserInfo.Groups, Extra: extra(r)},
	}
	for to, from := range map[*runtime.Object]runtime.RawExtension{&a.Object: r.Object, &a.OldObject: r.OldObject, &a.Options: r.Options} {
		if len(from.Raw) == 0 || string(from.Raw) == "null" {
			continue
		}
		object := &unstructured.Unstructured{}
		if err := json.Unmarshal(from.Raw, &object.Object); err != nil {
			return nil, fmt.Errorf("%s: %w", d.Source, err)
		}
		*to = object
	}
	return a, nil
}

func extra(r *admissionv1.AdmissionRequest) map[string][]string {
	all := make(map[string][]string, len(r.UserInfo.Extra))
	for key, values := range r.UserInfo.Extra {
		all[key] = values
	}
	return all
}
