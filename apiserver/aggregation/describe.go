package aggregation

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"

	"github.com/yare-io/yare/apiserver/discovery"
)

// Others are what others serve and how groups are ordered, as discovery shows
// it. The answer is the same one until anything of it changes.
func (a *Aggregator) Others() *discovery.Others { return a.others.Load() }

// describe makes what Others returns anew.
func (a *Aggregator) describe() {
	a.describing.Lock()
	defer a.describing.Unlock()
	now := a.state.Load()
	out := &discovery.Others{Priorities: make(map[string]int32, len(now.services))}
	for _, s := range now.services {
		out.Priorities[s.Spec.Group] = max(out.Priorities[s.Spec.Group], s.Spec.GroupPriorityMinimum)
	}
	byGroup := map[string][]*remote{}
	for gv, r := range now.remotes {
		byGroup[gv.Group] = append(byGroup[gv.Group], r)
	}
	for _, name := range slices.Sorted(maps.Keys(byGroup)) {
		remotes := byGroup[name]
		slices.SortFunc(remotes, func(x, y *remote) int {
			return cmp.Or(cmp.Compare(y.service.Spec.VersionPriority, x.service.Spec.VersionPriority),
				version.CompareKubeAwareVersionStrings(y.service.Spec.Version, x.service.Spec.Version))
		})
		group := apidiscoveryv2.APIGroupDiscovery{ObjectMeta: metav1.ObjectMeta{Name: name}}
		for _, r := range remotes {
			group.Versions = append(group.Versions, r.described())
		}
		out.Groups = append(out.Groups, group)
	}
	if old := a.others.Load(); old == nil || !apiequality.Semantic.DeepEqual(old, out) {
		a.others.Store(out)
	}
}

func (r *remote) described() apidiscoveryv2.APIVersionDiscovery {
	out := apidiscoveryv2.APIVersionDiscovery{Version: r.service.Spec.Version, Freshness: apidiscoveryv2.DiscoveryFreshnessStale}
	if found := r.found.Load(); found != nil {
		out.Resources = found.resources
		if found.available {
			out.Freshness = apidiscoveryv2.DiscoveryFreshnessCurrent
		}
	}
	return out
}

// Discovery answers for the groups and versions of others, and leaves all else
// to next.
func (a *Aggregator) Discovery(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
		if len(path) == 3 && path[0] == "apis" {
			if other := a.Handler(path[1], path[2]); other != nil {
				other.ServeHTTP(w, r)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// Documents adds the OpenAPI documents of others to those of next.
func (a *Aggregator) Documents(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
		remotes := a.state.Load().remotes
		switch {
		case len(path) == 5 && path[2] == "apis" && remotes[schema.GroupVersion{Group: path[3], Version: path[4]}] != nil:
			remotes[schema.GroupVersion{Group: path[3], Version: path[4]}].ServeHTTP(w, r)
		case len(path) == 2 && path[1] == "v3" && len(remotes) > 0:
			addIndex(w, r, next, remotes)
		case len(path) == 2 && path[1] == "v2":
			a.schemas.serve(w, r, next, remotes)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// addIndex adds to the index of documents.
func addIndex(w http.ResponseWriter, r *http.Request, next http.Handler, remotes map[schema.GroupVersion]*remote) {
	answer := ask(next, r, "")
	var index struct {
		Paths map[string]map[string]string `json:"paths"`
	}
	if answer.code != http.StatusOK || json.Unmarshal(answer.body.Bytes(), &index) != nil {
		next.ServeHTTP(w, r)
		return
	}
	for _, other := range remotes {
		if found := other.found.Load(); found != nil {
			for name, location := range found.documents {
				index.Paths[name] = map[string]string{"serverRelativeURL": location}
			}
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(index) // the client has gone: nobody to tell
}

// ask is the answer of a handler in JSON, or that what has this entity tag has
// not changed.
func ask(handler http.Handler, r *http.Request, tag string) *recorder {
	inner := r.Clone(r.Context())
	inner.Header = http.Header{"Accept": {"application/json"}}
	if tag != "" {
		inner.Header.Set("If-None-Match", tag)
	}
	answer := &recorder{header: http.Header{}, code: http.StatusOK}
	handler.ServeHTTP(answer, inner)
	return answer
}

// recorder keeps an answer instead of sending it.
type recorder struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (r *recorder) Header() http.Header { return r.header }

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(code int) { r.code = code }

// Write implements http.ResponseWriter.
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }
