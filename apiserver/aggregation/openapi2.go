package aggregation

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/aggregator"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/yare-io/yare/openapi"
)

// OpenAPI 2 has one document for a whole server, in which all groups share
// their definitions: what others serve is merged into the server's own, as
// Kubernetes' aggregator does it.

// schema2 is what another server says of one group and version. It is immutable.
type schema2 struct {
	path string
	tag  string // of the whole document there
	spec *spec.Swagger
}

// schema reads the part of another server's document that is about a group and
// version. A server without any is not ill.
func (r *remote) schema(ctx context.Context, path string) *schema2 {
	var old *schema2
	tag := ""
	if found := r.found.Load(); found != nil && found.schema != nil {
		old, tag = found.schema, found.schema.tag
	}
	whole := &spec.Swagger{}
	now, err := r.readUnless(ctx, "/openapi/v2", tag, whole)
	switch {
	case err != nil:
		return old
	case tag != "" && now == tag:
		return old
	case whole.Paths == nil:
		return nil
	}
	return &schema2{path: path, tag: now, spec: aggregator.FilterSpecByPathsWithoutSideEffects(whole, []string{path})}
}

// schemas serves the merged document. It is made when somebody asks for it, and
// kept until a part of it changes.
type schemas struct {
	mutex  sync.Mutex
	own    string // the entity tag of the server's own document
	others []*schema2
	merged http.Handler
}

// serve answers with the merged document; with that of next where nobody else
// has any, or where they do not fit together.
func (s *schemas) serve(w http.ResponseWriter, r *http.Request, next http.Handler, remotes map[schema.GroupVersion]*remote) {
	var others []*schema2
	for _, other := range remotes {
		if found := other.found.Load(); found != nil && found.schema != nil {
			others = append(others, found.schema)
		}
	}
	if len(others) == 0 {
		next.ServeHTTP(w, r)
		return
	}
	slices.SortFunc(others, func(a, b *schema2) int { return cmp.Compare(a.path, b.path) })
	merged, err := s.merge(r, next, others)
	if err != nil {
		next.ServeHTTP(w, r)
		return
	}
	merged.ServeHTTP(w, r)
}

func (s *schemas) merge(r *http.Request, next http.Handler, others []*schema2) (http.Handler, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	tag := ""
	if s.merged != nil && slices.Equal(s.others, others) {
		tag = s.own
	}
	answer := ask(next, r, tag)
	if tag != "" && answer.code == http.StatusNotModified {
		return s.merged, nil
	}
	if answer.code != http.StatusOK {
		return nil, fmt.Errorf("the server's own document: %d", answer.code)
	}
	all := &spec.Swagger{}
	if err := json.Unmarshal(answer.body.Bytes(), all); err != nil {
		return nil, err
	}
	for _, other := range others {
		if err := aggregator.MergeSpecsIgnorePathConflictRenamingDefinitionsAndParameters(all, other.spec); err != nil {
			return nil, err
		}
	}
	content, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	made, err := openapi.NewMade(content)
	if err != nil {
		return nil, err
	}
	s.own, s.others, s.merged = answer.header.Get("Etag"), others, made
	return made, nil
}
