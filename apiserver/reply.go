package apiserver

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/yare-io/yare/apiserver/codec"
	"github.com/yare-io/yare/apiserver/table"
)

// encodable is an object that may remember its encodings, or have to be decoded
// where these do not do: one of the cache, or a fresh one.
type encodable interface {
	Encoded(runtime.Encoder) ([]byte, error)
	// Decoded returns the object, which must not be changed.
	Decoded() (runtime.Object, error)
}

// fresh is an object that nobody else will ask for.
type fresh struct{ runtime.Object }

func (f fresh) Encoded(e runtime.Encoder) ([]byte, error) { return codec.Bytes(e, f.Object) }
func (f fresh) Decoded() (runtime.Object, error)          { return f.Object, nil }

// answer is what a client gets and in which form.
type answer struct {
	out  codec.Output
	kind schema.GroupVersionKind
	// tables is set when the form is a table.
	tables table.Maker
}

// body encodes one object, in a buffer that is used again after done.
func (a answer) body(from encodable) (body []byte, done func(), err error) {
	if own, unshared := from.(fresh); unshared && a.out.As == "" {
		return codec.Enveloped(a.out.Format, a.kind, own.Object)
	}
	body, err = a.render(from)
	return body, func() {}, err
}

// render encodes one object.
func (a answer) render(from encodable) ([]byte, error) {
	switch a.out.As {
	case "Table":
		source, err := a.source(from)
		if err != nil {
			return nil, err
		}
		return a.table(listMetaOf(source.Object), []table.Source{source})
	case "PartialObjectMetadata":
		return a.wrap(from, a.out.Format.Metadata(), a.out.AsKind())
	default:
		return a.wrap(from, a.out.Format.Bare(), a.kind)
	}
}

// table makes a whole table.
func (a answer) table(meta metav1.ListMeta, sources []table.Source) ([]byte, error) {
	raw, err := a.tables.Make(meta, sources, true)
	if err != nil || a.out.Format == codec.JSON {
		return raw, err
	}
	return yaml.JSONToYAML(raw)
}

func (a answer) wrap(from encodable, encoder runtime.Encoder, kind schema.GroupVersionKind) ([]byte, error) {
	bare, err := from.Encoded(encoder)
	if err != nil {
		return nil, err
	}
	return codec.Wrap(a.out.Format, kind, bare)
}

func (a answer) source(from encodable) (table.Source, error) {
	obj, err := from.Decoded()
	return table.Source{Object: obj, Full: func() ([]byte, error) {
		bare, err := from.Encoded(codec.JSON.Bare())
		if err != nil {
			return nil, err
		}
		return codec.Wrap(codec.JSON, a.kind, bare)
	}}, err
}

// listMetaOf gives the table of a single object that object's version.
func listMetaOf(obj runtime.Object) metav1.ListMeta {
	if m, ok := obj.(metav1.ObjectMetaAccessor); ok {
		return metav1.ListMeta{ResourceVersion: m.GetObjectMeta().GetResourceVersion()}
	}
	return metav1.ListMeta{}
}

// reply sends one object.
func (s *Server) reply(w http.ResponseWriter, r *http.Request, code int, a answer, from encodable) {
	body, done, err := a.body(from)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	defer done()
	auditReply(r.Context(), a.kind, from)
	s.send(w, r, code, a.out.Format.MediaType(), prettify(a.out, body))
}

func prettify(out codec.Output, body []byte) []byte {
	if !out.Pretty || out.Format != codec.JSON {
		return body
	}
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSuffix(body, []byte("\n")), "", "  "); err != nil {
		return body
	}
	return b.Bytes()
}

// gzipAbove is the size in bytes of answers that are worth compressing, and
// gzipLevel how hard to try: both as in Kubernetes.
const (
	gzipAbove = 128 << 10
	gzipLevel = 4
)

var gzipWriters = sync.Pool{New: func() any {
	w, _ := gzip.NewWriterLevel(io.Discard, gzipLevel)
	return w
}}

// send writes a whole answer. A client that is gone is nobody's error.
func (s *Server) send(w http.ResponseWriter, r *http.Request, code int, mediaType string, body []byte) {
	header := w.Header()
	header.Set("Content-Type", mediaType)
	header.Set("Cache-Control", "no-cache, private")
	if len(body) > gzipAbove && acceptsGzip(r) {
		header.Set("Content-Encoding", "gzip")
		header.Add("Vary", "Accept-Encoding")
		w.WriteHeader(code)
		zip := gzipWriters.Get().(*gzip.Writer)
		defer gzipWriters.Put(zip)
		zip.Reset(w)
		_, _ = zip.Write(body)
		_ = zip.Close()
		return
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	_, _ = w.Write(body)
}

func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		if name == "gzip" {
			return strings.ReplaceAll(params, " ", "") != "q=0"
		}
	}
	return false
}
