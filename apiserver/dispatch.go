package apiserver

import (
	"net/http"
	"net/url"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/warning"

	"github.com/yare-io/yare/apiserver/codec"
	"github.com/yare-io/yare/apiserver/registry"
	"github.com/yare-io/yare/apiserver/request"
	"github.com/yare-io/yare/apiserver/table"
)

// call is a request for a resource that exists.
type call struct {
	info *request.Info
	res  *resource
	// sub is nil for the resource itself.
	sub *registry.Subresource
	// namespace is empty for resources that have none.
	namespace, name string
	query           url.Values
}

// serveResource finds the row that a request is for and the handler of its
// verb.
func (s *Server) serveResource(w http.ResponseWriter, r *http.Request) {
	if info := request.From(r.Context()); s.config.Elsewhere != nil && info.IsResource && info.Group != "" {
		if other := s.config.Elsewhere(info.Group, info.Version); other != nil {
			other.ServeHTTP(w, r)
			return
		}
	}
	c, err := s.find(r)
	if err == nil {
		err = s.handle(w, r, c)
	}
	if err != nil {
		name := ""
		var resource schema.GroupResource
		if c != nil {
			name, resource = c.name, c.res.row.GroupResource()
		}
		s.fail(w, r, apiError(err, resource, name))
	}
}

// find looks up what a request is for.
func (s *Server) find(r *http.Request) (*call, error) {
	info := request.From(r.Context())
	res := s.set().byName[info.GroupVersionResource()]
	if !info.IsResource || res == nil {
		return nil, errNoResource()
	}
	c := &call{info: info, res: res, namespace: info.Namespace, name: info.Name, query: r.URL.Query()}
	if !res.row.Namespaced {
		if info.Within {
			return nil, errNoResource()
		}
		c.namespace = ""
	}
	if info.Subresource != "" {
		if c.sub = res.subresource(info.Subresource); c.sub == nil {
			return nil, errNoResource()
		}
	}
	if info.Remainder != "" && info.Remainder != "/" && info.Subresource != "proxy" {
		return nil, errNoResource()
	}
	if res.row.Deprecation != "" {
		warning.AddWarning(r.Context(), "", res.row.Deprecation)
	}
	return c, c.permits(r.Method)
}

// permits refuses verbs that the row does not have, and paths that name an
// object of a namespaced resource without its namespace.
func (c *call) permits(method string) error {
	verbs := c.res.row.Verbs
	if c.sub != nil {
		verbs = c.sub.Verbs
	}
	if c.sub != nil && c.sub.Connect {
		// A proxy passes OPTIONS on, for which there is no verb.
		if !slices.Contains(verbs, c.info.Verb) && (method != http.MethodOptions || c.sub.Name != "proxy") {
			return errMethod()
		}
		return nil
	}
	if !slices.Contains(verbs, c.info.Verb) {
		return errMethod()
	}
	collection := c.info.Verb == "list" || c.info.Verb == "watch"
	if c.res.row.Namespaced && c.namespace == "" && !collection {
		return errMethod()
	}
	named := c.name != ""
	switch c.info.Verb {
	case "create":
		if named != (c.sub != nil) {
			return errMethod()
		}
	case "update", "patch":
		if !named {
			return errMethod()
		}
	}
	return nil
}

// handle serves a call by its verb.
func (s *Server) handle(w http.ResponseWriter, r *http.Request, c *call) error {
	if c.sub != nil && c.sub.Connect {
		return s.connect(w, r, c)
	}
	if c.sub != nil && c.sub.Projection != nil {
		return s.handleProjection(w, r, c)
	}
	if c.res.row.Computed != nil {
		return s.handleComputed(w, r, c)
	}
	switch c.info.Verb {
	case "get":
		return s.handleGet(w, r, c)
	case "list":
		return s.handleList(w, r, c)
	case "watch":
		return s.handleWatch(w, r, c)
	case "create":
		if c.action() != nil {
			return s.handleAction(w, r, c)
		}
		return s.handleCreate(w, r, c)
	case "update":
		return s.handleUpdate(w, r, c)
	case "patch":
		return s.handlePatch(w, r, c)
	case "delete":
		return s.handleDelete(w, r, c)
	case "deletecollection":
		return s.handleDeleteCollection(w, r, c)
	}
	return errMethod()
}

func (c *call) action() registry.Action {
	if c.sub != nil {
		return c.sub.Action
	}
	return c.res.row.Creator
}

// kind of the bodies of the call.
func (c *call) kind() schema.GroupVersionKind {
	if c.sub != nil && !c.sub.Kind.Empty() {
		return c.sub.Kind
	}
	return c.res.row.Kind
}

// strategy governs a write to the resource or to a part of it.
func (c *call) strategy() *registry.Strategy {
	if c.sub != nil && c.sub.Part != nil {
		return c.sub.Part
	}
	return &c.res.row.Strategy
}

// negotiate settles the form of the answer.
func (s *Server) negotiate(r *http.Request, c *call, offer codec.Offer) (answer, error) {
	out, err := codec.Negotiate(r, c.query, offer)
	if err != nil {
		return answer{}, err
	}
	a := answer{out: out, kind: c.kind()}
	if out.As == "Table" {
		a.tables, err = s.tables(c, out)
	}
	return a, err
}

func (s *Server) tables(c *call, out codec.Output) (table.Maker, error) {
	include, err := table.ParseInclude(c.query.Get("includeObject"))
	if err != nil {
		return table.Maker{}, apierrors.NewBadRequest("Unable to convert to Table as requested: " + err.Error())
	}
	m := table.Maker{Include: include, Version: out.AsVersion, Now: s.clock.Now()}
	if c.sub != nil && c.sub.Projection != nil {
		m.Columns = table.Columns(c.sub.Projection.Columns)
	} else {
		m.Columns, m.Conditions = table.Columns(c.res.row.Columns), c.res.row.Conditions
	}
	return m, nil
}
