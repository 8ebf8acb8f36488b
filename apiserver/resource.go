package apiserver

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/apiserver/codec"
	"github.com/yare-io/yare/apiserver/fieldmanager"
	"github.com/yare-io/yare/apiserver/registry"
	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/cache"
)

// resource is a row with what the server keeps beside it.
type resource struct {
	row *registry.Resource
	// home is the row in whose version the objects are stored, mostly row.
	home     *registry.Resource
	prefix   string
	listKind schema.GroupVersionKind
	offer    codec.Offer
	// fields are the labels that field selectors may use.
	fields []string
	// managers keep the record of who set which fields, by subresource; "" is
	// the whole.
	managers map[string]*fieldmanager.Manager
	// part of the cache; nil for resources that are not stored.
	part *part
}

// objects returns the resource's part of the cache.
func (res *resource) objects() *cache.Resource { return res.part.objects() }

func newResource(row *registry.Resource) *resource {
	res := &resource{row: row, home: row, fields: []string{"metadata.name"}}
	if row.Namespaced {
		res.fields = append(res.fields, "metadata.namespace")
	}
	for _, selectable := range []func(runtime.Object) fields.Set{row.Fields, res.presentedFields()} {
		if selectable != nil {
			res.fields = slices.AppendSeq(res.fields, maps.Keys(selectable(row.New())))
		}
	}
	res.managers = map[string]*fieldmanager.Manager{"": fieldmanager.New(row, "")}
	for _, sub := range row.Subresources {
		if sub.Part != nil || sub.Projection != nil {
			res.managers[sub.Name] = fieldmanager.New(row, sub.Name)
		}
	}
	if row.StoragePrefix != "" {
		res.prefix = "/registry/" + row.StoragePrefix + "/"
	}
	res.listKind = row.Kind.GroupVersion().WithKind(row.ListKindName())
	res.offer = codec.Offer{Formats: formats(row.New), As: []string{"Table", "PartialObjectMetadata", "PartialObjectMetadataList"}}
	return res
}

// formats lists what bodies of a type can be written in.
func formats(newObject func() runtime.Object) []codec.Format {
	if codec.HasProtobuf(newObject()) {
		return []codec.Format{codec.JSON, codec.YAML, codec.Protobuf, codec.CBOR}
	}
	return []codec.Format{codec.JSON, codec.YAML, codec.CBOR}
}

// decode reads a stored object in the version of a row. What is stored in
// another version that a row knows is converted by way of the home version.
func (set *resources) decode(row *registry.Resource, kv storage.KV) (runtime.Object, error) {
	if row.Codec != nil {
		obj, err := row.Codec.Decode(kv.Value)
		if err != nil {
			return nil, err
		}
		return obj, setVersion(obj, kv.Revision)
	}
	obj, kind, err := codec.Stored(kv.Value, func(kind schema.GroupVersionKind) runtime.Object {
		if found := set.byKind[kind]; found != nil {
			return found.row.New()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if kind != row.Kind {
		if obj, err = set.convert(obj, kind, row); err != nil {
			return nil, err
		}
	}
	if row.Strategy.Default != nil {
		row.Strategy.Default(obj)
	}
	return obj, setVersion(obj, kv.Revision)
}

// convert brings a stored object of some kind to the version of a row.
func (set *resources) convert(obj runtime.Object, kind schema.GroupVersionKind, row *registry.Resource) (runtime.Object, error) {
	source := set.byKind[kind]
	if target := set.byKind[row.Kind]; target == nil || source.home.Kind != target.home.Kind {
		return nil, fmt.Errorf("found a %s among the %s", kind, row.Name)
	}
	if source.row.Strategy.Default != nil {
		source.row.Strategy.Default(obj)
	}
	var err error
	if source.row.StoredAs != nil {
		if obj, err = source.row.StoredAs.ToStored(obj); err != nil {
			return nil, fmt.Errorf("convert %s to the stored version: %w", kind, err)
		}
	}
	if row.StoredAs != nil {
		if obj, err = row.StoredAs.FromStored(obj); err != nil {
			return nil, fmt.Errorf("convert to %s: %w", row.Kind, err)
		}
	}
	if _, untyped := obj.(runtime.Unstructured); !untyped { // answers name the kind themselves
		obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	}
	return obj, nil
}

// encode returns the bytes to store for an object of res's version. The object
// loses what is not stored.
func (res *resource) encode(ctx context.Context, obj runtime.Object) ([]byte, error) {
	accessor, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	accessor.SetResourceVersion("")
	if res.row.Codec != nil {
		return res.row.Codec.Encode(ctx, obj)
	}
	codec.DropEmpty(obj)
	if res.row.StoredAs != nil {
		if obj, err = res.row.StoredAs.ToStored(obj); err != nil {
			return nil, fmt.Errorf("convert %s to the stored version: %w", res.row.Kind, err)
		}
	}
	return codec.Store(res.home.Kind, obj)
}

// key is where an object is stored.
func (res *resource) key(namespace, name string) string {
	return res.folder(namespace) + name
}

// folder is the prefix of the keys in a namespace, or of all when it is empty.
func (res *resource) folder(namespace string) string {
	if !res.row.Namespaced || namespace == "" {
		return res.prefix
	}
	return res.prefix + namespace + "/"
}

// ttl is how long an object lives in the store.
func (res *resource) ttl(obj runtime.Object) time.Duration {
	if res.row.TTL == nil {
		return 0
	}
	return res.row.TTL(obj)
}

// subresource finds a subresource by name.
func (res *resource) subresource(name string) *registry.Subresource {
	for i := range res.row.Subresources {
		if res.row.Subresources[i].Name == name {
			return &res.row.Subresources[i]
		}
	}
	return nil
}

// checkFields refuses selectors for fields that cannot be selected, in the
// words of Kubernetes.
func (res *resource) checkFields(selector fields.Selector) error {
	for _, requirement := range selector.Requirements() {
		if slices.Contains(res.fields, requirement.Field) {
			continue
		}
		if res.row.Fields != nil || res.presentedFields() != nil {
			return fmt.Errorf("field label not supported: %s", requirement.Field)
		}
		return fmt.Errorf("%q is not a known field selector: only %q, %q", requirement.Field, "metadata.name", "metadata.namespace")
	}
	return nil
}

// setVersion writes a store revision into an object's metadata.
func setVersion(obj runtime.Object, revision int64) error {
	accessor, err := meta.Accessor(obj)
	if err != nil {
		return err
	}
	accessor.SetResourceVersion(strconv.FormatInt(revision, 10))
	return nil
}

// parseVersion reads a resourceVersion.
func parseVersion(version string) (int64, error) {
	revision, err := strconv.ParseInt(version, 10, 64)
	if err != nil || revision < 0 || strings.HasPrefix(version, "+") {
		return 0, fmt.Errorf("strconv.ParseUint: parsing %q: invalid syntax", version)
	}
	return revision, nil
}
