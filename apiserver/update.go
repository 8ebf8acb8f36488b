package apiserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/apiserver/codec"
	"github.com/yare-io/yare/apiserver/fieldmanager"
	"github.com/yare-io/yare/storage"
)

// edit returns what an object shall become. old is shared, the result is the
// caller's.
type edit func(old *current) (runtime.Object, error)

func (s *Server) handleUpdate(w http.ResponseWriter, r *http.Request, c *call) error {
	a, err := s.negotiate(r, c, c.res.offer)
	if err != nil {
		return err
	}
	options, err := updateOptions(c.query)
	if err != nil {
		return err
	}
	read, err := s.bodyReader(r, c, options.FieldValidation)
	if err != nil {
		return err
	}
	wr := newWrite(r.Context(), c, admission.Update, options, options.DryRun, fieldmanager.NameOf(options.FieldManager, r.UserAgent()))
	obj, err := s.update(r.Context(), wr, func(*current) (runtime.Object, error) { return read() })
	if !errors.Is(err, storage.ErrNotFound) || !c.createsOnUpdate() {
		if err != nil {
			return err
		}
		s.reply(w, r, http.StatusOK, a, fresh{obj})
		return nil
	}
	if obj, err = s.createByUpdate(r, c, options, read); err != nil {
		return err
	}
	s.reply(w, r, http.StatusCreated, a, fresh{obj})
	return nil
}

func (c *call) createsOnUpdate() bool {
	return c.sub == nil && c.res.row.Strategy.CreateOnUpdate
}

// bodyReader reads a body once and returns a function that decodes it as often
// as needed, for every attempt at an update changes the object.
func (s *Server) bodyReader(r *http.Request, c *call, fieldValidation string) (func() (runtime.Object, error), error) {
	format, err := codec.Input(r.Header.Get("Content-Type"), formats(c.newBody))
	if err != nil {
		return nil, err
	}
	body, err := s.readBody(r)
	if err != nil {
		return nil, err
	}
	return func() (runtime.Object, error) {
		obj := c.newBody()
		return obj, c.decode(r.Context(), format, body, obj, fieldValidation)
	}, nil
}

// createByUpdate makes the object that an update found missing, if the user
// may create it.
func (s *Server) createByUpdate(r *http.Request, c *call, options *metav1.UpdateOptions, read func() (runtime.Object, error)) (runtime.Object, error) {
	ctx := r.Context()
	a := attributesOf(ctx)
	a.Verb = "create"
	if err := s.allowed(ctx, a); err != nil {
		return nil, err
	}
	obj, err := read()
	if err != nil {
		return nil, err
	}
	if err := c.named(obj); err != nil {
		return nil, err
	}
	create := &metav1.CreateOptions{DryRun: options.DryRun, FieldManager: options.FieldManager, FieldValidation: options.FieldValidation}
	return s.create(ctx, newWrite(ctx, c, admission.Create, create, options.DryRun, fieldmanager.NameOf(options.FieldManager, r.UserAgent())), obj)
}

// named checks that an object to be created by its name on the URL has that
// name, and is not meant to be one that was there before.
func (c *call) named(obj runtime.Object) error {
	m, err := meta.Accessor(obj)
	if err != nil {
		return err
	}
	if m.GetName() != c.name {
		return apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s) does not match the name on the URL (%s)", m.GetName(), c.name))
	}
	if m.GetUID() != "" {
		return errModified(c.res.row.GroupResource(), c.name)
	}
	return nil
}

// update takes a changed object the whole way to the store.
func (s *Server) update(ctx context.Context, wr *write, edit edit) (out runtime.Object, err error) {
	err = s.attempt(ctx, wr, func(old *current) error {
		out, err = s.tryUpdate(ctx, wr, old, edit)
		return err
	})
	return out, err
}

func (s *Server) tryUpdate(ctx context.Context, wr *write, old *current, edit edit) (runtime.Object, error) {
	obj, err := edit(old)
	if err != nil {
		return nil, err
	}
	if obj, err = s.prepareChange(ctx, wr, obj, old.obj); err != nil {
		return nil, err
	}
	if err := wr.checkUpdate(ctx, obj, old.obj); err != nil {
		return nil, err
	}
	wr.advise(ctx, obj, old.obj)
	if err := s.judge(ctx, wr, obj, old.obj); err != nil {
		return nil, err
	}
	if over(wr.res.row, obj) {
		return s.erase(ctx, wr, old, obj)
	}
	return s.replace(ctx, wr, old, obj)
}

