package cache

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
)

// Form is another form of objects, such as a version of their kind that cannot
// be had without asking somebody. A reader whose predicate has one gets the
// objects in it.
type Form struct {
	// Fields selects by the fields that objects have in the form.
	Fields fields.Selector
	// Of brings objects into the form, in their order. It is asked about as
	// many as may match at a time, at most batchSize of a list and twice that
	// many of a watch. It may take time; a reader fails when it does.
	Of func(ctx context.Context, objects []*Object) ([]*Object, error)
}

// In is an object's other form, obj, which has the given fields beside its name
// and namespace. Labels are those of the object itself.
func (o *Object) In(obj runtime.Object, set fields.Set) *Object {
	set[nameField], set[namespaceField] = o.Fields.Get(nameField), o.Fields.Get(namespaceField)
	other := Made(obj, o.Labels, set)
	other.Key, other.Revision = o.Key, o.Revision
	return other
}

// pick returns the form of each object that is selected, and nil for others.
func (f *Form) pick(ctx context.Context, objects []*Object) ([]*Object, error) {
	if len(objects) == 0 {
		return nil, nil
	}
	formed, err := f.Of(ctx, objects)
	if err != nil {
		return nil, err
	}
	if len(formed) != len(objects) {
		return nil, fmt.Errorf("%d objects have %d in another form", len(objects), len(formed))
	}
	picked := make([]*Object, len(formed))
	for i, object := range formed {
		if f.Fields.Matches(object.Fields) {
			picked[i] = object
		}
	}
	return picked, nil
}

// formed reads a state as page does, where the predicate has a form. It stops
// at the first selected object behind the page, and keeps none that is not
// selected.
func (s snapshot) formed(ctx context.Context, o ListOptions) (*Page, error) {
	page := &Page{Revision: s.revision}
	candidates := o
	candidates.Limit = batchSize
	for {
		found := s.matching(candidates, false)
		if err := page.add(ctx, o, found.Objects); err != nil || page.Next != "" || found.Next == "" {
			return page, err
		}
		candidates.From = found.Next
	}
}

// add puts objects that match onto a page, those that a form selects if the
// predicate has one. The first for which there is no room is Next.
func (p *Page) add(ctx context.Context, o ListOptions, objects []*Object) error {
	if o.Predicate.Form != nil {
		var err error
		if objects, err = o.Predicate.Form.pick(ctx, objects); err != nil {
			return err
		}
	}
	for _, object := range objects {
		switch {
		case object == nil:
		case o.Limit > 0 && len(p.Objects) == o.Limit:
			p.Next = object.Key
			return nil
		default:
			p.Objects = append(p.Objects, object)
		}
	}
	return nil
}

// seen tells what a watch sees of an object in one of the changes: nil, the
// object itself, or its form.
func (w *Watch) seen(ctx context.Context, changes []*change) (func(*Object) *Object, error) {
	form := w.options.Predicate.Form
	if form == nil {
		return func(o *Object) *Object {
			if w.selects(o) {
				return o
			}
			return nil
		}, nil
	}
	var objects []*Object
	for _, c := range changes {
		for _, o := range []*Object{c.previous, c.current} {
			if w.selects(o) {
				objects = append(objects, o)
			}
		}
	}
	picked, err := form.pick(ctx, objects)
	if err != nil {
		return nil, err
	}
	forms := make(map[*Object]*Object, len(objects))
	for i, o := range objects {
		forms[o] = picked[i]
	}
	return func(o *Object) *Object { return forms[o] }, nil
}
