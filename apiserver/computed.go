package apiserver

import (
	"net/http"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/cache"
)

// handleComputed serves a resource whose objects are made when they are asked
// for: they have no version and cannot be watched.
func (s *Server) handleComputed(w http.ResponseWriter, r *http.Request, c *call) error {
	a, err := s.negotiate(r, c, c.res.offer)
	if err != nil {
		return err
	}
	objects, err := c.res.row.Computed(r.Context())
	if err != nil {
		return err
	}
	if c.info.Verb == "get" {
		for _, obj := range objects {
			if m, err := meta.Accessor(obj); err == nil && m.GetName() == c.name {
				s.reply(w, r, http.StatusOK, a, fresh{obj})
				return nil
			}
		}
		return storage.ErrNotFound
	}
	sel, err := selectionOf(c)
	if err != nil {
		return err
	}
	body, err := a.renderList(r.Context(), c.res, metav1.ListMeta{}, sel.among(objects))
	if err != nil {
		return err
	}
	s.send(w, r, http.StatusOK, a.out.Format.MediaType(), prettify(a.out, body))
	return nil
}

// among returns the objects that a client selects.
func (sel *selection) among(objects []runtime.Object) []*cache.Object {
	var kept []*cache.Object
	for _, obj := range objects {
		m, err := meta.Accessor(obj)
		if err != nil {
			continue
		}
		o := cache.Made(obj, labels.Set(m.GetLabels()), fields.Set{"metadata.name": m.GetName()})
		if sel.predicate.Matches(o) {
			kept = append(kept, o)
		}
	}
	return kept
}
