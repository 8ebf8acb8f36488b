package customresource

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/yare-io/yare/apiserver/registry"
	"github.com/yare-io/yare/storage/cache"
)

// Definitions is the resource that the controller follows.
var Definitions = schema.GroupResource{Group: apiextensionsv1.GroupName, Resource: "customresourcedefinitions"}

// DefinitionPrefix begins the keys of definitions in the store.
const DefinitionPrefix = "/registry/apiextensions.k8s.io/customresourcedefinitions/"

// Config is what a controller works with. All but Logger is required.
type Config struct {
	// Definitions is where the server's cache keeps the definitions.
	Definitions *cache.Resource
	// Objects reads and writes objects past authorization and admission.
	Objects registry.Objects
	// SetRows makes the server serve these rows for custom resources.
	SetRows func([]*registry.Resource) error
	// BuiltIn reports whether the server has a resource of its own by that name,
	// which a definition cannot replace.
	BuiltIn func(schema.GroupResource) bool
	// Caller reaches conversion webhooks.
	Caller Caller
	Logger *slog.Logger
}

// Controller follows the definitions: it accepts names, serves what is
// accepted, and cleans up when a definition is deleted.
type Controller struct {
	config Config
	logger *slog.Logger
	// What follows is Run's own. stored are the definitions as the cache has
	// them, known the same with the status that they should have, taken the names
	// that these have, waiting those that did not get theirs.
	stored  map[string]*apiextensionsv1.CustomResourceDefinition
	known   map[string]*apiextensionsv1.CustomResourceDefinition
	taken   taken
	waiting map[string]bool
	serving map[string]*definition
	// changed: the server does not serve what serving says.
	changed bool
	// cleaning are the definitions whose instances are being removed.
	cleaning map[string]bool
	cleaners sync.WaitGroup
	synced   atomic.Bool
}

// New returns a controller, which works once Run is called.
func New(config Config) *Controller {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	return &Controller{
		config: config, logger: config.Logger,
		stored: make(map[string]*apiextensionsv1.CustomResourceDefinition),
		known:  make(map[string]*apiextensionsv1.CustomResourceDefinition), taken: taken{}, waiting: map[string]bool{},
		serving: make(map[string]*definition), cleaning: make(map[string]bool),
	}
}

// Check is nil once the definitions that were there at the start are served.
func (c *Controller) Check(context.Context) error {
	if !c.synced.Load() {
		return errors.New("custom resource definitions have not been read yet")
	}
	return nil
}

// retryDelay is how long the controller waits before it begins again after a
// failure.
const retryDelay = time.Second

// Run follows the definitions until ctx ends.
func (c *Controller) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer c.cleaners.Wait()
	defer cancel()
	for ctx.Err() == nil {
		err := c.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		c.logger.Info("reading custom resource definitions again", "reason", err)
		select {
		case <-ctx.Done():
		case <-time.After(retryDelay):
		}
	}
	return nil
}

// follow reads all definitions, and then every change of them.
func (c *Controller) follow(ctx context.Context) error {
	c.config.Definitions.KeepDecoded()
	events, err := c.config.Definitions.Watch(ctx, cache.WatchOptions{Prefix: DefinitionPrefix, After: cache.Consistent, InitialEvents: true, Bookmarks: true})
	if err != nil {
		return err
	}
	defer events.Close()
	seen := make(map[string]bool)
	for {
		batch, err := events.Next(ctx)
		if err != nil {
			return err
		}
		names, complete := c.take(batch, seen)
		c.handle(ctx, names)
		if complete {
			c.synced.Store(true)
		}
	}
}

// take notes what events say and returns the names of the definitions that
// they concern. seen collects those of the initial state; when that is
// complete, all others are known to be gone.
func (c *Controller) take(batch []cache.Event, seen map[string]bool) (names []string, complete bool) {
	changed := make(map[string]bool)
	for _, event := range batch {
		if event.InitialEventsEnd {
			complete = true
			for name := range c.known {
				if !seen[name] {
					c.forget(name)
					changed[name] = true
				}
			}
		}
		if event.Object == nil {
			continue
		}
		obj, err := event.Object.Decoded()
		if err != nil {
			c.logger.Error("cannot read a definition", "key", event.Object.Key, "error", err)
			continue
		}
		d := obj.(*apiextensionsv1.CustomResourceDefinition)
		changed[d.Name] = true
		if event.Type == watch.Deleted {
			c.forget(d.Name)
			continue
		}
		seen[d.Name] = true
		c.stored[d.Name] = d
		c.learn(d)
	}
	return slices.Sorted(maps.Keys(changed)), complete
}

// learn takes a definition for what it is now.
func (c *Controller) learn(d *apiextensionsv1.CustomResourceDefinition) {
	if old := c.known[d.Name]; old != nil {
		c.taken.remove(old)
	}
	c.known[d.Name] = d
	c.taken.add(d)
	if apihelpers.IsCRDConditionFalse(d, apiextensionsv1.NamesAccepted) {
		c.waiting[d.Name] = true
	} else {
		delete(c.waiting, d.Name)
	}
}

