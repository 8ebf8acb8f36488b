package apiserver

import (
	"net/http"

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
	if c.info.Verb != "get" || c.sub.Name != "log" {
		wr := newWrite(r.Context(), c, admission.Connect, connector.Options(target), nil)
		if err := s.admitConnect(r, wr); err != nil {
			return err
		}
	}
	return connector.Connect(w, r, target)
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
