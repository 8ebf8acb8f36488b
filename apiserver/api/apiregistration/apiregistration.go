// Package apiregistration holds the row of the apiregistration.k8s.io group:
// API services, which say who serves a group and version. Asking those who do
// is apiserver/aggregation's concern.
package apiregistration

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	kjson "sigs.k8s.io/json"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
)

type service = apiregistrationv1.APIService

// Resources returns the rows of the group.
func Resources() []*registry.Resource { return []*registry.Resource{services()} }

func services() *registry.Resource {
	return &registry.Resource{
		Kind: apiregistrationv1.SchemeGroupVersion.WithKind("APIService"), Name: "apiservices", Singular: "apiservice",
		Categories: []string{"api-extensions"}, Verbs: row.AllVerbs(),
		StoragePrefix: "apiregistration.k8s.io/apiservices", Codec: codec(),
		New: row.New[apiregistrationv1.APIService], NewList: row.New[apiregistrationv1.APIServiceList],
		Strategy: registry.Strategy{
			ValidName:        func(name string, prefix bool) []string { return path.ValidatePathSegmentName(name, prefix) },
			Default:          registry.Do(setDefaults),
			PrepareForCreate: registry.Prepare(prepareForCreate),
			PrepareForUpdate: registry.PrepareUpdate(func(s, old *service) { s.Status = *old.Status.DeepCopy() }),
			Validate:         registry.Check(validate),
			ValidateUpdate:   registry.CheckUpdate(func(s, _ *service) field.ErrorList { return validate(s) }),
			RequireVersion:   true,
		},
		Subresources: []registry.Subresource{row.Status(registry.Strategy{
			PrepareForUpdate: registry.PrepareUpdate(prepareStatus),
			ValidateUpdate:   registry.CheckUpdate(func(s, _ *service) field.ErrorList { return validateStatus(s) }),
			RequireVersion:   true,
		})},
		Columns: []registry.Column{
			row.NameColumn(),
			described("The reference to the service that hosts this API endpoint.", row.Text("Service", func(s *service) any { return target(s) })),
			described("Whether this service is available.", row.Text("Available", func(s *service) any { return availability(s) })),
			row.AgeColumn(),
		},
	}
}

func described(text string, column registry.Column) registry.Column {
	column.Description = text
	return column
}

// codec stores API services as Kubernetes does: as JSON.
func codec() *registry.Codec {
	kind := apiregistrationv1.SchemeGroupVersion.WithKind("APIService")
	return &registry.Codec{
		Stored: kind,
		Decode: func(value []byte) (runtime.Object, error) {
			s := &service{}
			if err := kjson.UnmarshalCaseSensitivePreserveInts(value, s); err != nil {
				return nil, fmt.Errorf("read stored API service: %w", err)
			}
			if s.Kind != kind.Kind {
				return nil, fmt.Errorf("read stored API service: found a %s", s.GroupVersionKind())
			}
			s.TypeMeta = metav1.TypeMeta{}
			setDefaults(s)
			return s, nil
		},
		Encode: func(_ context.Context, obj runtime.Object) ([]byte, error) {
			stored := *obj.(*service)
			stored.SetGroupVersionKind(kind)
			raw, err := json.Marshal(&stored)
			if err != nil {
				return nil, fmt.Errorf("encode an API service for the store: %w", err)
			}
			return append(raw, '\n'), nil
		},
	}
}

func setDefaults(s *service) {
	if s.Spec.Service != nil {
		apiregistrationv1.SetDefaults_ServiceReference(s.Spec.Service)
	}
}

func prepareForCreate(s *service) {
	s.Status = apiregistrationv1.APIServiceStatus{}
	if s.Spec.Service == nil {
		s.Status.Conditions = []apiregistrationv1.APIServiceCondition{{
			Type: apiregistrationv1.Available, Status: apiregistrationv1.ConditionTrue, LastTransitionTime: metav1.Now(),
			Reason: "Local", Message: "Local APIServices are always available",
		}}
	}
}

func prepareStatus(s, old *service) {
	s.Spec = *old.Spec.DeepCopy()
	kept := old.DeepCopy()
	s.Labels, s.Annotations, s.Finalizers, s.OwnerReferences = kept.Labels, kept.Annotations, kept.Finalizers, kept.OwnerReferences
}

