package match

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/apiserver/registry"
)

// Versions knows the versions in which a resource is served beside its own.
type Versions struct {
	rows func() []*registry.Resource
}

// NewVersions reads the served rows through a function, for they come and go.
func NewVersions(rows func() []*registry.Resource) *Versions { return &Versions{rows} }

func (v *Versions) row(resource schema.GroupVersionResource) *registry.Resource {
	for _, r := range v.rows() {
		if r.Name == resource.Resource && r.Kind.Version == resource.Version && r.Kind.Group == resource.Group {
			return r
		}
	}
	return nil
}

// equivalents are the other rows that hold the same objects.
func (v *Versions) equivalents(resource schema.GroupVersionResource) []*registry.Resource {
	own := v.row(resource)
	if own == nil || own.StoragePrefix == "" {
		return nil
	}
	var others []*registry.Resource
	for _, r := range v.rows() {
		if r != own && r.StoragePrefix == own.StoragePrefix && r.Kind != own.Kind {
			others = append(others, r)
		}
	}
	return others
}

// kindOf is the kind of the objects a request for a resource or subresource
// is about.
func kindOf(r *registry.Resource, subresource string) schema.GroupVersionKind {
	for _, s := range r.Subresources {
		if s.Name == subresource && !s.Kind.Empty() {
			return s.Kind
		}
	}
	return r.Kind
}

// convert shows an object of one row as an object of another. It leaves its
// argument alone.
func convert(obj runtime.Object, from, to *registry.Resource) (runtime.Object, error) {
	var err error
	if from.StoredAs != nil {
		if obj, err = from.StoredAs.ToStored(obj); err != nil {
			return nil, fmt.Errorf("converting from %s: %w", from.Kind, err)
		}
	}
	if to.StoredAs != nil {
		if obj, err = to.StoredAs.FromStored(obj); err != nil {
			return nil, fmt.Errorf("converting to %s: %w", to.Kind, err)
		}
	}
	return obj, nil
}

// RowOf returns the row whose objects are of a kind, nil when there is none.
func (v *Versions) RowOf(kind schema.GroupVersionKind) *registry.Resource {
	for _, r := range v.rows() {
		if r.Kind == kind && r.Creator == nil {
			return r
		}
	}
	return nil
}

// FromStored shows an object as it is stored as one of a row.
func (v *Versions) FromStored(obj runtime.Object, row *registry.Resource) (runtime.Object, error) {
	if row.StoredAs == nil {
		return obj, nil
	}
	return row.StoredAs.FromStored(obj)
}
