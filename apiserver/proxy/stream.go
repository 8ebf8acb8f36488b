package proxy

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/util/proxy"
	"k8s.io/streaming/pkg/httpstream/wsstream"

	"github.com/yare-io/yare/apiserver/request"
)

type podExec struct{ *Proxy }

// Options implements request.Connector.
func (podExec) Options(t request.Target) runtime.Object {
	return &corev1.PodExecOptions{
		Stdin: flag(t.Query, "stdin"), Stdout: flag(t.Query, "stdout"), Stderr: flag(t.Query, "stderr"), TTY: flag(t.Query, "tty"),
		Container: t.Query.Get("container"), Command: t.Query["command"],
	}
}

// Connect implements request.Connector.
func (e podExec) Connect(w http.ResponseWriter, r *http.Request, t request.Target) error {
	return e.command(w, r, t, "exec")
}

type podAttach struct{ *Proxy }

// Options implements request.Connector.
func (podAttach) Options(t request.Target) runtime.Object {
	return &corev1.PodAttachOptions{
		Stdin: flag(t.Query, "stdin"), Stdout: flag(t.Query, "stdout"), Stderr: flag(t.Query, "stderr"), TTY: flag(t.Query, "tty"),
		Container: t.Query.Get("container"),
	}
}

// Connect implements request.Connector.
func (a podAttach) Connect(w http.ResponseWriter, r *http.Request, t request.Target) error {
	return a.command(w, r, t, "attach")
}

// command connects a client with a process in a container.
func (p *Proxy) command(w http.ResponseWriter, r *http.Request, t request.Target, how string) error {
	pod, err := podOf(r.Context(), t)
	if err != nil {
		return err
	}
	container, err := containerOf(pod, t.Query.Get("container"))
	if err != nil {
		return err
	}
	streams := proxy.Options{
		Stdin: flag(t.Query, "stdin"), Stdout: flag(t.Query, "stdout"), Stderr: flag(t.Query, "stderr"), Tty: flag(t.Query, "tty"),
	}
	location, err := onKubelet(r.Context(), t, pod, commandQuery(t.Query, streams, how), how, pod.Namespace, pod.Name, container)
	if err != nil {
		return err
	}
	failed := &failure{}
	handler := proxy.NewTranslatingHandler(
		upgrade(location, p.kubelet, failed),
		proxy.NewStreamTranslatorHandler(location, p.kubelet, 0, streams),
		wsstream.IsWebSocketRequestWithStreamCloseProtocol,
	)
	handler.ServeHTTP(w, r)
	return failed.err
}

// commandQuery names the streams as kubelets do.
func commandQuery(query url.Values, streams proxy.Options, how string) url.Values {
	out := url.Values{}
	for name, wanted := range map[string]bool{
		corev1.ExecStdinParam: streams.Stdin, corev1.ExecStdoutParam: streams.Stdout,
		corev1.ExecStderrParam: streams.Stderr, corev1.ExecTTYParam: streams.Tty,
	} {
		if wanted {
			out.Set(name, "1")
		}
	}
	if how == "exec" {
		out[corev1.ExecCommandParam] = query["command"]
	}
	return out
}

type podPortForward struct{ *Proxy }

// Options implements request.Connector.
func (podPortForward) Options(t request.Target) runtime.Object {
	ports, _ := ports(t.Query)
	return &corev1.PodPortForwardOptions{Ports: ports}
}

// Connect implements request.Connector.
func (f podPortForward) Connect(w http.ResponseWriter, r *http.Request, t request.Target) error {
	wanted, err := ports(t.Query)
	if err != nil {
		return err
	}
	pod, err := podOf(r.Context(), t)
	if err != nil {
		return err
	}
	query := url.Values{}
	if len(wanted) > 0 {
		query["port"] = []string{join(wanted)}
	}
	location, err := onKubelet(r.Context(), t, pod, query, "portForward", pod.Namespace, pod.Name)
	if err != nil {
		return err
	}
	failed := &failure{}
	tunnel := upgrade(location, f.kubelet, failed)
	handler := proxy.NewTranslatingHandler(tunnel, proxy.NewTunnelingHandler(tunnel), wsstream.IsWebSocketRequestWithTunnelingProtocol)
	handler.ServeHTTP(w, r)
	return failed.err
}

// ports reads the ports parameter, which WebSocket clients of old send.
func ports(query url.Values) ([]int32, error) {
	var out []int32
	for _, value := range query["ports"] {
		for one := range strings.SplitSeq(value, ",") {
			port, err := strconv.ParseUint(one, 10, 16)
			if err != nil || port == 0 {
				return nil, apierrors.NewBadRequest("port must be a number between 1 and 65535, got " + strconv.Quote(one))
			}
			out = append(out, int32(port))
		}
	}
	return out, nil
}

func join(ports []int32) string {
	out := make([]string, len(ports))
	for i, port := range ports {
		out[i] = strconv.Itoa(int(port))
	}
	return strings.Join(out, ",")
}