func validate(s *service) field.ErrorList {
	spec := field.NewPath("spec")
	var errs field.ErrorList
	if want := s.Spec.Version + "." + s.Spec.Group; s.Name != want {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), s.Name, fmt.Sprintf("must be `spec.version+\".\"+spec.group`: %q", want)))
	}
	if s.Spec.Group == "" && s.Spec.Version != "v1" {
		errs = append(errs, field.Required(spec.Child("group"), "only v1 may have an empty group and it better be legacy kube"))
	}
	if s.Spec.Group != "" {
		for _, problem := range validation.IsDNS1123Subdomain(s.Spec.Group) {
			errs = append(errs, field.Invalid(spec.Child("group"), s.Spec.Group, problem))
		}
	}
	for _, problem := range validation.IsDNS1035Label(s.Spec.Version) {
		errs = append(errs, field.Invalid(spec.Child("version"), s.Spec.Version, problem))
	}
	if p := s.Spec.GroupPriorityMinimum; p <= 0 || p > 20000 {
		errs = append(errs, field.Invalid(spec.Child("groupPriorityMinimum"), p, "must be positive and less than 20000"))
	}
	if p := s.Spec.VersionPriority; p <= 0 || p > 1000 {
		errs = append(errs, field.Invalid(spec.Child("versionPriority"), p, "must be positive and less than 1000"))
	}
	if s.Spec.Service == nil {
		return append(errs, validateLocal(s, spec)...)
	}
	return append(errs, validateRemote(s, spec)...)
}

func validateLocal(s *service, spec *field.Path) field.ErrorList {
	var errs field.ErrorList
	if n := len(s.Spec.CABundle); n != 0 {
		errs = append(errs, field.Invalid(spec.Child("caBundle"), fmt.Sprintf("%d bytes", n), "local APIServices may not have a caBundle"))
	}
	if s.Spec.InsecureSkipTLSVerify {
		errs = append(errs, field.Invalid(spec.Child("insecureSkipTLSVerify"), true, "local APIServices may not have insecureSkipTLSVerify"))
	}
	return errs
}

func validateRemote(s *service, spec *field.Path) field.ErrorList {
	var errs field.ErrorList
	at := spec.Child("service")
	if s.Spec.Service.Namespace == "" {
		errs = append(errs, field.Required(at.Child("namespace"), ""))
	}
	if s.Spec.Service.Name == "" {
		errs = append(errs, field.Required(at.Child("name"), ""))
	}
	if s.Spec.Service.Port != nil {
		if problems := validation.IsValidPortNum(int(*s.Spec.Service.Port)); problems != nil {
			errs = append(errs, field.Invalid(at.Child("port"), *s.Spec.Service.Port, "port is not valid: "+strings.Join(problems, ", ")))
		}
	}
	if s.Spec.InsecureSkipTLSVerify && len(s.Spec.CABundle) > 0 {
		errs = append(errs, field.Invalid(spec.Child("insecureSkipTLSVerify"), true, "may not be true if caBundle is present"))
	}
	return errs
}

func validateStatus(s *service) field.ErrorList {
	var errs field.ErrorList
	known := []string{string(apiregistrationv1.ConditionTrue), string(apiregistrationv1.ConditionFalse), string(apiregistrationv1.ConditionUnknown)}
	for i, c := range s.Status.Conditions {
		switch c.Status {
		case apiregistrationv1.ConditionTrue, apiregistrationv1.ConditionFalse, apiregistrationv1.ConditionUnknown:
		default:
			errs = append(errs, field.NotSupported(field.NewPath("status", "conditions").Index(i).Child("status"), string(c.Status), known))
		}
	}
	return errs
}

func target(s *service) string {
	if s.Spec.Service == nil {
		return "Local"
	}
	return s.Spec.Service.Namespace + "/" + s.Spec.Service.Name
}

func availability(s *service) string {
	for _, c := range s.Status.Conditions {
		switch {
		case c.Type != apiregistrationv1.Available:
		case c.Status == apiregistrationv1.ConditionTrue || c.Reason == "":
			return string(c.Status)
		default:
			return fmt.Sprintf("%s (%s)", c.Status, c.Reason)
		}
	}
	return string(apiregistrationv1.ConditionUnknown)
}
