package openapi

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// marshal is json.Marshal without the escapes that only browsers need.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return b.Bytes(), err
}

// compressed is a gzip stream in pieces.
type compressed [][]byte

func (c compressed) size() (n int) {
	for _, piece := range c {
		n += len(piece)
	}
	return n
}

func (c compressed) reader() io.Reader {
	readers := make([]io.Reader, len(c))
	for i, piece := range c {
		readers[i] = bytes.NewReader(piece)
	}
	return bufio.NewReader(io.MultiReader(readers...))
}

func (c compressed) writeTo(w io.Writer) error {
	buffered := bufio.NewWriterSize(w, 64<<10)
	for _, piece := range c {
		if _, err := buffered.Write(piece); err != nil {
			return err
		}
	}
	return buffered.Flush()
}

func compress(content []byte) (compressed, error) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return compressed{bytes.Clone(b.Bytes())}, nil
}

// writeCompressed sends content that was compressed, as it is to clients that
// can read it so. Failing to write is a client that has gone.
func writeCompressed(w http.ResponseWriter, r *http.Request, document compressed) {
	if acceptsGzip(r.Header.Get("Accept-Encoding")) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Content-Length", strconv.Itoa(document.size()))
		_ = document.writeTo(w)
		return
	}
	content, err := gzip.NewReader(document.reader())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = io.Copy(w, content)
}

// acceptsGzip reports whether an Accept-Encoding header allows gzip.
func acceptsGzip(header string) bool {
	for _, clause := range strings.Split(header, ",") {
		coding, params, _ := strings.Cut(clause, ";")
		coding = strings.TrimSpace(coding)
		if !strings.EqualFold(coding, "gzip") && coding != "*" {
			continue
		}
		quality, isQuality := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q=")
		q, err := strconv.ParseFloat(quality, 64)
		return !isQuality || err == nil && q > 0
	}
	return false
}
