package apiserver

import (
	"context"
	"net/http"
	"path"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/storage/cache"
)

// collectionWorkers is how many objects of a collection are deleted at once.
const collectionWorkers = 8

func (s *Server) handleDeleteCollection(w http.ResponseWriter, r *http.Request, c *call) error {
	a, err := s.negotiate(r, c, c.res.offer)
	if err != nil {
		return err
	}
	sel, options, err := s.collectionOptions(r, c)
	if err != nil {
		return err
	}
	page, listMeta, err := s.list(r, c, sel)
	if err != nil {
		return err
	}
	if err := s.removeAll(r.Context(), c, page.Objects, options); err != nil {
		return err
	}
	body, err := a.renderList(r.Context(), c.res, listMeta, page.Objects)
	if err != nil {
		return err
	}
	s.send(w, r, http.StatusOK, a.out.Format.MediaType(), prettify(a.out, body))
	return nil
}

// collectionOptions reads which objects to delete, and how.
func (s *Server) collectionOptions(r *http.Request, c *call) (*selection, *metav1.DeleteOptions, error) {
	sel, err := selectionOf(c)
	if err != nil {
		return nil, nil, err
	}
	options, err := s.deleteOptions(r, c)
	return sel, options, err
}

func (s *Server) removeAll(ctx context.Context, c *call, objects []*cache.Object, options *metav1.DeleteOptions) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(collectionWorkers)
	for _, object := range objects {
		group.Go(func() error {
			one := *c
			one.name = path.Base(object.Key)
			one.namespace = object.Fields.Get("metadata.namespace")
			wr := newWrite(ctx, &one, admission.Delete, options.DeepCopy(), options.DryRun, "")
			_, _, err := s.remove(ctx, wr, options)
			if isGone(err) {
				return nil
			}
			return err
		})
	}
	return group.Wait()
}
