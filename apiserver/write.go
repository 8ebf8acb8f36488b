package apiserver

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/warning"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/apiserver/fieldmanager"
	"github.com/yare-io/yare/apiserver/registry"
)

// write is one change of one object on its way to the store.
type write struct {
	res *resource
	// strategy is that of the resource or of the part that changes.
	strategy        *registry.Strategy
	namespace, name string
	dryRun          bool
	// generated: the name was made here, and another will do as well.
	generated bool
	// fields records under the name manager what a write changes; nil when it
	// has done so itself (apply).
	fields  *fieldmanager.Manager
	manager string
	// attributes is nil for the server's own writes: they pass no admission,
	// and strategies neither prepare nor check them.
	attributes *admission.Attributes
	// projected: admission has been asked about a projection of the object.
	projected bool
}

// own reports whether the write is the server's own.
func (wr *write) own() bool { return wr.attributes == nil }

// newWrite prepares the write that a client's call asks for. manager is the
// name under which the client owns fields.
func newWrite(ctx context.Context, c *call, operation admission.Operation, options runtime.Object, dryRun []string, manager string) *write {
	subresource := ""
	if c.sub != nil {
		subresource = c.sub.Name
	}
	return &write{
		res:       c.res,
		strategy:  c.strategy(),
		namespace: c.namespace,
		name:      c.name,
		dryRun:    len(dryRun) > 0,
		fields:    c.res.managers[subresource],
		manager:   manager,
		attributes: &admission.Attributes{
			Operation:   operation,
			Resource:    c.res.row.GroupVersionResource(),
			Subresource: subresource,
			Kind:        c.kind(),
			Namespace:   c.namespace,
			Name:        c.name,
			Options:     options,
			DryRun:      len(dryRun) > 0,
			User:        userOf(ctx),
		},
	}
}

// mutate runs the mutating plugins and returns the object they leave.
func (s *Server) mutate(ctx context.Context, wr *write, obj, old runtime.Object) (runtime.Object, error) {
	if wr.own() || wr.projected {
		return obj, nil
	}
	a := wr.attributes
	a.Object, a.OldObject = obj, old
	defer auditAdmission(ctx, a)
	if err := s.admission.Admit(ctx, a); err != nil {
		return nil, err
	}
	return a.Object, nil
}

// judge runs the validating plugins on the object as it would be stored, and
// passes on what plugins want the client to know.
func (s *Server) judge(ctx context.Context, wr *write, obj, old runtime.Object) error {
	if wr.own() || wr.projected {
		return nil
	}
	a := wr.attributes
	a.Object, a.OldObject = obj, old
	defer auditAdmission(ctx, a)
	if err := s.admission.Validate(ctx, a); err != nil {
		return err
	}
	for _, text := range a.Warnings() {
		warning.AddWarning(ctx, "", text)
	}
	return nil
}

// track records who changes which fields.
func (wr *write) track(live, obj runtime.Object) (runtime.Object, error) {
	if wr.own() || wr.fields == nil {
		return obj, nil
	}
	return wr.fields.Track(live, obj, wr.manager)
}

// fillDefaults runs the row's defaults. A part has those of the whole.
func (wr *write) fillDefaults(obj runtime.Object) {
	if wr.res.row.Strategy.Default != nil {
		wr.res.row.Strategy.Default(obj)
	}
}

// maxErrors bounds what an answer tells of a hopeless object: to word the
// errors costs the square of their number.
const maxErrors = 500

// invalid is nil when there are no errors.
func (wr *write) invalid(errs field.ErrorList, name string) error {
	if len(errs) == 0 {
		return nil
	}
	if len(errs) > maxErrors {
		errs = append(errs[:maxErrors:maxErrors], field.TooMany(field.NewPath("errors"), len(errs), maxErrors))
	}
	return apierrors.NewInvalid(wr.res.row.Kind.GroupKind(), name, errs)
}

// advise passes the row's warnings to the client.
func (wr *write) advise(ctx context.Context, obj, old runtime.Object) {
	if wr.own() || wr.strategy.Warnings == nil {
		return
	}
	for _, text := range wr.strategy.Warnings(ctx, obj, old) {
		warning.AddWarning(ctx, "", text)
	}
}

// allocate takes what must be unique for an object. The function returned is
// never nil.
func (wr *write) allocate(ctx context.Context, obj, old runtime.Object) (func(written bool), error) {
	if wr.strategy.Allocate == nil {
		return func(bool) {}, nil
	}
	done, err := wr.strategy.Allocate(ctx, obj, old, wr.dryRun)
	if err != nil {
		return nil, err
	}
	if done == nil {
		done = func(bool) {}
	}
	return done, nil
}
