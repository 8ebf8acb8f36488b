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
	"sigs.k8s.io/yaml"

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
	if record := audit.From(r.Context()); record.WantsResponse() {
		plain := answer{kind: a.kind}
		if whole, err := plain.renderList(r.Context(), c.res, meta, page.Objects); err == nil {
			record.ResponseObject(whole)
		}
	}
	if a.joins() {
		return s.sendJoined(w, r, c.res, a, meta, page.Objects)
	}
	body, err := a.renderList(r.Context(), c.res, meta, page.Objects)
	if err != nil {
		return err
	}
	s.send(w, r, http.StatusOK, a.out.Format.MediaType(), prettify(a.out, body))
	return nil
}

// joins reports whether lists of the form are sent piece by piece.
func (a answer) joins() bool {
	return a.out.As != "Table" && a.out.Format != codec.YAML && !a.out.Pretty
}

// fewObjects are compressed as one list, if at all.
const fewObjects = 32

// sendJoined sends a list without making one piece of it.
func (s *Server) sendJoined(w http.ResponseWriter, r *http.Request, res *resource, a answer, meta metav1.ListMeta, found []*cache.Object) error {
	objects, err := res.present(r.Context(), found)
	if err != nil {
		return err
	}
	gzip := len(objects) > fewObjects && acceptsGzip(r)
	if len(objects) > fewObjects && a.out.Format.Streams() {
		return s.streamList(w, res, a, meta, objects, gzip)
	}
	if gzip {
		list, err := a.join(res, meta, objects, codec.Deflated, codec.NewGzipList)
		if err != nil {
			return err
		}
		compressed(w)
		return s.sendList(w, a, list)
	}
	list, err := a.join(res, meta, objects, plain, codec.NewList)
	if err != nil {
		return err
	}
	if list.Size() > gzipAbove && acceptsGzip(r) {
		s.send(w, r, http.StatusOK, a.out.Format.MediaType(), list.Bytes())
		return nil
	}
	w.Header().Set("Content-Length", strconv.Itoa(list.Size()))
	return s.sendList(w, a, list)
}

func compressed(w http.ResponseWriter) {
	w.Header().Set("Content-Encoding", "gzip")
	w.Header().Add("Vary", "Accept-Encoding")
}

// streamList encodes objects, where they are not encoded yet, while it sends
// them.
func (s *Server) streamList(w http.ResponseWriter, res *resource, a answer, meta metav1.ListMeta, objects []encodable, gzip bool) error {
	kind, encoder := a.listForm(res)
	if gzip {
		encoder = codec.Deflated(encoder)
		compressed(w)
	}
	list, err := codec.StreamList(a.out.Format, kind, meta, len(objects), func(i int) ([]byte, error) { return objects[i].Encoded(encoder) }, gzip)
	if err != nil {
		return err
	}
	return s.sendList(w, a, list)
}

func plain(e runtime.Encoder) runtime.Encoder { return e }

// sendList writes a list. A client that is gone is nobody's error; a list that
// cannot be finished must not look like one that is.
func (s *Server) sendList(w http.ResponseWriter, a answer, list *codec.List) error {
	w.Header().Set("Content-Type", a.out.Format.MediaType())
	w.Header().Set("Cache-Control", "no-cache, private")
	w.WriteHeader(http.StatusOK)
	if _, err := list.WriteTo(w); errors.Is(err, codec.ErrItem) {
		s.logger.Error("a list was broken off", "error", err)
		panic(http.ErrAbortHandler)
	}
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

// listOptions says which state of the objects a client asks for. As in
// Kubernetes, a limit makes a version an exact one, but for "0", which has all
// objects in one page.
func (sel *selection) listOptions(folder string) (cache.ListOptions, error) {
	options := cache.ListOptions{Prefix: folder, Limit: int(sel.Limit), Predicate: sel.predicate, Revision: cache.Consistent}
	switch {
	case sel.Continue != "":
		if sel.revision != 0 {
			return options, apierrors.NewBadRequest("specifying resource version is not allowed when using continue")
		}
		from, revision, err := decodeContinue(sel.Continue, folder)
		if err != nil {
			return options, apierrors.NewBadRequest(err.Error())
		}
		options.From = from
		if revision > 0 {
			options.Revision, options.Exact = revision, true
		}
	case sel.ResourceVersion == "":
	case sel.revision == 0:
		options.Revision, options.Limit = 0, 0
	default:
		options.Revision = sel.revision
		options.Exact = sel.ResourceVersionMatch == metav1.ResourceVersionMatchExact ||
			sel.ResourceVersionMatch == "" && sel.Limit > 0
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
	if a.out.As == "Table" {
		sources := make([]table.Source, len(objects))
		for i, o := range objects {
			if sources[i], err = a.source(o); err != nil {
				return nil, err
			}
		}
		return a.table(meta, sources)
	}
	list, err := a.join(res, meta, objects, plain, codec.NewList)
	if err != nil {
		return nil, err
	}
	if a.out.Format == codec.YAML {
		return yaml.JSONToYAML(list.Bytes())
	}
	return list.Bytes(), nil
}

// join makes a list, or one of metadata, of what an encoder makes of objects.
func (a answer) join(res *resource, meta metav1.ListMeta, objects []encodable, as func(runtime.Encoder) runtime.Encoder,
	list func(codec.Format, schema.GroupVersionKind, metav1.ListMeta, [][]byte) (*codec.List, error)) (*codec.List, error) {
	kind, encoder := a.listForm(res)
	encoder = as(encoder)
	items := make([][]byte, len(objects))
	for i, o := range objects {
		item, err := o.Encoded(encoder)
		if err != nil {
			return nil, err
		}
		items[i] = item
	}
	return list(a.out.Format, kind, meta, items)
}

// listForm is the kind of a list, and what encodes its items.
func (a answer) listForm(res *resource) (schema.GroupVersionKind, runtime.Encoder) {
	if a.out.As == "" {
		return res.listKind, a.out.Format.Bare()
	}
	kind := a.out.AsKind()
	kind.Kind = "PartialObjectMetadataList"
	return kind, a.out.Format.Metadata()
}
