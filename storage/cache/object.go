package cache

import (
	"fmt"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/yare-io/yare/storage"
)

// Object is an object in the cache: the bytes that the store has, and what
// selectors ask for. Nothing in it may be changed: it is shared by everyone who
// reads it.
type Object struct {
	Key string
	// Revision at which the object was last written; for the object of a
	// Deleted event that of the event. The object's resourceVersion says the
	// same.
	Revision int64
	Labels   labels.Labels
	// Fields are those of Config.Fields with metadata.name and
	// metadata.namespace.
	Fields fields.Fields

	// resource decodes it.
	resource *Resource
	// stored is how many bytes the store has of it.
	stored  int
	content atomic.Pointer[content]
	encoded memo
}

// Made returns an object that is in no cache, for what reads objects of one.
// It keeps no encodings.
func Made(obj runtime.Object, labels labels.Labels, fields fields.Set) *Object {
	o := &Object{Labels: labels, Fields: fields}
	o.content.Store(&content{decoded: obj})
	return o
}

// Encoded returns the object as e writes it. Encodings are kept by
// e.Identifier and made once, however many ask at the same time. The bytes are
// shared and must not be changed.
func (o *Object) Encoded(e runtime.Encoder) ([]byte, error) {
	return o.encoded.get(string(e.Identifier()), func() ([]byte, error) {
		obj, err := o.passing()
		if err != nil {
			return nil, err
		}
		if direct, ok := e.(bytesEncoder); ok {
			return direct.Bytes(obj)
		}
		return runtime.Encode(e, obj)
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

// decode makes an Object of a stored value, and has it decoded for a start.
func (r *Resource) decode(kv storage.KV) (*Object, error) {
	obj, err := r.decodeValue(kv)
	if err != nil {
		return nil, err
	}
	return r.newObject(kv, obj)
}

func (r *Resource) newObject(kv storage.KV, obj runtime.Object) (*Object, error) {
	metadata, err := meta.Accessor(obj)
	if err != nil {
		return nil, fmt.Errorf("decode %s at revision %d: %w", kv.Key, kv.Revision, err)
	}
	o := &Object{Key: kv.Key, Revision: kv.Revision, resource: r, stored: len(kv.Value)}
	var set fields.Set
	if r.config.Fields != nil {
		set = r.config.Fields(obj)
	}
	if set == nil {
		set = make(fields.Set, 2)
	}
	set[nameField] = metadata.GetName()
	set[namespaceField] = metadata.GetNamespace()
	o.Fields = r.fieldsOf(kv.Key, set)
	o.Labels = r.labelsOf(metadata.GetLabels())
	o.encoded.budget = r.cache.encodings
	if r.keepsDecoded.Load() {
		o.content.Store(&content{decoded: obj})
	} else {
		o.content.Store(&content{value: kv.Value, decoded: obj})
	}
	return o, nil
}
