package gatekeeper

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/open-policy-agent/opa/v1/ast"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/opa/review"
	"github.com/yare-io/yare/admission/opa/verdict"
)

// Checker asks the library that is in force. Its methods may be called
// concurrently.
type Checker struct {
	evaluator evaluator
	library   atomic.Pointer[Library]
}

// NewChecker returns a checker without a library.
func NewChecker(e evaluator) *Checker { return &Checker{evaluator: e} }

// Use puts a library in force.
func (c *Checker) Use(l *Library) { c.library.Store(l) }

// Synced are the kinds that Gatekeeper's objects make visible as
// data.inventory.
func (c *Checker) Synced() []schema.GroupVersionKind {
	if library := c.library.Load(); library != nil {
		return library.Synced()
	}
	return nil
}

// Ready reports whether there is a library.
func (c *Checker) Ready() bool { return c.library.Load() != nil }

// Concerns reports whether constraints may be asked about a request at all:
// they are not asked about templates and constraints, so that a wrong one can
// be put right.
func Concerns(a *admission.Attributes) bool {
	return a.Subresource == "" && a.Operation != admission.Connect && !strings.HasSuffix(a.Resource.Group, ".gatekeeper.sh")
}

// Check asks all constraints that concern the request. The answer is what they
// deny; of what they warn, the request is told. An error means that there is
// no answer. namespace is the one that the object is in, or is; it may be nil.
// r is the request's review.
func (c *Checker) Check(ctx context.Context, a *admission.Attributes, namespace *corev1.Namespace, r *review.Review) ([]string, error) {
	library := c.library.Load()
	if library == nil {
		return nil, errors.New("the constraints are not loaded yet")
	}
	if library.Len() == 0 || !Concerns(a) || library.settings.excludes(webhook, a.ObjectNamespace()) {
		return nil, nil
	}
	s := subjectOf(a, namespace)
	asked := library.concerned(s, func(c *constraint) []Action { return c.actions })
	found, err := library.ask(ctx, c.evaluator, asked, a, s, r)
	if err != nil {
		return nil, err
	}
	return enforce(a, found), nil
}

// asGatekeeper is the request as Gatekeeper shows it: what is deleted is the
// object, and the namespace is in another place too. The object is decoded as a
// whole, for many constraints look at it.
func asGatekeeper(a *admission.Attributes, r *review.Review) (ast.Value, error) {
	request, err := r.Request()
	if err != nil {
		return nil, err
	}
	shown := maps.Clone(request)
	if a.Operation == admission.Delete {
		shown["object"] = shown["oldObject"]
	}
	if namespace := shown["namespaceObject"]; namespace != nil {
		shown["_unstable"] = map[string]any{"namespace": namespace}
	}
	if shown["object"], err = ast.InterfaceToValue(shown["object"]); err != nil {
		return nil, err
	}
	return ast.LazyObject(shown), nil
}

// Mutate changes the object as mutators say. After an error it is unchanged.
func (c *Checker) Mutate(a *admission.Attributes, namespace *corev1.Namespace) error {
	library := c.library.Load()
	if library == nil || len(library.mutators) == 0 || a.Object == nil || !Concerns(a) ||
		library.settings.excludes(mutating, a.ObjectNamespace()) {
		return nil
	}
	plain, err := review.Plain(a.Object, a.Kind)
	if err != nil {
		return err
	}
	object := runtime.DeepCopyJSON(plain.(map[string]any))
	applied, err := library.mutate(subjectOf(a, namespace), a.Operation, object)
	if err != nil || len(applied) == 0 {
		return err
	}
	changed, err := verdict.Replace(a.Object, object)
	if err != nil {
		return fmt.Errorf("the object as the mutators %s make it: %w", strings.Join(applied, ", "), err)
	}
	a.Object = changed
	a.Annotate("gatekeeper.admission.yare.io/mutated", strings.Join(applied, "\n"))
	return nil
}

// enforce returns what is denied.
func enforce(a *admission.Attributes, found []Violation) []string {
	var denied, noted []string
	for _, v := range found {
		text := fmt.Sprintf("[%s] %s", v.name, v.Message)
		if slices.Contains(v.actions, Deny) {
			denied = append(denied, text)
		}
		if slices.Contains(v.actions, Warn) {
			a.Warn(text)
		}
		noted = append(noted, v.kind+" "+text)
	}
	if len(noted) > 0 {
		a.Annotate("gatekeeper.admission.yare.io/violations", strings.Join(noted, "\n"))
	}
	return denied
}

func subjectOf(a *admission.Attributes, namespace *corev1.Namespace) *subject {
	s := &subject{kind: a.Kind, name: a.Name, namespace: a.Namespace, in: namespace}
	if m, err := meta.Accessor(a.Object); err == nil {
		s.objects = append(s.objects, labels.Set(m.GetLabels()))
		s.generateName = m.GetGenerateName()
	}
	if m, err := meta.Accessor(a.OldObject); err == nil {
		s.objects = append(s.objects, labels.Set(m.GetLabels()))
	}
	return s
}
