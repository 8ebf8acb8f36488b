package apiserver

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"slices"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"

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
	}
	connector := s.config.Connect[c.res.row.Name+"/"+c.sub.Name]
	if err := s.mayStream(r, c); err != nil {
		return err
	}
	if options := connector.Options(target); options != nil {
		admitted, err := s.admitConnect(r, newWrite(r.Context(), c, admission.Connect, options.DeepCopyObject(), nil, ""))
		if err != nil {
			return err
		}
		if !apiequality.Semantic.DeepEqual(options, admitted) {
			if err := target.Apply(admitted); err != nil {
				return err
			}
		}
	}
	return connector.Connect(&hijackable{ResponseWriter: w, stopping: s.stopping}, r, target)
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

// admitConnect asks admission about a connection: the options are the object,
// and come back as admission wants them.
func (s *Server) admitConnect(r *http.Request, wr *write) (runtime.Object, error) {
	options := wr.attributes.Options
	wr.attributes.Options = nil
	admitted, err := s.mutate(r.Context(), wr, options, nil)
	if err != nil {
		return nil, err
	}
	return admitted, s.judge(r.Context(), wr, admitted, nil)
}

// hijackable closes the connections that handlers take over when the server
// stops, for nobody else knows of them then.
type hijackable struct {
	http.ResponseWriter
	stopping context.Context
}

// Hijack implements http.Hijacker.
func (h *hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	release := context.AfterFunc(h.stopping, func() { _ = conn.Close() })
	return &hijacked{Conn: conn, release: release}, buffered, nil
}

// Unwrap lets http.ResponseController reach the connection.
func (h *hijackable) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// Flush implements http.Flusher.
func (h *hijackable) Flush() { _ = http.NewResponseController(h.ResponseWriter).Flush() }

type hijacked struct {
	net.Conn
	release func() bool
}

// Close implements net.Conn.
func (c *hijacked) Close() error {
	c.release()
	return c.Conn.Close()
}
