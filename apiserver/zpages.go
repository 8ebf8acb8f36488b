package apiserver

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/yare-io/yare/apiserver/codec"
)

// zpage is a page about the process: text for people, an object of
// config.k8s.io for programs that ask for it by kind, as in
// "application/json;g=config.k8s.io;v=v1beta1;as=Flagz".
type zpage struct {
	kind   string
	text   func(io.Writer)
	fields func() map[string]any
}

const (
	component = "kube-apiserver"
	zGroup    = "config.k8s.io"
	zWarning  = "Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility guarantees and is for debugging purposes only."
)

// zVersions are those of the objects; the first is deprecated.
var zVersions = []string{"v1alpha1", "v1beta1"}

func (s *Server) serveZ(page zpage) http.HandlerFunc {
	offer := codec.Offer{
		Formats: []codec.Format{codec.JSON, codec.YAML, codec.CBOR}, As: []string{page.kind}, AsGroup: zGroup, AsVersions: zVersions,
	}
	return func(w http.ResponseWriter, r *http.Request) {
		accept := r.Header.Get("Accept")
		out, err := codec.Negotiate(r, r.URL.Query(), offer)
		switch {
		case accept != "" && err == nil && out.As != "":
			s.sendZ(w, r, page, out)
		case accept == "" || strings.Contains(accept, "text/") || strings.Contains(accept, "*/*"):
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.Header().Set("X-Content-Type-Options", "nosniff")
			_, _ = fmt.Fprintf(w, "\n%s %s\n%s\n\n", component, strings.ToLower(page.kind), zWarning)
			page.text(w)
		default:
			s.fail(w, r, fmt.Errorf("%w: only the following media types are accepted: %s, text/plain", codec.ErrNotAcceptable, offer))
		}
	}
}

func (s *Server) sendZ(w http.ResponseWriter, r *http.Request, page zpage, out codec.Output) {
	if out.AsVersion == zVersions[0] {
		w.Header().Set("Warning", fmt.Sprintf("299 - %q", "This version of the "+strings.ToLower(page.kind)+" endpoint is deprecated. Please use a newer version."))
	}
	fields := page.fields()
	fields["metadata"] = map[string]any{"name": component}
	bare, err := codec.Encode(out.Format, &unstructured.Unstructured{Object: fields})
	if err == nil {
		kind := out.AsKind()
		kind.Group = zGroup
		bare, err = codec.Wrap(out.Format, kind, bare)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.send(w, r, http.StatusOK, out.Format.MediaType(), prettify(out, bare))
}

// flagz shows the flags that the server runs with.
func (s *Server) flagz() zpage {
	return zpage{
		kind: "Flagz",
		text: func(w io.Writer) {
			flags := s.config.Flags()
			for _, name := range slices.Sorted(maps.Keys(flags)) {
				_, _ = fmt.Fprintf(w, "%s=%s\n", name, flags[name])
			}
		},
		fields: func() map[string]any {
			flags := map[string]any{}
			for name, value := range s.config.Flags() {
				flags[name] = value
			}
			return map[string]any{"flags": flags}
		},
	}
}

var started = time.Now()

// statusz shows what runs, and since when.
func (s *Server) statusz() zpage {
	paths := []any{"/healthz", "/livez", "/metrics", "/readyz", "/version"}
	if s.config.Flags != nil {
		paths = slices.Insert(paths, 0, any("/flagz"))
	}
	return zpage{
		kind: "Statusz",
		text: func(w io.Writer) {
			_, _ = fmt.Fprintf(w, "Started: %s\nUp: %s\nGo version: %s\nBinary version: %s\n\nPaths: %s\n",
				started.UTC().Format(time.UnixDate), time.Since(started).Round(time.Second), runtime.Version(), Version.GitVersion, strings.Trim(fmt.Sprint(paths...), "[]"))
		},
		fields: func() map[string]any {
			return map[string]any{
				"startTime": started.UTC().Format(time.RFC3339), "uptimeSeconds": int64(time.Since(started).Seconds()),
				"goVersion": runtime.Version(), "binaryVersion": Version.GitVersion, "paths": paths,
			}
		},
	}
}
