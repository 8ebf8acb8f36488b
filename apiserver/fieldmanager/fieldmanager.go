// Package fieldmanager does server-side apply, and keeps the record of who
// set which field (metadata.managedFields).
//
// Creates and updates are most writes, and are recorded here: the old and the
// new object are compared in one walk, and FieldsV1 is read and written
// without structured-merge-diff's sets. What is unusual (duplicate items,
// records of other versions, records that a client writes itself) and all
// applies are left to apimachinery. Tests hold the two ways against each other.
package fieldmanager

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/applyconfigurations"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/yare-io/yare/apiserver/registry"
	"github.com/yare-io/yare/openapi"
)

// Converter knows the schemas of all built-in types. Parsing them takes tens
// of milliseconds, so it is put off until somebody applies.
var Converter = sync.OnceValue(func() managedfields.TypeConverter {
	return applyconfigurations.NewTypeConverter(scheme.Scheme)
})

// Manager keeps the field record of one resource, or of one part of it. It is
// safe for concurrent use.
type Manager struct {
	row   *registry.Resource
	part  string
	inner func() (*managedfields.FieldManager, error)
	shape func() (*shape, error)
}

// New returns the manager for a row, or for a part of it by name.
func New(row *registry.Resource, part string) *Manager {
	m := &Manager{row: row, part: part}
	m.shape = sync.OnceValues(func() (*shape, error) {
		s, err := shapeOf(row)
		if err != nil {
			return nil, err
		}
		if touched := strategyOf(row, part).Touched; touched != nil {
			s = s.only(split(touched))
		}
		return s.without(append(untouched(row, part), stripped...)), nil
	})
	m.inner = sync.OnceValues(func() (*managedfields.FieldManager, error) {
		if row.Schema != nil {
			return untyped(row, part)
		}
		if !scheme.Scheme.Recognizes(row.Kind) {
			return foreign(row, part)
		}
		return managedfields.NewDefaultFieldManager(
			Converter(), scheme.Scheme, defaulter{row}, scheme.Scheme,
			row.Kind, row.Kind.GroupVersion(), part, ignored(row, part))
	})
	return m
}

// typesOf knows the schema of a Go type: client-go's, or that of the OpenAPI
// documents for types that client-go does not have.
func typesOf(row *registry.Resource) (managedfields.TypeConverter, error) {
	if scheme.Scheme.Recognizes(row.Kind) {
		return Converter(), nil
	}
	models, err := openapi.KindModels(row.Kind)
	if err != nil {
		return nil, err
	}
	return managedfields.NewTypeConverter(models, false)
}

// foreign makes the manager of a Go type that is none of client-go's.
func foreign(row *registry.Resource, part string) (*managedfields.FieldManager, error) {
	types, err := typesOf(row)
	if err != nil {
		return nil, err
	}
	kinds := runtime.NewScheme()
	kinds.AddKnownTypeWithName(row.Kind, row.New())
	return managedfields.NewDefaultFieldManager(
		types, kinds, defaulter{row}, kinds,
		row.Kind, row.Kind.GroupVersion(), part, ignored(row, part))
}

// untyped makes the manager of a kind without a Go type.
func untyped(row *registry.Resource, part string) (*managedfields.FieldManager, error) {
	types, err := row.Schema.Types()
	if err != nil {
		return nil, err
	}
	return managedfields.NewDefaultCRDFieldManager(
		types, row.Schema.Versions, defaulter{row}, creator{},
		row.Kind, row.Kind.GroupVersion(), part, ignored(row, part))
}

// creator makes objects of kinds without a Go type.
type creator struct{}

// New implements runtime.ObjectCreater.
func (creator) New(kind schema.GroupVersionKind) (runtime.Object, error) {
	obj := &unstructured.Unstructured{}
	obj.SetGroupVersionKind(kind)
	return obj, nil
}

// settled takes away the kind that typed objects do not carry.
func (m *Manager) settled(obj runtime.Object) runtime.Object {
	if m.row.Schema == nil {
		obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	}
	return obj
}

// shapeOf is the shape of a row's objects.
func shapeOf(row *registry.Resource) (*shape, error) {
	if row.Schema == nil {
		return knownShapes().root(reflect.TypeOf(row.New())), nil
	}
	types, err := row.Schema.Types()
	if err != nil {
		return nil, err
	}
	empty, err := creator{}.New(row.Kind)
	if err != nil {
		return nil, err
	}
	of, err := types.ObjectToTyped(empty)
	if err != nil {
		return nil, err
	}
	return (&schemaShapes{schema: of.Schema(), made: map[string]*shape{}}).of(of.TypeRef())
}

type defaulter struct{ row *registry.Resource }

// Default implements runtime.ObjectDefaulter.
func (d defaulter) Default(obj runtime.Object) {
	if d.row.Strategy.Default != nil {
		d.row.Strategy.Default(obj)
	}
}

// untouched are the fields that a write through this door does not touch, and
// so cannot own.
func untouched(row *registry.Resource, part string) [][]string {
	strategy := strategyOf(row, part)
	switch {
	case strategy.Untouched != nil:
		return split(strategy.Untouched)
	case strategy.Touched != nil:
		return nil
	case part == "status":
		return [][]string{{"spec"}}
	case hasStatus(row):
		return [][]string{{"status"}}
	default:
		return nil
	}
}

