package apiserver

import (
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/yare-io/yare/storage/cache"
)

func (s *Server) handleGet(w http.ResponseWriter, r *http.Request, c *call) error {
	a, err := s.negotiate(r, c, c.res.offer)
	if err != nil {
		return err
	}
	object, err := s.get(r, c)
	if err != nil {
		return err
	}
	s.reply(w, r, http.StatusOK, a, object)
	return nil
}

// get reads the object that a call names. Without a resourceVersion it sees
// everything written before.
func (s *Server) get(r *http.Request, c *call) (encodable, error) {
	revision := cache.Consistent
	if version := c.query.Get("resourceVersion"); version != "" {
		var err error
		if revision, err = parseVersion(version); err != nil {
			return nil, apierrors.NewBadRequest("invalid resourceVersion: " + err.Error())
		}
	}
	object, err := c.res.objects().Get(r.Context(), c.res.key(c.namespace, c.name), revision)
	if err != nil {
		return nil, err
	}
	return c.res.presentOne(r.Context(), object)
}
