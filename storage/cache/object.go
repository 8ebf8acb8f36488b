package cache

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/yare-io/yare/storage"
)

// Object is a decoded object in the cache. Nothing in it may be changed: it is
// shared by everyone who reads it.
type Object struct {
	Key string
	// Revision at which the object was last written; for the object of a
	// Deleted event that of the event. The object's resourceVersion says the
	// same.
	Revision int64
	Object   runtime.Object
	Labels   labels.Set
	// Fields are those of Config.Fields with metadata.name and
	// metadata.namespace.
	Fields fields.Fields

	// stored is how many bytes the store has of it.
	stored  int
	encoded memo
}

// Encoded returns the object as e writes it. Encodings are kept by
// e.Identifier and made once, however many ask at the same time. The bytes are
// shared and must not be changed.
func (o *Object) Encoded(e runtime.Encoder) ([]byte, error) {
	return o.encoded.get(string(e.Identifier()), func() ([]byte, error) {
		if direct, ok := e.(bytesEncoder); ok {
			return direct.Bytes(o.Object)
		}
		return runtime.Encode(e, o.Object)
	})
}

// bytesEncoder is an encoder that has its bytes in one piece anyway.
type bytesEncoder interface {
	Bytes(runtime.Object) ([]byte, error)
}

// Predicate selects objects. The zero value selects all.
type Predicate struct {
	Labels labels.Selector
	Fields fields.Selector
	// Form selects once more, of what these select; nil selects all.
	Form *Form
}

// Empty reports whether the predicate selects every object.
func (p Predicate) Empty() bool {
	return (p.Labels == nil || p.Labels.Empty()) && (p.Fields == nil || p.Fields.Empty()) && p.Form == nil
}

// Matches reports whether labels and fields of an object are selected.
func (p Predicate) Matches(o *Object) bool {
	return (p.Labels == nil || p.Labels.Matches(o.Labels)) && (p.Fields == nil || p.Fields.Matches(o.Fields))
}

const (
	nameField      = "metadata.name"
	namespaceField = "metadata.namespace"
)

// decode makes an Object of a stored value.
func (r *Resource) decode(kv storage.KV) (*Object, error) {
	obj, err := r.config.Decode(kv)
	if err != nil {
		return nil, fmt.Errorf("decode %s at revision %d: %w", kv.Key, kv.Revision, err)
	}
	if metadata, ok := obj.(metav1.ObjectMetaAccessor); ok {
		r.cache.records.share(metadata.GetObjectMeta().GetManagedFields())
	}
	return r.newObject(kv, obj)
}

func (r *Resource) newObject(kv storage.KV, obj runtime.Object) (*Object, error) {
	metadata, err := meta.Accessor(obj)
	if err != nil {
		return nil, fmt.Errorf("decode %s at revision %d: %w", kv.Key, kv.Revision, err)
	}
	o := &Object{Key: kv.Key, Revision: kv.Revision, Object: obj, Labels: metadata.GetLabels(), stored: len(kv.Value)}
	var set fields.Set
	if r.config.Fields != nil {
		set = r.config.Fields(obj)
	}
	if set == nil {
		set = make(fields.Set, 2)
	}
	set[nameField] = metadata.GetName()
	set[namespaceField] = metadata.GetNamespace()
	o.Fields = r.fieldsOf(set)
	o.encoded.budget = r.cache.encodings
	return o, nil
}

// at returns a copy that claims another revision, for events in which an object
// is seen for the last time.
func (o *Object) at(revision int64) *Object {
	obj := o.Object.DeepCopyObject()
	if metadata, err := meta.Accessor(obj); err == nil {
		metadata.SetResourceVersion(fmt.Sprint(revision))
	}
	last := &Object{Key: o.Key, Revision: revision, Object: obj, Labels: o.Labels, Fields: o.Fields}
	last.encoded.budget = o.encoded.budget
	return last
}
