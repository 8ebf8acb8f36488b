package apiserver

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/yare-io/yare/apiserver/audit"
	"github.com/yare-io/yare/apiserver/codec"
	"github.com/yare-io/yare/apiserver/table"
	"github.com/yare-io/yare/storage"
	"github.com/yare-io/yare/storage/cache"
)

func (s *Server) handleList(w http.ResponseWriter, r *http.Request, c *call) error {
	a, err := s.negotiate(r, c, c.res.offer)
	if err != nil {
		return err
	}
	sel, err := selectionOf(c)
	if err != nil {
		return err
	}
	page, meta, err := s.list(r, c, sel)
	if err != nil {
		return err
	}
	body, err := a.renderList(r.Context(), c.res, meta, page.Objects)
	if err != nil {
		return err
	}
	if record := audit.From(r.Context()); record.WantsResponse() {
		plain := answer{kind: a.kind}
		if whole, err := plain.renderList(r.Context(), c.res, meta, page.Objects); err == nil {
			record.ResponseObject(whole)
		}
	}
	s.send(w, r, http.StatusOK, a.out.Format.MediaType(), prettify(a.out, body))
	return nil
}

// list reads the page that a call asks for.
func (s *Server) list(r *http.Request, c *call, sel *selection) (*cache.Page, metav1.ListMeta, error) {
	folder := c.res.folder(c.namespace)
	options, err := sel.listOptions(folder)
	if err != nil {
		return nil, metav1.ListMeta{}, err
	}
	page, err := c.res.objects().List(r.Context(), options)
	if errors.Is(err, storage.ErrCompacted) {
		return nil, metav1.ListMeta{}, expired(sel, options, folder)
	}
	if err != nil {
		return nil, metav1.ListMeta{}, err
	}
	meta := metav1.ListMeta{ResourceVersion: strconv.FormatInt(page.Revision, 10)}
	if page.Next == "" {
		return page, meta, nil
	}
	if meta.Continue, err = encodeContinue(page.Next, folder, page.Revision); err != nil {
		return nil, metav1.ListMeta{}, err
	}
	if page.Remaining > 0 && sel.predicate.Empty() {
		meta.RemainingItemCount = &page.Remaining
	}
	return page, meta, nil
}

// listOptions says which state of the objects a client asks for.
func (sel *selection) listOptions(folder string) (cache.ListOptions, error) {
	options := cache.ListOptions{Prefix: folder, Limit: int(sel.Limit), Predicate: sel.predicate, Revision: cache.Consistent}
	switch {
	case sel.Continue != "":
		from, revision, err := decodeContinue(sel.Continue, folder)
		if err != nil {
			return options, apierrors.NewBadRequest(err.Error())
		}
		options.From = from
		if revision > 0 {
			options.Revision, options.Exact = revision, true
		}
	case sel.ResourceVersionMatch == metav1.ResourceVersionMatchExact:
		options.Revision, options.Exact = sel.revision, true
	case sel.ResourceVersion != "":
		options.Revision = sel.revision
	}
	return options, nil
}

const (
	tooOld         = "The resourceVersion for the provided list is too old."
	tooOldContinue = "The provided continue parameter is too old to display a consistent list result. " +
		"You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. " +
		"Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list."
)

// expired is what a client gets whose list is of a revision that is gone: for
// a continued list, with a token to go on from the same key at another one.
func expired(sel *selection, options cache.ListOptions, folder string) error {
	if sel.Continue == "" {
		return apierrors.NewResourceExpired(tooOld)
	}
	token, err := encodeContinue(options.From, folder, -1)
	if err != nil {
		return err
	}
	status := apierrors.NewResourceExpired(tooOldContinue)
	status.ErrStatus.Continue = token
	return status
}

// renderList encodes a list of what the cache has, mostly from bytes that it
// has too.
func (a answer) renderList(ctx context.Context, res *resource, meta metav1.ListMeta, found []*cache.Object) ([]byte, error) {
	objects, err := res.present(ctx, found)
	if err != nil {
		return nil, err
	}
	switch a.out.As {
	case "Table":
		sources := make([]table.Source, len(objects))
		for i, o := range objects {
			sources[i] = a.source(o.obj, o.from)
		}
		return a.table(meta, sources)
	case "PartialObjectMetadata", "PartialObjectMetadataList":
		kind := a.out.AsKind()
		kind.Kind = "PartialObjectMetadataList"
		return a.join(kind, meta, objects, a.out.Format.Metadata())
	default:
		return a.join(res.listKind, meta, objects, a.out.Format.Bare())
	}
}

func (a answer) join(kind schema.GroupVersionKind, meta metav1.ListMeta, objects []shown, encoder runtime.Encoder) ([]byte, error) {
	items := make([][]byte, len(objects))
	for i, o := range objects {
		item, err := o.from.Encoded(encoder)
		if err != nil {
			return nil, err
		}
		items[i] = item
	}
	return codec.WrapList(a.out.Format, kind, meta, items)
}
