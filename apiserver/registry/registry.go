// Package registry says what a resource is: one declarative Resource value,
// from which routes, discovery, OpenAPI, tables, RBAC verbs and storage are
// all derived. Handlers are generic over these values and never switch on a
// kind. The values themselves live in apiserver/api/GROUP.
package registry

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Resource describes one resource in one served version. It is immutable once
// it is registered.
type Resource struct {
	Kind schema.GroupVersionKind
	// Name is the plural as in URLs, Singular what kubectl accepts beside it.
	Name, Singular         string
	ShortNames, Categories []string
	Namespaced             bool
	// Verbs are those of the main resource, in discovery's order (sorted).
	Verbs []string

	// New and NewList return empty objects of the Go type. They are nil for
	// nothing but a resource whose list does not exist (Creator below). Kinds
	// without a Go type are *unstructured.Unstructured with their apiVersion
	// and kind, and have a Schema.
	New, NewList func() runtime.Object
	// ListKind is the kind of lists; empty: Kind with "List" after it.
	ListKind string
	// Schema stands in for the Go type of kinds that have none; else nil.
	Schema *Schema
	// Deprecation is a text that every request for the resource is warned with.
	Deprecation string

	// StoragePrefix is the folder below /registry/ in which Kubernetes keeps
	// the resource ("pods", "services/specs", "minions"). Empty for resources
	// that are not stored.
	StoragePrefix string
	// TTL is how long an object lives in the store; nil or zero: for ever.
	TTL func(runtime.Object) time.Duration
	// StoredAs is set when the objects are stored as another row's version.
	StoredAs *Conversion
	// Codec reads and writes what is stored; nil: by the Go types.
	Codec *Codec

	// Strategy governs writes to the main resource.
	Strategy Strategy
	// Delete governs removal; the zero value removes at once unless
	// finalizers stand in the way.
	Delete DeleteStrategy
	// Creator makes POST an action without storage (reviews). All else about
	// storage is then empty.
	Creator Action
	// Computed makes the objects of a resource that is not stored, for each get
	// and list. All else about storage is then empty.
	Computed func(ctx context.Context) ([]runtime.Object, error)

	// Columns are what kubectl get shows, after the name column is included
	// by the row itself. Empty: name and age.
	Columns []Column
	// Conditions mark rows of a table (a pod that has completed); nil: none.
	Conditions func(runtime.Object) []metav1.TableRowCondition
	// Fields are the selectable fields beside metadata.name and
	// metadata.namespace; nil: none.
	Fields func(runtime.Object) fields.Set
	// Indexed names those of Fields by which so many clients watch that the
	// cache keeps an index of their watchers (a pod's spec.nodeName).
	Indexed []string

	Subresources []Subresource
}

// GroupResource names the resource without its version.
func (r *Resource) GroupResource() schema.GroupResource {
	return schema.GroupResource{Group: r.Kind.Group, Resource: r.Name}
}

// ListKindName is the kind of the resource's lists.
func (r *Resource) ListKindName() string {
	if r.ListKind != "" {
		return r.ListKind
	}
	return r.Kind.Kind + "List"
}

// GroupVersionResource names the resource as clients address it.
func (r *Resource) GroupVersionResource() schema.GroupVersionResource {
	return r.Kind.GroupVersion().WithResource(r.Name)
}

// Strategy is what creating and updating an object means. All functions may be
// nil. They are called in the order of the fields; Default and the Prepare
// functions change their first object, no other function does.
type Strategy struct {
	// Default fills what the client left out. It runs on what clients send
	// and on what the store returns.
	Default func(runtime.Object)
	// PrepareForCreate drops what a client may not set, and sets what the
	// server sets. Metadata common to all kinds is not its concern.
	PrepareForCreate func(ctx context.Context, obj runtime.Object)
	// PrepareForUpdate does the same for an update, and bumps the generation
	// where the kind has one.
	PrepareForUpdate func(ctx context.Context, obj, old runtime.Object)
	// Validate returns what is wrong with a new object.
	Validate func(ctx context.Context, obj runtime.Object) field.ErrorList
	// ValidateUpdate returns what is wrong with a change. It includes what
	// Validate would say where that applies.
	ValidateUpdate func(ctx context.Context, obj, old runtime.Object) field.ErrorList
	// Warnings are texts for the client that refuse nothing. old is nil on
	// create.
	Warnings func(ctx context.Context, obj, old runtime.Object) []string
	// Allocate takes what must be unique across objects (addresses, ports) for
	// obj, just before the write; old is nil on create, obj is nil when old
	// has been deleted. The returned function is called once, with whether
	// the write happened.
	Allocate func(ctx context.Context, obj, old runtime.Object, dryRun bool) (done func(written bool), err error)

	// ValidName reports what is wrong with a metadata.name; nil means a DNS
	// subdomain. prefix is true for generateName.
	ValidName func(name string, prefix bool) []string
	// CreateOnUpdate: PUT of an object that is not there creates it.
	CreateOnUpdate bool
	// RequireVersion: an update without a resourceVersion is refused.
	RequireVersion bool

	// Untouched are the fields ("metadata.labels") that a write leaves as they
	// are, so that its author does not come to own them; nil: the spec for the
	// part named status, the status for all other writes of a kind that has
	// that part. Kubernetes calls them reset fields.
	Untouched []string
	// Touched, where set, are all fields that a write changes; "*" stands for
	// each item of a list.
	Touched []string
}

