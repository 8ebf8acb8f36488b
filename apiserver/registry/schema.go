package registry

import (
	"context"
	"encoding/json"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
)

// Schema describes a kind that has no Go type. All functions may be called
// concurrently and build what they need when they are first called.
type Schema struct {
	// Coerce brings an object that a client sent into the schema's form: what
	// the schema does not know is dropped, and comes back by path when report
	// is set. An error says that the object cannot have that form.
	Coerce func(obj runtime.Object, report bool) (unknown []string, err error)
	// Types tells server-side apply how fields merge.
	Types func() (managedfields.TypeConverter, error)
	// Versions converts objects between the versions of the kind, for the
	// records of server-side apply.
	Versions runtime.ObjectConvertor
	// Identity changes whenever the documents come to show something else of
	// the row. It is the same in all servers of a store.
	Identity string
	// OpenAPI2 and OpenAPI3 return the schema as the documents show it.
	OpenAPI2, OpenAPI3 func() (json.RawMessage, error)
}

// Codec reads and writes stored bytes.
type Codec struct {
	// Stored is the kind that the objects are stored as.
	Stored schema.GroupVersionKind
	// Decode returns the object that is stored, in the row's version unless
	// Present is set, without a resourceVersion.
	Decode func(value []byte) (runtime.Object, error)
	// Encode returns the bytes to store for an object of the row's version.
	Encode func(ctx context.Context, obj runtime.Object) ([]byte, error)
	// Present brings decoded objects, which it leaves alone, into the row's
	// version. It may ask others, so that it can fail and take time; nil:
	// nothing is to be done.
	Present func(ctx context.Context, objs []runtime.Object) ([]runtime.Object, error)
	// Fields are what field selectors may ask presented objects for, as
	// Resource.Fields are of what the store has. They are always the same names;
	// nil: none.
	Fields func(obj runtime.Object) fields.Set
}
