package openapi

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/munnerz/goautoneg"

	"github.com/yare-io/yare/apiserver/registry"
)

const (
	v2Path = "/openapi/v2"
	v3Path = "/openapi/v3"

	mediaJSON = "application/json"
	// The protobuf types have two spellings each; "@" is not allowed in a
	// media type, but was used first.
	mediaV2Protobuf           = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
	mediaV2ProtobufDeprecated = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
	mediaV3Protobuf           = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"
	mediaV3ProtobufDeprecated = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf"
)

// Config says what to describe.
type Config struct {
	// Rows returns the rows served at this moment, in any order. It is called
	// for every request and must be cheap; returning other rows than before
	// changes the documents at once. A row must not change.
	Rows func() []*registry.Resource
	// Version is the server's version as the documents show it ("v1.37.2").
	Version string
}

// Handler serves /openapi/v2, /openapi/v3 and everything below the latter. All
// else is answered with 404. Documents are made when they are first asked for
// and kept compressed until other rows are served; it costs next to nothing
// while nobody asks. Replies are compressed here, so that no other compression
// may be put around it. It is safe for concurrent use.
type Handler struct {
	documents documents
}

var _ http.Handler = (*Handler)(nil)

// New returns the handler for what config describes.
func New(config Config) *Handler {
	return &Handler{documents: documents{config: config, pieces: map[string]*pieces{}}}
}

// ServeHTTP answers GET and HEAD.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "405: Method Not Allowed", http.StatusMethodNotAllowed)
		return
	}
	path := strings.TrimSuffix(r.URL.Path, "/")
	switch {
	case path == v2Path:
		h.serveV2(w, r)
	case path == v3Path:
		h.serveIndex(w, r)
	case strings.HasPrefix(path, v3Path+"/"):
		h.serveV3(w, r, strings.TrimPrefix(path, v3Path+"/"))
	default:
		http.NotFound(w, r)
	}
}

func (h *Handler) serveV2(w http.ResponseWriter, r *http.Request) {
	media, ok := negotiate(r, mediaV2Protobuf, mediaV2ProtobufDeprecated)
	if !ok {
		w.WriteHeader(http.StatusNotAcceptable)
		return
	}
	h.serve(w, r, documentKey{media: media, v2: true})
}

func (h *Handler) serveIndex(w http.ResponseWriter, r *http.Request) {
	h.serve(w, r, documentKey{media: mediaJSON})
}

func (h *Handler) serveV3(w http.ResponseWriter, r *http.Request, name string) {
	media, ok := negotiate(r, mediaV3Protobuf, mediaV3ProtobufDeprecated)
	if !ok {
		w.WriteHeader(http.StatusNotAcceptable)
		return
	}
	h.serve(w, r, documentKey{media: media, part: name})
}

// relativeURL is where the index sends clients for a document; the hash in it
// makes the reply cacheable for ever.
func relativeURL(name, hash string) string {
	return v3Path + "/" + name + "?" + url.Values{"hash": {hash}}.Encode()
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request, key documentKey) {
	hash, err := h.documents.hash(key)
	if err != nil {
		fail(w, r, err)
		return
	}
	if wanted := r.URL.Query().Get("hash"); key.part != "" && wanted != "" && wanted != hash {
		http.Redirect(w, r, relativeURL(key.part, hash), http.StatusMovedPermanently)
		return
	}
	w.Header().Set("Vary", "Accept, Accept-Encoding")
	if matches(r.Header.Get("If-None-Match"), strconv.Quote(hash)) {
		w.Header().Set("ETag", strconv.Quote(hash))
		w.WriteHeader(http.StatusNotModified)
		return
	}
	// The rows may have changed since: the document comes with its own hash.
	document, hash, err := h.documents.get(key)
	if err != nil {
		fail(w, r, err)
		return
	}
	w.Header().Set("ETag", strconv.Quote(hash))
	w.Header().Set("Content-Type", key.media)
	if r.URL.Query().Get("hash") == hash {
		w.Header().Set("Cache-Control", "public, immutable")
		w.Header().Set("Expires", time.Now().AddDate(1, 0, 0).UTC().Format(http.TimeFormat))
	}
	writeCompressed(w, r, document)
}

func fail(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, errNoDocument) {
		http.NotFound(w, r)
		return
	}
	http.Error(w, err.Error(), http.StatusInternalServerError)
}

func matches(ifNoneMatch, etag string) bool {
	tags := strings.Split(ifNoneMatch, ",")
	return slices.ContainsFunc(tags, func(tag string) bool {
		return strings.TrimPrefix(strings.TrimSpace(tag), "W/") == etag
	})
}

// negotiate picks JSON, or protobuf under any of its names (of which the
// reply uses the first).
func negotiate(r *http.Request, protobuf ...string) (media string, ok bool) {
	header := r.Header.Get("Accept")
	if strings.TrimSpace(header) == "" {
		return mediaJSON, true
	}
	for _, clause := range goautoneg.ParseAccept(header) {
		switch wanted := clause.Type + "/" + clause.SubType; {
		case wanted == mediaJSON, wanted == "application/*", wanted == "*/*":
			return mediaJSON, true
		case slices.Contains(protobuf, wanted):
			return protobuf[0], true
		}
	}
	return "", false
}
