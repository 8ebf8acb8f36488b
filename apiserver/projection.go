package apiserver

import (
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/apiserver/codec"
	"github.com/yare-io/yare/apiserver/fieldmanager"
	"github.com/yare-io/yare/apiserver/registry"
)

// handleProjection reads and writes an object by way of another kind (scale).
func (s *Server) handleProjection(w http.ResponseWriter, r *http.Request, c *call) error {
	a, err := s.negotiate(r, c, codec.Offer{Formats: formats(c.newBody), As: c.res.offer.As})
	if err != nil {
		return err
	}
	var obj runtime.Object
	switch c.info.Verb {
	case "get":
		obj, err = s.project(r, c)
	case "update":
		obj, err = s.putProjection(r, c)
	case "patch":
		obj, err = s.patchProjection(r, c)
	default:
		err = errMethod()
	}
	if err != nil {
		return err
	}
	s.reply(w, r, http.StatusOK, a, fresh{obj})
	return nil
}

func (s *Server) project(r *http.Request, c *call) (runtime.Object, error) {
	object, err := s.get(r, c)
	if err != nil {
		return nil, err
	}
	obj, err := object.Decoded()
	if err != nil {
		return nil, err
	}
	return c.sub.Projection.From(obj)
}

func (s *Server) putProjection(r *http.Request, c *call) (runtime.Object, error) {
	options, err := updateOptions(c.query)
	if err != nil {
		return nil, err
	}
	read, err := s.bodyReader(r, c, options.FieldValidation)
	if err != nil {
		return nil, err
	}
	return s.writeProjection(r, c, options, options.DryRun, options.FieldManager, func(runtime.Object) (runtime.Object, error) { return read() })
}

func (s *Server) patchProjection(r *http.Request, c *call) (runtime.Object, error) {
	p, err := s.readPatch(r, c)
	if err != nil {
		return nil, err
	}
	if p.kind == types.ApplyYAMLPatchType {
		return s.applyProjection(r, c, p)
	}
	return s.writeProjection(r, c, p.options, p.options.DryRun, p.options.FieldManager, func(old runtime.Object) (runtime.Object, error) {
		return p.apply(r, c, old, fresh{old})
	})
}

// applyProjection applies a configuration to a projection. Who owns what is
// written down on the object below.
func (s *Server) applyProjection(r *http.Request, c *call, p *clientPatch) (runtime.Object, error) {
	if err := p.checkConfiguration(r.Context(), c); err != nil {
		return nil, err
	}
	ctx, projection, scale := r.Context(), c.sub.Projection, fieldmanager.NewScale(c.res.row, c.sub)
	wr := newWrite(ctx, c, admission.Update, p.options, p.options.DryRun, p.options.FieldManager)
	wr.strategy, wr.fields = &c.res.row.Strategy, nil
	below := *wr
	below.projected = true
	obj, err := s.update(ctx, &below, func(old *current) (runtime.Object, error) {
		before, err := projection.From(old.obj)
		if err != nil {
			return nil, err
		}
		force := p.options.Force != nil && *p.options.Force
		after, record, err := scale.Apply(old.obj, before.DeepCopyObject(), p.body, p.options.FieldManager, force)
		if err != nil {
			return nil, err
		}
		if after, err = s.admitProjection(r, wr, projection, after, before); err != nil {
			return nil, err
		}
		obj := old.obj.DeepCopyObject()
		if err := projection.Into(after, obj); err != nil {
			return nil, err
		}
		return obj, record(obj)
	})
	if err != nil {
		return nil, err
	}
	return projection.From(obj)
}

// writeProjection changes an object as its changed projection says. Admission
// sees the projection; the rules of the object itself then apply to the
// result.
func (s *Server) writeProjection(r *http.Request, c *call, options runtime.Object, dryRun []string, manager string, edit func(old runtime.Object) (runtime.Object, error)) (runtime.Object, error) {
	ctx, projection := r.Context(), c.sub.Projection
	wr := newWrite(ctx, c, admission.Update, options, dryRun, fieldmanager.NameOf(manager, r.UserAgent()))
	wr.strategy = &c.res.row.Strategy
	// The object below passes no admission: it is the projection that is asked
	// about.
	below := *wr
	below.projected = true
	obj, err := s.update(ctx, &below, func(old *current) (runtime.Object, error) {
		before, err := projection.From(old.obj)
		if err != nil {
			return nil, err
		}
		after, err := edit(before)
		if err != nil {
			return nil, err
		}
		if after, err = s.admitProjection(r, wr, projection, after, before); err != nil {
			return nil, err
		}
		obj := old.obj.DeepCopyObject()
		return obj, projection.Into(after, obj)
	})
	if err != nil {
		return nil, err
	}
	return projection.From(obj)
}

// admitProjection checks a changed projection as an object of its own.
func (s *Server) admitProjection(r *http.Request, wr *write, projection *registry.Projection, after, before runtime.Object) (runtime.Object, error) {
	m, old, err := accessors(after, before)
	if err != nil {
		return nil, err
	}
	if err := wr.fits(m, old); err != nil {
		return nil, err
	}
	if after, err = s.mutate(r.Context(), wr, after, before); err != nil {
		return nil, err
	}
	if projection.Validate != nil {
		if errs := projection.Validate(after); len(errs) > 0 {
			return nil, apierrors.NewInvalid(wr.attributes.Kind.GroupKind(), wr.name, errs)
		}
	}
	return after, s.judge(r.Context(), wr, after, before)
}

// fits checks that a projection is of the object that is there.
func (wr *write) fits(m, old metav1.Object) error {
	if m.GetNamespace() == "" {
		m.SetNamespace(wr.namespace)
	}
	if m.GetNamespace() != wr.namespace {
		return apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	if m.GetName() != wr.name {
		return apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s) does not match the name on the URL (%s)", m.GetName(), wr.name))
	}
	resource := wr.res.row.GroupResource()
	if m.GetUID() != "" && m.GetUID() != old.GetUID() {
		return apierrors.NewConflict(resource, wr.name, fmt.Errorf("Precondition failed: UID in precondition: %v, UID in object meta: %v", m.GetUID(), old.GetUID()))
	}
	if version := m.GetResourceVersion(); version != "" && version != old.GetResourceVersion() {
		return errModified(resource, wr.name)
	}
	return nil
}
