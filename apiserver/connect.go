package apiserver

import (
	"net/http"
	"slices"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/apiserver/request"
)

// connect hands a stream or proxied request over to its handler, once
// admission has let it pass.
func (s *Server) connect(w http.ResponseWriter, r *http.Request, c *call) error {
	target := request.Target{
		Objects:     s.Objects(),
		Namespace:   c.namespace,
		Name:        c.name,
		Subresource: c.sub.Name,
		Path:        c.info.Remainder,
		Query:       c.query,
		Stopping:    s.stopping.Done(),
	}
	connector := s.config.Connect[c.res.row.Name+"/"+c.sub.Name]
	if err := s.mayStream(r, c); err != nil {
		return err
	}
	if options := connector.Options(target); options != nil {
		if err := s.admitConnect(r, newWrite(r.Context(), c, admission.Connect, options, nil)); err != nil {
			return err
		}
	}
	return connector.Connect(w, r, target)
}

// mayStream asks for the right to create a stream even where the client begins
// it with a GET, as WebSocket clients must: else a right to look would be one
// to run commands.
func (s *Server) mayStream(r *http.Request, c *call) error {
	if c.info.Verb != "get" || !slices.Contains(c.sub.Verbs, "create") || c.sub.Name == "proxy" {
		return nil
	}
	a := attributesOf(r.Context())
	a.Verb = "create"
	return s.allowed(r.Context(), a)
}

// admitConnect asks admission about a connection: the options are the object.
func (s *Server) admitConnect(r *http.Request, wr *write) error {
	options := wr.attributes.Options
	wr.attributes.Options = nil
	if _, err := s.mutate(r.Context(), wr, options, nil); err != nil {
		return err
	}
	return s.judge(r.Context(), wr, options, nil)
}
