package server

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/portforward"
	"k8s.io/apimachinery/pkg/util/proxy"
	"k8s.io/apimachinery/pkg/util/remotecommand"
	streamproxy "k8s.io/apiserver/pkg/util/proxy"
)

// runTimeout bounds /run, whose client sees nothing before the command ends.
const runTimeout = 10 * time.Minute

// exec runs a command with its streams connected to the client.
func (s *Server) exec(w http.ResponseWriter, r *http.Request) {
	pod, container, err := s.containerOf(r)
	if err != nil {
		s.fail(w, err)
		return
	}
	command := r.URL.Query()["command"]
	streams, err := streamsOf(r.URL.Query())
	if err == nil && len(command) == 0 {
		err = apierrors.NewBadRequest("a command is needed")
	}
	if err != nil {
		s.fail(w, err)
		return
	}
	id, err := s.config.Backend.ContainerID(r.Context(), pod.UID, container.Name, false)
	if err != nil {
		s.fail(w, err)
		return
	}
	location, err := s.config.Backend.Exec(r.Context(), id, command, streams)
	if err != nil {
		s.fail(w, err)
		return
	}
	s.serveStreams(w, r, location, streams)
}

// attach connects the client to the streams of a container's own process. The
// terminal is the one that the container was made with, or none.
func (s *Server) attach(w http.ResponseWriter, r *http.Request) {
	pod, container, err := s.containerOf(r)
	if err != nil {
		s.fail(w, err)
		return
	}
	query := r.URL.Query()
	query.Set("tty", strconv.FormatBool(container.TTY))
	streams, err := streamsOf(query)
	if err != nil {
		s.fail(w, err)
		return
	}
	id, err := s.config.Backend.ContainerID(r.Context(), pod.UID, container.Name, false)
	if err != nil {
		s.fail(w, err)
		return
	}
	location, err := s.config.Backend.Attach(r.Context(), id, streams)
	if err != nil {
		s.fail(w, err)
		return
	}
	s.serveStreams(w, r, location, streams)
}

// portForward connects the client to ports inside a pod.
func (s *Server) portForward(w http.ResponseWriter, r *http.Request) {
	pod, err := s.podOf(r)
	if err != nil {
		s.fail(w, err)
		return
	}
	ports, err := portsOf(r.URL.Query())
	if err != nil {
		s.fail(w, err)
		return
	}
	location, err := s.config.Backend.PortForward(r.Context(), pod.UID, ports)
	if err != nil {
		s.fail(w, err)
		return
	}
	var handler = s.passThrough(location)
	if isTunnel(r) {
		handler = streamproxy.NewTunnelingHandler(handler)
	}
	handler.ServeHTTP(w, r)
}

// run runs a command and sends its output once it has ended.
func (s *Server) run(w http.ResponseWriter, r *http.Request) {
	pod, container, err := s.containerOf(r)
	if err != nil {
		s.fail(w, err)
		return
	}
	command := strings.Fields(r.URL.Query().Get("cmd"))
	if len(command) == 0 {
		s.fail(w, apierrors.NewBadRequest("a cmd is needed"))
		return
	}
	id, err := s.config.Backend.ContainerID(r.Context(), pod.UID, container.Name, false)
	if err != nil {
		s.fail(w, err)
		return
	}
	result, err := s.config.Backend.Run(r.Context(), id, command, runTimeout)
	if err != nil {
		s.fail(w, err)
		return
	}
	output := slices.Concat(result.Stdout, result.Stderr)
	w.Header().Set("Content-Type", "text/plain")
	if result.ExitCode != 0 {
		w.WriteHeader(http.StatusInternalServerError)
		output = fmt.Appendf(output, "command terminated with exit code %d\n", result.ExitCode)
	}
	_, _ = w.Write(output) // the client has gone: nobody to tell
}

// serveStreams connects the client with the runtime's streaming server. That
// one speaks SPDY and older WebSocket protocols; the current WebSocket
// protocol, which can say that stdin is closed, is translated.
func (s *Server) serveStreams(w http.ResponseWriter, r *http.Request, location *url.URL, streams Streams) {
	if slices.Contains(websocket.Subprotocols(r), remotecommand.StreamProtocolV5Name) {
		streamproxy.NewStreamTranslatorHandler(location, nil, 0, streamproxy.Options{
			Stdin: streams.Stdin, Stdout: streams.Stdout, Stderr: streams.Stderr, Tty: streams.TTY,
		}).ServeHTTP(w, r)
		return
	}
	s.passThrough(location).ServeHTTP(w, r)
}

// passThrough hands an upgraded connection to location, byte for byte.
func (s *Server) passThrough(location *url.URL) http.Handler {
	handler := proxy.NewUpgradeAwareHandler(location, nil, false, true, responder{s})
	handler.RejectForwardingRedirects = true
	return handler
}

type responder struct{ *Server }

// Error implements proxy.ErrorResponder.
func (r responder) Error(w http.ResponseWriter, _ *http.Request, err error) { r.fail(w, err) }

// isTunnel reports whether the client sends SPDY inside a WebSocket.
func isTunnel(r *http.Request) bool {
	return websocket.IsWebSocketUpgrade(r) &&
		slices.Contains(websocket.Subprotocols(r), portforward.WebsocketsSPDYTunnelingPortForwardV1)
}

// streamsOf reads which streams a client wants, in the kubelet's own words.
func streamsOf(query url.Values) (Streams, error) {
	var s Streams
	for name, wanted := range map[string]*bool{"input": &s.Stdin, "output": &s.Stdout, "error": &s.Stderr, "tty": &s.TTY} {
		value, err := boolean(query, name)
		if err != nil {
			return Streams{}, apierrors.NewBadRequest(err.Error())
		}
		*wanted = value
	}
	if s.TTY {
		s.Stderr = false // a terminal has one output
	}
	if !s.Stdin && !s.Stdout && !s.Stderr {
		return Streams{}, apierrors.NewBadRequest("you must specify at least 1 of stdin, stdout, stderr")
	}
	return s, nil
}

func portsOf(query url.Values) ([]int32, error) {
	var ports []int32
	for _, list := range query["port"] {
		for _, text := range strings.Split(list, ",") {
			port, err := strconv.ParseUint(text, 10, 16)
			if err != nil || port == 0 {
				return nil, apierrors.NewBadRequest("port " + strconv.Quote(text) + " is not from 1 to 65535")
			}
			ports = append(ports, int32(port))
		}
	}
	return ports, nil
}
