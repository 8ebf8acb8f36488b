// Package admission is the chain of checks and changes between a decoded
// request and the store: mutating plugins first, validating ones last. A
// package of its own below this one holds each family of plugins.
package admission

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
)

// Operation is what a request does to an object.
type Operation string

// The operations of admission.k8s.io/v1.
const (
	Create  Operation = "CREATE"
	Update  Operation = "UPDATE"
	Delete  Operation = "DELETE"
	Connect Operation = "CONNECT"
)

// Attributes is the request as plugins see it. One value goes through the
// whole chain of one request, on one goroutine.
type Attributes struct {
	Operation   Operation
	Resource    schema.GroupVersionResource
	Subresource string
	Kind        schema.GroupVersionKind
	// Namespace is empty for cluster-scoped objects; Name may still be empty
	// on a create with generateName.
	Namespace, Name string
	// Object is the object as it would be stored; mutating plugins change it
	// in place. It is nil for Delete.
	Object runtime.Object
	// OldObject is what is stored now, nil for Create. It is shared: never
	// change it.
	OldObject runtime.Object
	// Options are the request's CreateOptions, UpdateOptions, PatchOptions or
	// DeleteOptions.
	Options runtime.Object
	DryRun  bool
	User    user.Info

	warnings    []string
	annotations map[string]string
	// details are annotations that show parts of the object.
	details map[string]string

	// again: the mutating plugins are to run once more; rerun: they do.
	again, rerun bool
	kept         map[string]any
}

// RunAgain asks the chain to run all mutating plugins a second time, because
// what was changed may concern plugins that have had their turn. A second run
// does not lead to a third.
func (a *Attributes) RunAgain() { a.again = true }

// Rerun reports whether this is the mutating plugins' second run.
func (a *Attributes) Rerun() bool { return a.rerun }

// Keep remembers a value under a plugin's name from the first run to the
// second.
func (a *Attributes) Keep(plugin string, value any) {
	if a.kept == nil {
		a.kept = map[string]any{}
	}
	a.kept[plugin] = value
}

// Kept returns what Keep was last given, nil when nothing.
func (a *Attributes) Kept(plugin string) any { return a.kept[plugin] }

// ObjectNamespace is the namespace the request is about as webhooks and
// policies see it: a namespace object is in the namespace of its own name.
func (a *Attributes) ObjectNamespace() string {
	if a.Resource.Group == "" && a.Resource.Resource == "namespaces" {
		return a.Name
	}
	return a.Namespace
}

// Warn adds a text that the client sees as a Warning header.
func (a *Attributes) Warn(text string) {
	if !slices.Contains(a.warnings, text) {
		a.warnings = append(a.warnings, text)
	}
}

// Warnings returns what Warn collected, in order.
func (a *Attributes) Warnings() []string { return a.warnings }

// Annotate adds a fact to the request's audit event, under a key such as
// "plugin.example.io/reason". The first value of a key stays.
func (a *Attributes) Annotate(key, value string) { keepFirst(&a.annotations, key, value) }

// Annotations returns what Annotate collected; read it, do not change it.
func (a *Attributes) Annotations() map[string]string { return a.annotations }

// AnnotateDetail is Annotate for what shows parts of the object: it belongs only
// into events that have the object.
func (a *Attributes) AnnotateDetail(key, value string) { keepFirst(&a.details, key, value) }

// Details returns what AnnotateDetail collected; read it, do not change it.
func (a *Attributes) Details() map[string]string { return a.details }

func keepFirst(into *map[string]string, key, value string) {
	if *into == nil {
		*into = map[string]string{}
	}
	if _, there := (*into)[key]; !there {
		(*into)[key] = value
	}
}

// Is reports whether the request is for this resource and subresource.
func (a *Attributes) Is(resource schema.GroupResource, subresource string) bool {
	return a.Resource.Group == resource.Group && a.Resource.Resource == resource.Resource && a.Subresource == subresource
}

// Plugin is one admission plugin. It is a Mutator, a Validator, or both, and
// must be safe for concurrent use.
type Plugin interface {
	// Name is the plugin's name in Kubernetes, as in
	// --enable-admission-plugins.
	Name() string
	// Handles says which operations the plugin wants to see.
	Handles(Operation) bool
}

// Mutator may change a.Object or refuse the request. An error that is an
// apierrors.APIStatus reaches the client as it is; any other becomes a
// Forbidden that names the plugin.
type Mutator interface {
	Plugin
	Admit(ctx context.Context, a *Attributes) error
}

// Validator may refuse the request but changes nothing. It runs after
// validation, so that it sees what will be stored.
type Validator interface {
	Plugin
	Validate(ctx context.Context, a *Attributes) error
}
