package webhook

import (
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// fieldSelector is what a list or watch selects by fields. One that cannot be
// read is left out: the question is then about more, not less.
func fieldSelector(a authorizer.Attributes) *authorizationv1.FieldSelectorAttributes {
	requirements, err := a.GetFieldSelector()
	if err != nil || len(requirements) == 0 {
		return nil
	}
	out := &authorizationv1.FieldSelectorAttributes{}
	for _, r := range requirements {
		operator := metav1.FieldSelectorOpIn
		if r.Operator == selection.NotEquals {
			operator = metav1.FieldSelectorOpNotIn
		}
		out.Requirements = append(out.Requirements, metav1.FieldSelectorRequirement{Key: r.Field, Operator: operator, Values: []string{r.Value}})
	}
	return out
}

var labelOperators = map[selection.Operator]metav1.LabelSelectorOperator{
	selection.Equals: metav1.LabelSelectorOpIn, selection.DoubleEquals: metav1.LabelSelectorOpIn, selection.In: metav1.LabelSelectorOpIn,
	selection.NotEquals: metav1.LabelSelectorOpNotIn, selection.NotIn: metav1.LabelSelectorOpNotIn,
	selection.Exists: metav1.LabelSelectorOpExists, selection.DoesNotExist: metav1.LabelSelectorOpDoesNotExist,
}

// labelSelector is the same for labels; requirements that the API has no word
// for are left out.
func labelSelector(a authorizer.Attributes) *authorizationv1.LabelSelectorAttributes {
	requirements, err := a.GetLabelSelector()
	if err != nil || len(requirements) == 0 {
		return nil
	}
	out := &authorizationv1.LabelSelectorAttributes{}
	for _, r := range requirements {
		if operator, ok := labelOperators[r.Operator()]; ok {
			out.Requirements = append(out.Requirements, metav1.LabelSelectorRequirement{Key: r.Key(), Operator: operator, Values: r.ValuesUnsorted()})
		}
	}
	return out
}
