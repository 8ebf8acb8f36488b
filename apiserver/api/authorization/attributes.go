package authorization

import (
	"fmt"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

func attributesOf(s *authorizationv1.SubjectAccessReviewSpec) authorizer.Attributes {
	who := &user.DefaultInfo{Name: s.User, UID: s.UID, Groups: s.Groups}
	for key, values := range s.Extra {
		if who.Extra == nil {
			who.Extra = map[string][]string{}
		}
		who.Extra[key] = values
	}
	return attributes(who, s.ResourceAttributes, s.NonResourceAttributes)
}

func attributes(who user.Info, r *authorizationv1.ResourceAttributes, n *authorizationv1.NonResourceAttributes) authorizer.Attributes {
	if r == nil {
		return authorizer.AttributesRecord{User: who, Verb: n.Verb, Path: n.Path}
	}
	a := authorizer.AttributesRecord{
		User: who, Verb: r.Verb, Namespace: r.Namespace, APIGroup: r.Group, APIVersion: r.Version,
		Resource: r.Resource, Subresource: r.Subresource, Name: r.Name, ResourceRequest: true,
	}
	// Rules are for any version when the question names none.
	if a.APIVersion == "" {
		a.APIVersion = "*"
	}
	if f := r.FieldSelector; f != nil {
		a.FieldSelectorRequirements, a.FieldSelectorParsingErr = fieldRequirements(f)
	}
	if l := r.LabelSelector; l != nil {
		a.LabelSelectorRequirements, a.LabelSelectorParsingErr = labelRequirements(l)
	}
	return a
}

func fieldRequirements(s *authorizationv1.FieldSelectorAttributes) (fields.Requirements, error) {
	if s.RawSelector != "" {
		parsed, err := fields.ParseSelector(s.RawSelector)
		if err != nil {
			return nil, err
		}
		return parsed.Requirements(), nil
	}
	var out fields.Requirements
	var errs []error
	for _, r := range s.Requirements {
		switch {
		case len(r.Values) != 1:
			errs = append(errs, fmt.Errorf("field selectors need exactly one value, %q has %d", r.Key, len(r.Values)))
		case r.Operator == metav1.FieldSelectorOpIn:
			out = append(out, fields.Requirement{Operator: selection.Equals, Field: r.Key, Value: r.Values[0]})
		case r.Operator == metav1.FieldSelectorOpNotIn:
			out = append(out, fields.Requirement{Operator: selection.NotEquals, Field: r.Key, Value: r.Values[0]})
		default:
			errs = append(errs, fmt.Errorf("%q is not a valid field selector operator", r.Operator))
		}
	}
	return out, utilerrors.NewAggregate(errs)
}

func labelRequirements(s *authorizationv1.LabelSelectorAttributes) (labels.Requirements, error) {
	if s.RawSelector != "" {
		parsed, err := labels.Parse(s.RawSelector)
		if err != nil {
			return nil, err
		}
		out, _ := parsed.Requirements()
		return out, nil
	}
	selector, err := metav1.LabelSelectorAsSelector(&metav1.LabelSelector{MatchExpressions: s.Requirements})
	if err != nil {
		return nil, err
	}
	out, _ := selector.Requirements()
	return out, nil
}
