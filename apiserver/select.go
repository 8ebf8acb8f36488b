package apiserver

import (
	"net/url"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	operators "k8s.io/apimachinery/pkg/selection"

	"github.com/yare-io/yare/storage/cache"
)

// selection is the parsed form of the options of list, watch and
// deletecollection.
type selection struct {
	metav1.ListOptions
	predicate cache.Predicate
	// revision is the parsed resourceVersion, zero when there is none.
	revision int64
}

// selectionOf reads and checks the list options of a call.
func selectionOf(c *call) (*selection, error) {
	sel := &selection{}
	if err := readListOptions(c.query, &sel.ListOptions); err != nil {
		return nil, err
	}
	if err := sel.parse(c); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	checked := internalversion.ListOptions{
		LabelSelector:        sel.predicate.Labels,
		FieldSelector:        sel.predicate.Fields,
		Watch:                c.info.Verb == "watch",
		AllowWatchBookmarks:  sel.AllowWatchBookmarks,
		ResourceVersion:      sel.ResourceVersion,
		ResourceVersionMatch: sel.ResourceVersionMatch,
		TimeoutSeconds:       sel.TimeoutSeconds,
		Limit:                sel.Limit,
		Continue:             sel.Continue,
		SendInitialEvents:    sel.SendInitialEvents,
	}
	if errs := validation.ValidateListOptions(&checked, true); len(errs) > 0 {
		return nil, invalidOptions("ListOptions", errs)
	}
	return sel, nil
}

func readListOptions(query url.Values, into *metav1.ListOptions) error {
	if len(query) == 0 {
		return nil
	}
	if err := metav1.Convert_url_Values_To_v1_ListOptions(&query, into, nil); err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	return nil
}

func (sel *selection) parse(c *call) (err error) {
	if sel.LabelSelector != "" {
		if sel.predicate.Labels, err = labels.Parse(sel.LabelSelector); err != nil {
			return err
		}
	}
	if sel.FieldSelector != "" {
		if sel.predicate.Fields, err = fields.ParseSelector(sel.FieldSelector); err != nil {
			return err
		}
		if err := c.res.checkFields(sel.predicate.Fields); err != nil {
			return err
		}
		if c.res.presentedFields() != nil {
			sel.divide(c.res)
		}
	}
	if c.info.LegacyWatch && c.name != "" {
		sel.predicate.Fields = named(sel.predicate.Fields, c.name)
	}
	if sel.ResourceVersion != "" {
		sel.revision, err = parseVersion(sel.ResourceVersion)
	}
	return err
}

// named narrows a selector to one name, as the legacy watch paths ask for.
func named(selector fields.Selector, name string) fields.Selector {
	one := fields.OneTermEqualSelector("metadata.name", name)
	if selector == nil {
		return one
	}
	return fields.AndSelectors(selector, one)
}

// metadataFields are what every object has in every version.
var metadataFields = []string{"metadata.name", "metadata.namespace"}

// divide parts the field selector by what can be told without presenting
// objects: nobody is asked for one whose name is not the wanted one.
func (sel *selection) divide(res *resource) {
	var told, presented []fields.Selector
	for _, r := range sel.predicate.Fields.Requirements() {
		one := fields.OneTermEqualSelector(r.Field, r.Value)
		if r.Operator == operators.NotEquals {
			one = fields.OneTermNotEqualSelector(r.Field, r.Value)
		}
		if slices.Contains(metadataFields, r.Field) {
			told = append(told, one)
		} else {
			presented = append(presented, one)
		}
	}
	sel.predicate.Fields = fields.AndSelectors(told...)
	if len(presented) > 0 {
		sel.predicate.Form = res.form(fields.AndSelectors(presented...))
	}
}
