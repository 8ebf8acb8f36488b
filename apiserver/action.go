package apiserver

import (
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/apiserver/codec"
	"github.com/yare-io/yare/apiserver/registry"
)

// handleAction serves a POST that does something other than store its body.
func (s *Server) handleAction(w http.ResponseWriter, r *http.Request, c *call) error {
	a, err := s.negotiate(r, c, codec.Offer{Formats: formats(c.newBody), As: c.res.offer.As})
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
	if err := c.address(obj); err != nil {
		return err
	}
	wr := newWrite(r.Context(), c, admission.Create, options, options.DryRun, "")
	if c.sub == nil { // the body of a subresource's action is no object of the row
		wr.fillDefaults(obj)
	}
	if obj, err = s.mutate(r.Context(), wr, obj, nil); err != nil {
		return err
	}
	if err := s.judge(r.Context(), wr, obj, nil); err != nil {
		return err
	}
	result, err := c.action()(r.Context(), registry.Call{
		Object:    obj,
		Resource:  c.res.row.GroupResource(),
		Namespace: c.namespace,
		Name:      c.name,
		DryRun:    wr.dryRun,
		Objects:   s.Objects(),
	})
	if err != nil {
		return err
	}
	return s.replyResult(w, r, a, result)
}

// address makes the body name the object that the path names.
func (c *call) address(obj runtime.Object) error {
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil // reviews of old have no metadata of use
	}
	if c.sub == nil { // a binding's UID says which pod it is for
		wipe(m)
	}
	if c.namespace != "" && m.GetNamespace() == "" {
		m.SetNamespace(c.namespace)
	}
	if m.GetNamespace() != c.namespace && c.res.row.Namespaced {
		return apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	if c.sub == nil {
		return nil
	}
	if m.GetName() == "" {
		m.SetName(c.name)
	}
	if m.GetName() != c.name {
		return apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s) does not match the name on the URL (%s)", m.GetName(), c.name))
	}
	return nil
}

// replyResult answers with what an action returned: mostly the kind of its
// body, else a Status.
func (s *Server) replyResult(w http.ResponseWriter, r *http.Request, a answer, result runtime.Object) error {
	if status, ok := result.(*metav1.Status); ok {
		if status.Code == 0 {
			status.Code = http.StatusCreated
		}
		return s.replyStatus(w, r, a, status)
	}
	if result == nil {
		return s.replyStatus(w, r, a, &metav1.Status{Status: metav1.StatusSuccess, Code: http.StatusCreated})
	}
	s.reply(w, r, http.StatusCreated, a, fresh{result})
	return nil
}