// prepareChange brings a changed object into the shape in which it is checked.
func (s *Server) prepareChange(ctx context.Context, wr *write, obj, old runtime.Object) (runtime.Object, error) {
	m, before, err := accessors(obj, old)
	if err != nil {
		return nil, err
	}
	if err := wr.place(m); err != nil {
		return nil, err
	}
	if err := wr.identical(m, before); err != nil {
		return nil, err
	}
	carry(m, before)
	wr.fillDefaults(obj)
	if obj, err = wr.track(old, obj); err != nil {
		return nil, err
	}
	if obj, err = s.mutate(ctx, wr, obj, old); err != nil {
		return nil, err
	}
	if m, err = meta.Accessor(obj); err != nil {
		return nil, err
	}
	wr.fillDefaults(obj)
	carry(m, before)
	if wr.strategy.PrepareForUpdate != nil && !wr.own() {
		wr.strategy.PrepareForUpdate(ctx, obj, old)
	}
	dropDuplicateOwners(ctx, m)
	return obj, nil
}

func accessors(obj, old runtime.Object) (m, before metav1.Object, err error) {
	if m, err = meta.Accessor(obj); err != nil {
		return nil, nil, err
	}
	before, err = meta.Accessor(old)
	return m, before, err
}

// checkUpdate is validation. The server's own writes are not checked: a
// binding, say, sets what no client may.
func (wr *write) checkUpdate(ctx context.Context, obj, old runtime.Object) error {
	if wr.own() {
		return nil
	}
	m, before, err := accessors(obj, old)
	if err != nil {
		return err
	}
	errs := checkChange(m, before)
	if wr.strategy.ValidateUpdate != nil {
		errs = append(errs, wr.strategy.ValidateUpdate(ctx, obj, old)...)
	}
	return wr.invalid(errs, wr.name)
}

// replace stores a changed object, if it is changed.
func (s *Server) replace(ctx context.Context, wr *write, old *current, obj runtime.Object) (out runtime.Object, err error) {
	same, err := unchanged(old, obj)
	if err != nil {
		return nil, err
	}
	if same && !old.live {
		return nil, errStale
	}
	if same {
		if same, err = wr.storedAlike(ctx, old, obj); same || err != nil {
			return obj, err
		}
	}
	done, err := wr.allocate(ctx, obj, old.obj)
	if err != nil {
		return nil, err
	}
	written := false
	defer func() { done(written) }()
	value, err := wr.res.encode(ctx, obj)
	if err != nil {
		return nil, err
	}
	if wr.dryRun {
		return s.written(wr, obj, value, old.revision)
	}
	key := wr.res.key(wr.namespace, wr.name)
	expected := wr.expect(key, value, obj)
	revision, err := s.config.Store.Update(ctx, key, value, old.revision, wr.res.ttl(obj))
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

// storedAlike reports whether an object that has not changed would be stored as
// it is: not so when it was stored in another version.
func (wr *write) storedAlike(ctx context.Context, old *current, obj runtime.Object) (bool, error) {
	value, err := wr.res.encode(ctx, obj)
	if err != nil {
		return false, err
	}
	return bytes.Equal(value, old.value), setVersion(obj, old.revision)
}

// unchanged compares by what clients would see.
func unchanged(old *current, obj runtime.Object) (bool, error) {
	if err := setVersion(obj, old.revision); err != nil {
		return false, err
	}
	if before, ok := old.obj.(*unstructured.Unstructured); ok && !sameContent(before.Object, obj.(*unstructured.Unstructured).Object) {
		return false, nil
	}
	undo := fieldmanager.Settle(old.obj, obj)
	same, err := alike(old, obj)
	if !same {
		undo()
	}
	return same, err
}

func alike(old *current, obj runtime.Object) (bool, error) {
	if same, known := codec.Same(old.obj, obj); known {
		return same, nil
	}
	after, err := codec.Encode(codec.JSON, obj)
	if err != nil {
		return false, err
	}
	before, err := old.encoded.Encoded(codec.JSON.Bare())
	return err == nil && bytes.Equal(before, after), err
}
