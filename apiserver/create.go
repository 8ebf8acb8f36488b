package apiserver

import (
	"context"
	"errors"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/apiserver/codec"
	"github.com/yare-io/yare/apiserver/fieldmanager"
	"github.com/yare-io/yare/storage"
)

func (s *Server) handleCreate(w http.ResponseWriter, r *http.Request, c *call) error {
	a, err := s.negotiate(r, c, c.res.offer)
	if err != nil {
		return err
	}
	options, err := createOptions(c.query)
	if err != nil {
		return err
	}
	obj := c.newBody()
	if err := s.readObject(r, c, obj, options.FieldValidation); err != nil {
		return err
	}
	wr := newWrite(r.Context(), c, admission.Create, options, options.DryRun, fieldmanager.NameOf(options.FieldManager, r.UserAgent()))
	obj, err = s.create(r.Context(), wr, obj)
	if err != nil {
		return err
	}
	s.reply(w, r, http.StatusCreated, a, fresh{obj})
	return nil
}

// newBody returns an empty body of the call.
func (c *call) newBody() runtime.Object {
	if c.sub != nil && c.sub.New != nil {
		return c.sub.New()
	}
	return c.res.row.New()
}

// readObject reads and decodes the body of a call.
func (s *Server) readObject(r *http.Request, c *call, into runtime.Object, fieldValidation string) error {
	format, err := codec.Input(r.Header.Get("Content-Type"), formats(c.newBody))
	if err != nil {
		return err
	}
	body, err := s.readBody(r)
	if err != nil {
		return err
	}
	return c.decode(r.Context(), format, body, into, fieldValidation)
}

// create takes a new object the whole way to the store.
func (s *Server) create(ctx context.Context, wr *write, obj runtime.Object) (runtime.Object, error) {
	obj, err := s.prepareNew(ctx, wr, obj)
	if err != nil {
		return nil, err
	}
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	if err := wr.checkCreate(ctx, obj, m); err != nil {
		return nil, err
	}
	wr.advise(ctx, obj, nil)
	wr.name = m.GetName()
	if !wr.own() {
		wr.attributes.Name = wr.name
	}
	if err := s.judge(ctx, wr, obj, nil); err != nil {
		return nil, err
	}
	return s.insertNamed(ctx, wr, obj, m)
}

// prepareNew brings what a client sent into the shape in which it is checked:
// placed, mutated, defaulted, stripped of what is not the client's to say, and
// born.
func (s *Server) prepareNew(ctx context.Context, wr *write, obj runtime.Object) (runtime.Object, error) {
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	wipe(m)
	if m.GetResourceVersion() != "" {
		return nil, apierrors.NewBadRequest(errVersionOnCreate.Error())
	}
	if err := wr.place(m); err != nil {
		return nil, err
	}
	wr.fillDefaults(obj)
	if !wr.own() {
		wr.attributes.Name = m.GetName()
	}
	dropDuplicateOwners(ctx, m)
	if obj, err = wr.track(wr.res.row.New(), obj); err != nil {
		return nil, err
	}
	if obj, err = s.mutate(ctx, wr, obj, nil); err != nil {
		return nil, err
	}
	if m, err = meta.Accessor(obj); err != nil {
		return nil, err
	}
	wr.fillDefaults(obj)
	s.birth(m)
	m.SetGeneration(0)
	if wr.strategy.PrepareForCreate != nil && !wr.own() {
		wr.strategy.PrepareForCreate(ctx, obj)
	}
	dropDuplicateOwners(ctx, m)
	if m.GetName() == "" && m.GetGenerateName() != "" {
		m.SetName(generateName(m.GetGenerateName()))
		wr.generated = true
	}
	return obj, nil
}

// checkCreate is validation: of the metadata, then of the rest.
func (wr *write) checkCreate(ctx context.Context, obj runtime.Object, m metav1.Object) error {
	errs := wr.checkNew(m)
	if wr.strategy.Validate != nil {
		errs = append(errs, wr.strategy.Validate(ctx, obj)...)
	}
	return wr.invalid(errs, m.GetName())
}

// nameAttempts is how often a generated name is drawn again when it is taken.
const nameAttempts = 8

// insertNamed stores a new object, under another name when its generated one
// is taken.
func (s *Server) insertNamed(ctx context.Context, wr *write, obj runtime.Object, m metav1.Object) (runtime.Object, error) {
	for attempt := 1; ; attempt++ {
		out, err := s.insert(ctx, wr, obj)
		if !errors.Is(err, storage.ErrExists) {
			return out, err
		}
		if !wr.generated {
			return nil, apierrors.NewAlreadyExists(wr.res.row.GroupResource(), m.GetName())
		}
		if attempt == nameAttempts {
			return nil, apierrors.NewGenerateNameConflict(wr.res.row.GroupResource(), m.GetName(), 1)
		}
		wr.name = generateName(m.GetGenerateName())
		m.SetName(wr.name)
	}
}

// insert stores a new object.
func (s *Server) insert(ctx context.Context, wr *write, obj runtime.Object) (out runtime.Object, err error) {
	done, err := wr.allocate(ctx, obj, nil)
	if err != nil {
		return nil, err
	}
	written := false
	defer func() { done(written) }()
	value, err := wr.res.encode(ctx, obj)
	if err != nil {
		return nil, err
	}
	key := wr.res.key(wr.namespace, wr.name)
	if wr.dryRun {
		if err := s.absent(ctx, key); err != nil {
			return nil, err
		}
		return s.written(wr, obj, value, 0)
	}
	expected := wr.expect(key, value, obj)
	revision, err := s.config.Store.Create(ctx, key, value, wr.res.ttl(obj))
	if err != nil {
		expected.Forget()
		return nil, err
	}
	written = true
	if expected != nil {
		return expected.Written(revision), nil
	}
	return s.written(wr, obj, value, revision)
}

// written is an object as whoever reads it from the store gets it: with defaults
// for what was dropped, and those of the version in which it is stored. A
// revision of 0 is that of a new object that a dry run did not store.
func (s *Server) written(wr *write, obj runtime.Object, value []byte, revision int64) (runtime.Object, error) {
	if wr.res.row.StoredAs == nil {
		wr.fillDefaults(obj)
		if revision == 0 {
			return obj, nil
		}
		return obj, setVersion(obj, revision)
	}
	obj, err := s.set().decode(wr.res.row, storage.KV{Value: value, Revision: revision})
	if err != nil || revision > 0 {
		return obj, err
	}
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	m.SetResourceVersion("")
	return obj, nil
}

// absent is what a dry run asks in place of writing.
func (s *Server) absent(ctx context.Context, key string) error {
	_, err := s.config.Store.Get(ctx, key)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil
	case err == nil:
		return storage.ErrExists
	}
	return err
}

// maxGenerated leaves room for the suffix in a DNS label.
const (
	suffixLength = 5
	maxGenerated = 63 - suffixLength
)

func generateName(base string) string {
	if len(base) > maxGenerated {
		base = base[:maxGenerated]
	}
	return base + rand.String(suffixLength)
}
