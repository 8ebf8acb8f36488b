package fieldmanager

import (
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/yare-io/yare/apiserver/registry"
)

// Scale applies configurations to the scale of a resource. Who applied the
// number of replicas is written down on the resource itself, where it is
// spec.replicas.
type Scale struct {
	parent  *registry.Resource
	sub     *registry.Subresource
	manager *Manager
}

// NewScale returns the manager of a row's scale.
func NewScale(parent *registry.Resource, sub *registry.Subresource) *Scale {
	row := &registry.Resource{Kind: sub.Kind, New: sub.New}
	return &Scale{parent: parent, sub: sub, manager: &Manager{row: row, inner: sync.OnceValues(func() (*managedfields.FieldManager, error) {
		// client-go has no schema of scales; they are plain enough to do
		// without one.
		return managedfields.NewDefaultFieldManager(managedfields.NewDeducedTypeConverter(), scheme.Scheme, defaulter{row}, scheme.Scheme,
			sub.Kind, sub.Kind.GroupVersion(), sub.Name, nil)
	})}}
}

// Apply merges a configuration into a scale of obj, as Manager.Apply does. The
// function returned writes the record of that on a copy of obj, and must be
// called before the copy is stored.
func (s *Scale) Apply(obj, scale runtime.Object, configuration []byte, manager string, force bool) (runtime.Object, func(runtime.Object) error, error) {
	owner, err := meta.Accessor(obj)
	if err != nil {
		return nil, nil, err
	}
	record := managedfields.NewScaleHandler(owner.GetManagedFields(), s.parent.Kind.GroupVersion(), s.paths())
	entries, err := record.ToSubresource()
	if err != nil {
		return nil, nil, fmt.Errorf("record of %s: %w", s.parent.Name, err)
	}
	if err := setRecord(scale, entries); err != nil {
		return nil, nil, err
	}
	applied, err := s.manager.Apply(scale, configuration, manager, force)
	if err != nil {
		return nil, nil, err
	}
	after, err := meta.Accessor(applied)
	if err != nil {
		return nil, nil, err
	}
	if entries, err = record.ToParent(after.GetManagedFields()); err != nil {
		return nil, nil, fmt.Errorf("record of %s: %w", s.parent.Name, err)
	}
	after.SetManagedFields(nil)
	return applied, func(obj runtime.Object) error { return setRecord(obj, entries) }, nil
}

// paths say where the resource has its replicas.
func (s *Scale) paths() managedfields.ResourcePathMappings {
	version := schema.GroupVersion{Group: s.parent.Kind.Group, Version: s.parent.Kind.Version}.String()
	path := fieldpath.MakePathOrDie("spec", "replicas")
	if replicas := s.sub.Projection.Replicas; replicas != nil {
		path = nil
		for i := range replicas {
			path = append(path, fieldpath.PathElement{FieldName: &replicas[i]})
		}
	}
	return managedfields.ResourcePathMappings{version: path}
}

func setRecord(obj runtime.Object, entries []metav1.ManagedFieldsEntry) error {
	m, err := meta.Accessor(obj)
	if err != nil {
		return err
	}
	m.SetManagedFields(entries)
	return nil
}