// strategyOf is the strategy of a row, or of a part of it.
func strategyOf(row *registry.Resource, part string) *registry.Strategy {
	for _, sub := range row.Subresources {
		if sub.Name == part && sub.Part != nil {
			return sub.Part
		}
	}
	return &row.Strategy
}

func split(paths []string) [][]string {
	out := make([][]string, len(paths))
	for i, path := range paths {
		out[i] = strings.Split(path, ".")
	}
	return out
}

// ignored says to apimachinery what a write cannot own.
func ignored(row *registry.Resource, part string) map[fieldpath.APIVersion]fieldpath.Filter {
	var filter fieldpath.Filter
	if touched := strategyOf(row, part).Touched; touched != nil {
		matchers := make([]*fieldpath.SetMatcher, len(touched))
		for i, path := range split(touched) {
			matchers[i] = fieldpath.MakePrefixMatcherOrDie(elements(path)...)
		}
		filter = fieldpath.NewIncludeMatcherFilter(matchers...)
	} else if paths := untouched(row, part); paths != nil {
		fields := fieldpath.NewSet()
		for _, path := range paths {
			fields.Insert(fieldpath.MakePathOrDie(elements(path)...))
		}
		filter = fieldpath.NewExcludeSetFilter(fields)
	} else {
		return nil
	}
	version := fieldpath.APIVersion(row.Kind.GroupVersion().String())
	return map[fieldpath.APIVersion]fieldpath.Filter{version: filter}
}

// elements are those of a path for fieldpath.
func elements(path []string) []any {
	out := make([]any, len(path))
	for i, name := range path {
		if out[i] = name; name == "*" {
			out[i] = fieldpath.MatchAnyPathElement()
		}
	}
	return out
}

func hasStatus(row *registry.Resource) bool {
	for _, sub := range row.Subresources {
		if sub.Name == "status" {
			return true
		}
	}
	return false
}

// Track brings the record of obj up to date with what a write by manager
// changes from live, which is an empty object on create. live is left alone.
func (m *Manager) Track(live, obj runtime.Object, manager string) (runtime.Object, error) {
	err := m.record(live, obj, manager)
	if !errors.Is(err, errUnusual) {
		return obj, err
	}
	inner, err := m.inner()
	if err != nil {
		return nil, err
	}
	return m.settled(inner.UpdateNoErrors(live.DeepCopyObject(), obj, manager)), nil
}

// Apply merges a configuration, in YAML or JSON, into a copy of live, which is
// an empty object when there is none. Fields that others own make it fail
// with a Conflict that names them, unless it is forced. Errors are the API's.
func (m *Manager) Apply(live runtime.Object, configuration []byte, manager string, force bool) (runtime.Object, error) {
	patch, err := m.parse(configuration)
	if err != nil {
		return nil, err
	}
	inner, err := m.inner()
	if err != nil {
		return nil, err
	}
	out, err := inner.Apply(live.DeepCopyObject(), patch, manager, force)
	if err != nil {
		return nil, wordError(err)
	}
	return m.settled(out), nil
}

func (m *Manager) parse(configuration []byte) (*unstructured.Unstructured, error) {
	patch := &unstructured.Unstructured{Object: map[string]any{}}
	if err := yaml.Unmarshal(configuration, &patch.Object); err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("error decoding YAML: %v", err))
	}
	kind := patch.GroupVersionKind()
	switch {
	case kind.Kind == "" || kind.Version == "":
		return nil, apierrors.NewBadRequest("the configuration to apply needs apiVersion and kind")
	case kind.Kind != m.row.Kind.Kind:
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the kind in the data (%s) does not match the expected kind (%s)", kind.Kind, m.row.Kind.Kind))
	}
	return patch, nil
}

// wordError leaves the API's errors as they are and blames all others on the
// configuration: it does not fit the type.
func wordError(err error) error {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return err
	}
	return apierrors.NewBadRequest(err.Error())
}

// Settle makes obj keep live's record when the two differ by nothing but
// times, and returns what undoes it.
func Settle(live, obj runtime.Object) (undo func()) {
	before, err := meta.Accessor(live)
	if err != nil {
		return func() {}
	}
	after, err := meta.Accessor(obj)
	if err != nil {
		return func() {}
	}
	record := recordHeld(after)
	if len(record) == 0 || !sameButTimes(recordHeld(before), record) {
		return func() {}
	}
	putRecord(after, recordHeld(before))
	return func() { putRecord(after, record) }
}

func sameButTimes(a, b []metav1.ManagedFieldsEntry) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := &a[i], &b[i]
		if x.Manager != y.Manager || x.Operation != y.Operation || x.APIVersion != y.APIVersion || x.FieldsType != y.FieldsType || x.Subresource != y.Subresource {
			return false
		}
		if (x.FieldsV1 == nil) != (y.FieldsV1 == nil) || (x.FieldsV1 != nil && !x.FieldsV1.Equal(*y.FieldsV1)) {
			return false
		}
	}
	return true
}

// NameOf is the manager's name of a request: what it says, else the first
// part of its user agent.
func NameOf(asked, userAgent string) string {
	if asked != "" {
		return asked
	}
	agent, _, _ := strings.Cut(userAgent, "/")
	var name strings.Builder
	for _, r := range agent {
		if !unicode.IsPrint(r) {
			continue
		}
		if name.Len()+utf8.RuneLen(r) > validation.FieldManagerMaxLength {
			break
		}
		name.WriteRune(r)
	}
	return name.String()
}