func (c *Controller) forget(name string) {
	if old := c.known[name]; old != nil {
		c.taken.remove(old)
	}
	delete(c.stored, name)
	delete(c.known, name)
	delete(c.waiting, name)
	delete(c.cleaning, name)
}

// handle brings rows and conditions up to date with some definitions, and with
// those that wait for a name which they may have given up.
func (c *Controller) handle(ctx context.Context, names []string) {
	var wishes []*apiextensionsv1.CustomResourceDefinition
	for _, name := range c.withWaiting(names) {
		if d := c.known[name]; d != nil {
			wish := c.wish(d)
			wishes = append(wishes, wish)
			// Whoever is looked at next must see the names as taken.
			c.learn(wish)
			c.prepare(wish)
		} else {
			c.drop(name)
		}
	}
	if c.changed {
		if err := c.config.SetRows(c.rows()); err != nil {
			c.logger.Error("cannot serve custom resources", "error", err)
			return
		}
		c.changed = false
	}
	for _, wish := range wishes {
		if !apiequality.Semantic.DeepEqual(wish.Status, c.stored[wish.Name].Status) {
			c.report(ctx, wish)
		}
		if wish.DeletionTimestamp != nil && apihelpers.CRDHasFinalizer(wish, apiextensionsv1.CustomResourceCleanupFinalizer) {
			c.clean(ctx, wish.Name)
		}
	}
}

// withWaiting adds the definitions whose names were not accepted to some.
func (c *Controller) withWaiting(names []string) []string {
	all := slices.Clone(names)
	for name := range c.waiting {
		if !slices.Contains(names, name) {
			all = append(all, name)
		}
	}
	return all
}

// wish is a definition with the status it should have. It shares all else with
// the one that the cache has.
func (c *Controller) wish(d *apiextensionsv1.CustomResourceDefinition) *apiextensionsv1.CustomResourceDefinition {
	wish := *d
	d.Status.DeepCopyInto(&wish.Status)
	acceptNames(&wish, c.taken)
	establish(&wish)
	if old := c.serving[d.Name]; old == nil || !old.alike(d) {
		set(&wish, apiextensionsv1.NonStructuralSchema, structure(&wish))
	}
	set(&wish, apiextensionsv1.KubernetesAPIApprovalPolicyConformant, approval(&wish))
	return &wish
}

// prepare makes the rows of a definition, unless those that it has will do.
func (c *Controller) prepare(d *apiextensionsv1.CustomResourceDefinition) {
	old := c.serving[d.Name]
	resource := schema.GroupResource{Group: d.Spec.Group, Resource: d.Spec.Names.Plural}
	if !served(d) || c.config.BuiltIn(resource) {
		c.drop(d.Name)
		return
	}
	if old == nil || !old.alike(d) || !apiequality.Semantic.DeepEqual(old.source.Status.AcceptedNames, d.Status.AcceptedNames) {
		made, err := newDefinition(d, c.config.Caller)
		if err != nil {
			c.logger.Error("cannot serve a custom resource", "definition", d.Name, "error", err)
			return
		}
		c.serving[d.Name], c.changed = made, true
	}
	c.serving[d.Name].terminating.Store(d.DeletionTimestamp != nil)
}

// drop ends the service of a definition.
func (c *Controller) drop(name string) {
	if c.serving[name] != nil {
		delete(c.serving, name)
		c.changed = true
	}
}

func (c *Controller) rows() []*registry.Resource {
	var rows []*registry.Resource
	for _, name := range slices.Sorted(maps.Keys(c.serving)) {
		rows = append(rows, c.serving[name].rows...)
	}
	return rows
}

// errUnchanged ends a status update that would change nothing.
var errUnchanged = errors.New("nothing to change")

// report writes the status of a definition. When somebody else has changed the
// definition, the next event brings it here again.
func (c *Controller) report(ctx context.Context, wish *apiextensionsv1.CustomResourceDefinition) {
	err := c.change(ctx, wish.Name, func(d *apiextensionsv1.CustomResourceDefinition) error {
		if d.UID != wish.UID || d.Generation != wish.Generation {
			return errUnchanged
		}
		before := d.Status.DeepCopy()
		d.Status.AcceptedNames = wish.Status.AcceptedNames
		for _, kind := range []apiextensionsv1.CustomResourceDefinitionConditionType{
			apiextensionsv1.NamesAccepted, apiextensionsv1.Established,
			apiextensionsv1.NonStructuralSchema, apiextensionsv1.KubernetesAPIApprovalPolicyConformant,
		} {
			set(d, kind, apihelpers.FindCRDCondition(wish, kind).DeepCopy())
		}
		if apiequality.Semantic.DeepEqual(before, &d.Status) {
			return errUnchanged
		}
		return nil
	})
	if err != nil && !apierrors.IsNotFound(err) && ctx.Err() == nil {
		c.logger.Error("cannot write the status of a custom resource definition", "definition", wish.Name, "error", err)
	}
}
