package openapi

import (
	"compress/gzip"
	"io"
	"net/http"
	"strconv"
	"sync"
)

// Made serves one OpenAPI 2 document that exists already, in the encodings and
// with the caching that a Handler has. It is safe for concurrent use.
type Made struct {
	hash     string
	json     compressed
	protobuf func() (compressed, error)
}

// NewMade returns the handler for a document in JSON.
func NewMade(content []byte) (*Made, error) {
	document, err := compress(content)
	if err != nil {
		return nil, err
	}
	return &Made{hash: hexHash(content), json: document, protobuf: sync.OnceValues(func() (compressed, error) {
		reader, err := gzip.NewReader(document.reader())
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			return nil, err
		}
		encoded, err := v2Protobuf(content)
		if err != nil {
			return nil, err
		}
		return compress(encoded)
	})}, nil
}

// ServeHTTP answers whatever the method and the path.
func (m *Made) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	media, ok := negotiate(r, mediaV2Protobuf, mediaV2ProtobufDeprecated)
	if !ok {
		w.WriteHeader(http.StatusNotAcceptable)
		return
	}
	w.Header().Set("Vary", "Accept, Accept-Encoding")
	tag := strconv.Quote(m.hash)
	if matches(r.Header.Get("If-None-Match"), tag) {
		w.Header().Set("ETag", tag)
		w.WriteHeader(http.StatusNotModified)
		return
	}
	content := m.json
	if media != mediaJSON {
		var err error
		if content, err = m.protobuf(); err != nil {
			fail(w, r, err)
			return
		}
	}
	w.Header().Set("ETag", tag)
	w.Header().Set("Content-Type", media)
	writeCompressed(w, r, content)
}
