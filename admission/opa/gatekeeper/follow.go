package gatekeeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/storage"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/utils/clock"
)

// Follower keeps a checker's library as Gatekeeper's objects are: those of files,
// and those that the API has. Into the status of the latter it writes whether
// they are in force.
type Follower struct {
	Checker *Checker
	// ID names this server in the status of objects.
	ID string
	// Store is where templates find data.inventory.
	Store storage.Store
	// Manifests are files and directories; may be empty.
	Manifests []string
	// Client reads the API; nil: only manifests count.
	Client dynamic.Interface
	Logger *slog.Logger
	Clock  clock.WithTicker

	seen []string
	// defined are the generations of templates whose constraints are defined as
	// they say.
	defined map[types.UID]int64
}

// followEvery is how often the sources are looked at. Reads of the API come
// from its cache.
const followEvery = 2 * time.Second

var (
	templateResource    = definitions[0].resource()
	definitionResource  = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	constraintsVersion  = "v1beta1"
	constraintsResource = func(kind string) schema.GroupVersionResource {
		return schema.GroupVersionResource{Group: ConstraintGroup, Version: constraintsVersion, Resource: strings.ToLower(kind)}
	}
)

// Run follows the sources until ctx ends.
func (f *Follower) Run(ctx context.Context) error {
	ticker := f.Clock.NewTicker(followEvery)
	defer ticker.Stop()
	for {
		if err := f.refresh(ctx); err != nil && ctx.Err() == nil {
			f.Logger.Error("Templates and constraints could not be read; those known before stay in force", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
		}
	}
}

// refresh compiles what has changed.
func (f *Follower) refresh(ctx context.Context) error {
	objects, err := ReadManifests(f.Manifests...)
	if err != nil {
		return err
	}
	if f.Client != nil {
		stored, err := f.stored(ctx)
		if err != nil {
			return err
		}
		objects = append(objects, stored...)
	}
	now := versions(objects)
	if f.Checker.Ready() && slices.Equal(now, f.seen) {
		return nil
	}
	library, problems, err := Compiler{Store: f.Store}.Compile(ctx, objects)
	if err != nil {
		return err
	}
	for _, problem := range problems {
		f.Logger.Error("A wrong template or constraint is not in force", "err", problem)
	}
	f.Checker.Use(library)
	f.seen = now
	if f.Client != nil {
		f.report(ctx, objects, problems)
	}
	f.Logger.Info("Constraints in force", "constraints", library.Len())
	return nil
}

// versions tell whether anything has changed but a status. What comes from a
// file is compared as a whole.
func versions(objects []*unstructured.Unstructured) []string {
	all := make([]string, len(objects))
	for i, object := range objects {
		if object.GetUID() != "" {
			all[i] = fmt.Sprintf("%s/%s/%d", object.GetKind(), object.GetUID(), object.GetGeneration())
			continue
		}
		all[i] = fmt.Sprint(object.Object)
	}
	return all
}

// stored reads Gatekeeper's objects from the API, and makes sure that there can
// be such.
func (f *Follower) stored(ctx context.Context) ([]*unstructured.Unstructured, error) {
	if f.defined == nil {
		f.defined = map[types.UID]int64{}
	}
	var all []*unstructured.Unstructured
	for _, d := range definitions {
		found, err := f.list(ctx, d.resource())
		if err != nil {
			return nil, err
		}
		if found == nil {
			if err := f.define(ctx, d.definition()); err != nil {
				return nil, err
			}
		}
		all = append(all, found...)
	}
	for _, object := range slices.Clone(all) {
		if object.GetKind() != "ConstraintTemplate" {
			continue
		}
		constraints, err := f.constraints(ctx, object)
		if err != nil {
			return nil, err
		}
		all = append(all, constraints...)
	}
	return all, nil
}

// constraints are those of a template.
func (f *Follower) constraints(ctx context.Context, template *unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	kind, _, err := unstructured.NestedString(template.Object, "spec", "crd", "spec", "names", "kind")
	if err != nil || kind == "" {
		return nil, nil
	}
	if f.defined[template.GetUID()] != template.GetGeneration() {
		if err := f.defineConstraints(ctx, constraintDefinition(kind, template)); err != nil {
			f.Logger.Error("No constraints can be made of a template", "template", template.GetName(), "err", err)
		} else {
			f.defined[template.GetUID()] = template.GetGeneration()
		}
	}
	found, err := f.list(ctx, constraintsResource(kind))
	if found == nil { // not served yet, or no more
		delete(f.defined, template.GetUID())
	}
	return found, err
}

// defineConstraints makes the definition of a template's constraints, or makes
// the one that is there as the template says.
func (f *Follower) defineConstraints(ctx context.Context, wanted *unstructured.Unstructured) error {
	if err := f.define(ctx, wanted); err != nil {
		return err
	}
	client := f.Client.Resource(definitionResource)
	for {
		now, err := client.Get(ctx, wanted.GetName(), metav1.GetOptions{})
		if apierrors.IsNotFound(err) { // it goes with the template before
			return nil
		}
		if err != nil {
			return err
		}
		versions, _, err := unstructured.NestedFieldNoCopy(wanted.Object, "spec", "versions")
		if err != nil {
			return err
		}
		present, _, err := unstructured.NestedFieldNoCopy(now.Object, "spec", "versions")
		if err != nil || equality.Semantic.DeepEqual(versions, present) && len(now.GetOwnerReferences()) > 0 {
			return err
		}
		now.Object["spec"].(map[string]any)["versions"] = versions
		now.SetOwnerReferences(wanted.GetOwnerReferences())
		if _, err = client.Update(ctx, now, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
			return err
		}
	}
}

// list returns nil when there is no such resource.
func (f *Follower) list(ctx context.Context, resource schema.GroupVersionResource) ([]*unstructured.Unstructured, error) {
	page, err := f.Client.Resource(resource).List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", resource.GroupResource(), err)
	}
	all := make([]*unstructured.Unstructured, len(page.Items))
	for i := range page.Items {
		all[i] = &page.Items[i]
	}
	return all, nil
}

// define makes a resource known to the API.
func (f *Follower) define(ctx context.Context, definition *unstructured.Unstructured) error {
	_, err := f.Client.Resource(definitionResource).Create(ctx, definition, metav1.CreateOptions{})
	switch {
	case apierrors.IsAlreadyExists(err):
		return nil
	case apierrors.IsNotFound(err):
		return errors.New("this server has no custom resources")
	}
	return err
}
