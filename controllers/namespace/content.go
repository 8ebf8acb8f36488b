package namespace

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
)

// pageSize is how many objects are listed at a time.
const pageSize = 500

// outcome is what one pass over a namespace's content came to.
type outcome struct {
	// discovery is why some groups could not be looked at; the rest was.
	discovery error
	// unparsed is why some group versions made no sense.
	unparsed error
	// deletion is why some content could not be deleted.
	deletion error
	// remaining counts objects left, and finalizers the objects that each
	// finalizer holds.
	remaining  map[schema.GroupVersionResource]int
	finalizers map[string]int
}

func (o *outcome) empty() bool {
	return o.discovery == nil && o.unparsed == nil && o.deletion == nil && len(o.remaining) == 0
}

// resource is something a namespace can hold.
type resource struct {
	schema.GroupVersionResource
	collection bool
}

// content deletes what is in namespaces.
type content struct {
	metadata  metadata.Interface
	discovery discovery.DiscoveryInterface
}

// remove asks for the deletion of all content of the namespace and reports what
// is left. Pods go first: while they run, they may need the rest.
func (c *content) remove(ctx context.Context, namespace string) *outcome {
	found := &outcome{remaining: map[schema.GroupVersionResource]int{}, finalizers: map[string]int{}}
	resources := c.discover(found)
	isPod := func(r resource) bool { return r.Group == "" && r.Resource == "pods" }
	if at := slices.IndexFunc(resources, isPod); at >= 0 {
		c.removeAll(ctx, namespace, resources[at], found)
		if len(found.remaining) > 0 || found.deletion != nil {
			return found
		}
	}
	for _, r := range resources {
		if !isPod(r) {
			c.removeAll(ctx, namespace, r, found)
		}
	}
	return found
}

// discover lists what can be deleted in a namespace, in a fixed order.
func (c *content) discover(found *outcome) []resource {
	lists, err := c.discovery.ServerPreferredNamespacedResources()
	found.discovery = err
	var all []resource
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			found.unparsed = errors.Join(found.unparsed, err)
			continue
		}
		for _, r := range list.APIResources {
			if slices.Contains(r.Verbs, "delete") && slices.Contains(r.Verbs, "list") {
				all = append(all, resource{version.WithResource(r.Name), slices.Contains(r.Verbs, "deletecollection")})
			}
		}
	}
	slices.SortFunc(all, func(a, b resource) int { return strings.Compare(a.String(), b.String()) })
	return all
}
func (c *content) removeAll(ctx context.Context, namespace string, r resource, found *outcome) {
	left, err := c.list(ctx, namespace, r)
	if err == nil && len(left) > 0 {
		err = c.delete(ctx, namespace, r, left)
		if err == nil {
			left, err = c.list(ctx, namespace, r)
		}
	}
	if err != nil {
		found.deletion = errors.Join(found.deletion, fmt.Errorf("%s: %w", r.GroupResource(), err))
	}
	if len(left) == 0 {
		return
	}
	found.remaining[r.GroupVersionResource] = len(left)
	for i := range left {
		for _, finalizer := range left[i].Finalizers {
			found.finalizers[finalizer]++
		}
	}
}

func (c *content) list(ctx context.Context, namespace string, r resource) ([]metav1.PartialObjectMetadata, error) {
	var all []metav1.PartialObjectMetadata
	options := metav1.ListOptions{Limit: pageSize}
	for {
		page, err := c.metadata.Resource(r.GroupVersionResource).Namespace(namespace).List(ctx, options)
		if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
			return nil, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, page.Items...)
		if page.Continue == "" {
			return all, nil
		}
		options.Continue = page.Continue
	}
}

func (c *content) delete(ctx context.Context, namespace string, r resource, objects []metav1.PartialObjectMetadata) error {
	background := metav1.DeletePropagationBackground
	options := metav1.DeleteOptions{PropagationPolicy: &background}
	api := c.metadata.Resource(r.GroupVersionResource).Namespace(namespace)
	if r.collection {
		err := api.DeleteCollection(ctx, options, metav1.ListOptions{})
		if !apierrors.IsMethodNotSupported(err) && !apierrors.IsNotFound(err) {
			return err
		}
	}
	var errs []error
	for i := range objects {
		if err := api.Delete(ctx, objects[i].Name, options); err != nil && !apierrors.IsNotFound(err) && !apierrors.IsMethodNotSupported(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
