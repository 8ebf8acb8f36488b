// Package discovery tells clients which resources the server has: the plain
// documents (/api, /apis, /apis/GROUP, /apis/GROUP/VERSION) and the aggregated
// one (apidiscovery.k8s.io) that newer clients ask for at /api and /apis.
//
// All of it is derived from the rows. The package knows neither how resources
// are served nor where rows come from.
package discovery

import (
	"net/http"
	"slices"
	"strings"
	"sync"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/yare-io/yare/apiserver/registry"
)

// Config says what to describe.
type Config struct {
	// Rows returns the rows served at this moment, in any order. It is called
	// for every request and must be cheap; returning other rows than before
	// changes the documents at once. A row must not change.
	Rows func() []*registry.Resource
	// Address is the host:port that /api tells clients of any network to use.
	// Empty: /api names none.
	Address string
	// Others returns what other servers serve through this one; nil, or an
	// answer of nil, means nothing. It is called for every request; a new answer
	// changes the documents at once.
	Others func() *Others
}

// Others is what other servers serve through this one. It is immutable.
type Others struct {
	// Groups have versions that this server does not serve itself.
	Groups []apidiscoveryv2.APIGroupDiscovery
	// Priorities say which groups come first: those with the greatest. A group
	// that is not there has its usual place among those that are not.
	Priorities map[string]int32
}

// Handler serves the discovery documents at their usual paths:
//
//	/api  /api/v1  /apis  /apis/{group}  /apis/{group}/{version}
//
// A trailing slash is tolerated; everything else is answered with 404. It is
// safe for concurrent use.
type Handler struct {
	config Config

	mu sync.Mutex
	// core and groups are the aggregated documents of /api and /apis as of
	// rows, nil when rows have changed since.
	rows         []*registry.Resource
	others       *Others
	core, groups *aggregated
}

var _ http.Handler = (*Handler)(nil)

// New returns the handler for what config describes.
func New(config Config) *Handler { return &Handler{config: config} }

// ServeHTTP answers GET and HEAD.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "405: Method Not Allowed", http.StatusMethodNotAllowed)
		return
	}
	rows := h.config.Rows()
	path := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case len(path) == 1 && (path[0] == "api" || path[0] == "apis"):
		h.serveRoot(w, r, rows, path[0] == "api")
	case len(path) == 2 && path[0] == "api":
		serveResources(w, r, rows, metav1.GroupVersion{Version: path[1]})
	case len(path) == 2 && path[0] == "apis":
		serveGroup(w, r, newView(rows, h.elsewhere()), path[1])
	case len(path) == 3 && path[0] == "apis" && path[1] != "":
		serveResources(w, r, rows, metav1.GroupVersion{Group: path[1], Version: path[2]})
	default:
		http.NotFound(w, r)
	}
}

func (h *Handler) serveRoot(w http.ResponseWriter, r *http.Request, rows []*registry.Resource, core bool) {
	want, ok := negotiate(r.Header.Get("Accept"), true)
	switch {
	case !ok:
		notAcceptable(w)
	case want.aggregated:
		h.aggregated(rows, core).serve(w, r, want)
	case core:
		write(w, r, want, legacyVersions(rows, h.config.Address))
	default:
		write(w, r, want, groupList(newView(rows, h.elsewhere())))
	}
}

func serveGroup(w http.ResponseWriter, r *http.Request, v view, group string) {
	versions := v.versionsOf(group)
	if group == "" || len(versions) == 0 {
		http.NotFound(w, r)
		return
	}
	g := apiGroup(group, versions)
	g.TypeMeta = metav1.TypeMeta{Kind: "APIGroup", APIVersion: "v1"}
	serveObject(w, r, &g)
}

func serveResources(w http.ResponseWriter, r *http.Request, rows []*registry.Resource, gv metav1.GroupVersion) {
	list := resourceList(rows, gv)
	if len(list.APIResources) == 0 {
		http.NotFound(w, r)
		return
	}
	serveObject(w, r, list)
}

func serveObject(w http.ResponseWriter, r *http.Request, object runtime.Object) {
	want, ok := negotiate(r.Header.Get("Accept"), false)
	if !ok {
		notAcceptable(w)
		return
	}
	write(w, r, want, object)
}

// aggregated returns the aggregated document for rows, built when first asked
// for and kept until other rows are served.
func (h *Handler) aggregated(rows []*registry.Resource, core bool) *aggregated {
	h.mu.Lock()
	defer h.mu.Unlock()
	others := h.elsewhere()
	if !slices.Equal(rows, h.rows) || others != h.others {
		h.rows, h.others, h.core, h.groups = slices.Clone(rows), others, nil, nil
	}
	document := &h.groups
	if core {
		document = &h.core
	}
	if *document == nil {
		*document = newAggregated(aggregate(newView(rows, others), core))
	}
	return *document
}

// elsewhere is what others serve now.
func (h *Handler) elsewhere() *Others {
	if h.config.Others != nil {
		if others := h.config.Others(); others != nil {
			return others
		}
	}
	return nothing
}

var nothing = &Others{}
