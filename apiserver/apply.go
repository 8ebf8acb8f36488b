package apiserver

import (
	"context"
	"errors"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/apiserver/fieldmanager"
	"github.com/yare-io/yare/storage"
)

// handleApply serves server-side apply: the client says what it wants of an
// object, which need not exist, and owns what it said.
func (s *Server) handleApply(w http.ResponseWriter, r *http.Request, c *call, a answer, p *clientPatch) error {
	if err := p.checkConfiguration(r.Context(), c); err != nil {
		return err
	}
	wr := newWrite(r.Context(), c, admission.Update, p.options, p.options.DryRun, p.options.FieldManager)
	manager := wr.fields
	wr.fields = nil
	obj, err := s.update(r.Context(), wr, func(old *current) (runtime.Object, error) {
		return p.applyTo(manager, old.obj)
	})
	if err == nil {
		s.reply(w, r, http.StatusOK, a, fresh{obj})
		return nil
	}
	if !errors.Is(err, storage.ErrNotFound) || c.sub != nil {
		return err
	}
	if obj, err = s.createByApply(r.Context(), c, p, manager); err != nil {
		return err
	}
	s.reply(w, r, http.StatusCreated, a, fresh{obj})
	return nil
}

// checkConfiguration refuses or warns of duplicate and unknown fields.
func (p *clientPatch) checkConfiguration(ctx context.Context, c *call) error {
	if p.options.FieldValidation == metav1.FieldValidationIgnore {
		return nil
	}
	_, err := yaml.YAMLToJSONStrict(p.body)
	if err == nil {
		return nil
	}
	if _, parse := yaml.YAMLToJSON(p.body); parse != nil {
		return apierrors.NewBadRequest("error decoding YAML: " + parse.Error())
	}
	return strictness(ctx, c.kind(), c.kind(), []error{err}, p.options.FieldValidation)
}

func (p *clientPatch) applyTo(manager *fieldmanager.Manager, live runtime.Object) (runtime.Object, error) {
	force := p.options.Force != nil && *p.options.Force
	return manager.Apply(live, p.body, p.options.FieldManager, force)
}

// createByApply makes the object that an apply found missing, if the user may
// create it.
func (s *Server) createByApply(ctx context.Context, c *call, p *clientPatch, manager *fieldmanager.Manager) (runtime.Object, error) {
	a := attributesOf(ctx)
	a.Verb = "create"
	if err := s.allowed(ctx, a); err != nil {
		return nil, err
	}
	obj, err := p.applyTo(manager, c.res.row.New())
	if err != nil {
		return nil, err
	}
	if err := c.named(obj); err != nil {
		return nil, err
	}
	options := &metav1.CreateOptions{DryRun: p.options.DryRun, FieldManager: p.options.FieldManager, FieldValidation: p.options.FieldValidation}
	wr := newWrite(ctx, c, admission.Create, options, options.DryRun, options.FieldManager)
	wr.fields = nil
	return s.create(ctx, wr, obj)
}