// DeleteStrategy is what deleting an object means.
type DeleteStrategy struct {
	// GracePeriod returns the seconds to give an object that a client asked to
	// delete with options (never nil; GracePeriodSeconds may be), and false
	// when the kind knows no grace. Zero seconds remove it at once.
	GracePeriod func(ctx context.Context, obj runtime.Object, options *metav1.DeleteOptions) (seconds int64, graceful bool)
	// PrepareForDelete changes an object whose deletion has begun but is not
	// over (a namespace becomes Terminating).
	PrepareForDelete func(ctx context.Context, obj runtime.Object)
	// Finalizer is added to an object when its deletion begins, for whoever
	// cleans up after it; empty: none.
	Finalizer string
	// OrphanByDefault: dependents stay unless the client says otherwise.
	OrphanByDefault bool
	// ReturnObject: the answer to a deletion that removed the object is the
	// object itself (pods, services), not a Status.
	ReturnObject bool
	// Finished reports whether an object whose deletion has begun, and which
	// has neither metadata finalizers nor grace left, may go (a namespace has
	// spec.finalizers); nil: always.
	Finished func(obj runtime.Object) bool
	// Validate refuses a deletion; nil: never.
	Validate func(ctx context.Context, obj runtime.Object) error
}

// Conversion connects a row with the row its objects are stored as. Both
// functions return a new object and leave their argument alone.
type Conversion struct {
	Kind       schema.GroupVersionKind
	ToStored   func(runtime.Object) (runtime.Object, error)
	FromStored func(runtime.Object) (runtime.Object, error)
}

// Column is one column of a table.
type Column struct {
	Name, Type, Format, Description string
	// Priority 0 columns are always shown, higher ones with -o wide.
	Priority int32
	// Cell computes the column's value for an object: a string, int64, bool or
	// nil. now is the time to compute ages against.
	Cell func(obj runtime.Object, now time.Time) any
}

// Subresource is a path below an object. Exactly one of Part, Projection,
// Action and Connect is set.
type Subresource struct {
	Name string
	// Kind of the bodies; zero means the parent's.
	Kind schema.GroupVersionKind
	// New returns an empty body; nil means the parent's.
	New   func() runtime.Object
	Verbs []string

	// Part: a part of the object itself with rules of its own (status).
	Part *Strategy
	// Projection: another kind computed from the object (scale).
	Projection *Projection
	// Action: POST does something (binding, eviction, token).
	Action Action
	// Connect: the request is a stream or a proxy (log, exec). The handler is
	// given to the server under this name by whoever wires it.
	Connect bool
}

// Projection shows an object as another kind and writes it back.
type Projection struct {
	// From computes the projection.
	From func(obj runtime.Object) (runtime.Object, error)
	// Into changes obj as the projection says.
	Into func(projection, obj runtime.Object) error
	// Validate returns what is wrong with a projection.
	Validate func(projection runtime.Object) field.ErrorList
	// Replicas is where the object has what the projection has as
	// spec.replicas; nil: there, too.
	Replicas []string
	// Columns are what kubectl get shows of it. Empty: as for resources.
	Columns []Column
}

// Action is what a POST does when it does not simply store its body.
type Action func(ctx context.Context, call Call) (runtime.Object, error)

// Call is what an Action gets.
type Call struct {
	// Object is the decoded, defaulted and admitted body.
	Object runtime.Object
	// Resource, Namespace and Name say which object the subresource is of.
	Resource        schema.GroupResource
	Namespace, Name string
	DryRun          bool
	// Objects reads and writes other objects, past authorization and
	// admission.
	Objects Objects
}

// Objects is the server's own hand on its objects.
type Objects interface {
	// Get returns the current object; it is shared, copy before changing it.
	Get(ctx context.Context, resource schema.GroupResource, namespace, name string) (runtime.Object, error)
	// List returns the current objects of a namespace (all when empty); they
	// are shared.
	List(ctx context.Context, resource schema.GroupResource, namespace string) ([]runtime.Object, error)
	// Create stores obj as it is, defaults and system metadata added.
	Create(ctx context.Context, resource schema.GroupResource, obj runtime.Object) (runtime.Object, error)
	// Update lets change edit a copy of the current object and stores it,
	// again from the start when somebody else was faster. An error of change
	// ends it.
	Update(ctx context.Context, resource schema.GroupResource, namespace, name string, change func(runtime.Object) error) (runtime.Object, error)
	// Delete deletes as a client's DELETE would.
	Delete(ctx context.Context, resource schema.GroupResource, namespace, name string, options *metav1.DeleteOptions) error
}
