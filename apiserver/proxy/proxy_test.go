package proxy_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/client-go/util/exec"
	serverportforward "k8s.io/cri-streaming/pkg/streaming/portforward"
	serverremotecommand "k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/streaming/pkg/httpstream"

	"github.com/yare-io/yare/apiserver"
	"github.com/yare-io/yare/apiserver/egress"
	"github.com/yare-io/yare/apiserver/proxy"
	"github.com/yare-io/yare/apiserver/registry"
	"github.com/yare-io/yare/storage/memory"
)

// The addresses of the test's network: everything behind them is on loopback.
const (
	nodeIP      = "192.0.2.1"
	podIP       = "192.0.2.2"
	kubeletPort = 10250
)

// world is a server whose node is a kubelet made of the streaming library that
// real ones use.
type world struct {
	t       *testing.T
	url     string
	config  *rest.Config
	client  kubernetes.Interface
	kubelet *httptest.Server
	pod     *httptest.Server
}

func newWorld(t *testing.T) *world { return newWorldOf(t, kubelet{t}) }

// newWorldOf makes a world whose kubelet is the one given.
func newWorldOf(t *testing.T, kubelet http.Handler) *world {
	w := &world{t: t}
	w.kubelet = httptest.NewTLSServer(kubelet)
	w.pod = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(rw, "pod got %s %s, authorization %q", r.Method, r.URL.RequestURI(), r.Header.Get("Authorization"))
	}))
	t.Cleanup(w.kubelet.Close)
	t.Cleanup(w.pod.Close)
	roots := x509.NewCertPool()
	roots.AddCert(w.kubelet.Certificate())
	w.front(proxy.Config{
		KubeletTLS:  &tls.Config{RootCAs: roots, ServerName: "example.com"},
		DialContext: w.dial, Guard: egress.Guard{Flag: "proxy-allowed-networks"},
	})
	w.populate()
	return w
}

// front starts the API server.
func (w *world) front(config proxy.Config) {
	t := w.t
	p, err := proxy.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	store := memory.New(memory.Config{})
	server, err := apiserver.New(apiserver.Config{
		Store: store, Rows: rows(), Connect: p.Connectors(),
		Authenticator: authenticator.RequestFunc(func(*http.Request) (*authenticator.Response, bool, error) {
			return &authenticator.Response{User: &user.DefaultInfo{Name: "admin"}}, true, nil
		}),
		Authorizer: authorizer.AuthorizerFunc(func(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
			return authorizer.DecisionAllow, "", nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	front := httptest.NewServer(server.Handler())
	t.Cleanup(func() {
		cancel()
		<-ended
		front.Close()
		_ = store.Close()
	})
	w.url = front.URL
	w.config = &rest.Config{Host: front.URL, QPS: -1, BearerToken: "secret"}
	w.client = kubernetes.NewForConfigOrDie(w.config)
}

// dial leads the test's addresses to the servers behind them.
func (w *world) dial(ctx context.Context, network, address string) (net.Conn, error) {
	real, ok := map[string]string{
		net.JoinHostPort(nodeIP, fmt.Sprint(kubeletPort)): w.kubelet.Listener.Addr().String(),
		net.JoinHostPort(podIP, "8080"):                   w.pod.Listener.Addr().String(),
	}[address]
	if !ok {
		return nil, fmt.Errorf("nothing at %s", address)
	}
	return (&net.Dialer{}).DialContext(ctx, network, real)
}

func (w *world) populate() {
	w.t.Helper()
	ctx, core := w.t.Context(), w.client.CoreV1()
	_, err := core.Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}, Status: corev1.NodeStatus{
		Addresses:       []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: "n.invalid"}, {Type: corev1.NodeInternalIP, Address: nodeIP}},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: kubeletPort}},
	}}, metav1.CreateOptions{})
	w.must(err)
	containers := []corev1.Container{{Name: "c", Ports: []corev1.ContainerPort{{ContainerPort: 8080}}}}
	for _, pod := range []*corev1.Pod{
		{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: corev1.PodSpec{NodeName: "n", Containers: containers}, Status: corev1.PodStatus{PodIP: podIP}},
		{ObjectMeta: metav1.ObjectMeta{Name: "two"}, Spec: corev1.PodSpec{NodeName: "n", Containers: []corev1.Container{{Name: "a"}, {Name: "b"}}, InitContainers: []corev1.Container{{Name: "i"}}}},
		{ObjectMeta: metav1.ObjectMeta{Name: "pending"}, Spec: corev1.PodSpec{Containers: containers}},
		{ObjectMeta: metav1.ObjectMeta{Name: "loop"}, Spec: corev1.PodSpec{NodeName: "n", Containers: containers}, Status: corev1.PodStatus{PodIP: "127.0.0.1"}},
	} {
		_, err := core.Pods("default").Create(ctx, pod, metav1.CreateOptions{})
		w.must(err)
	}
	_, err = core.Services("default").Create(ctx, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "web", Port: 80}}}}, metav1.CreateOptions{})
	w.must(err)
	name, port := "web", int32(8080)
	_, err = w.client.DiscoveryV1().EndpointSlices("default").Create(ctx, &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Name: "s-1", Labels: map[string]string{discoveryv1.LabelServiceName: "s"}},
		Endpoints:  []discoveryv1.Endpoint{{Addresses: []string{podIP}}},
		Ports:      []discoveryv1.EndpointPort{{Name: &name, Port: &port}},
	}, metav1.CreateOptions{})
	w.must(err)
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) get(path string) (int, string) {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.url+path, nil)
	w.must(err)
	request.Header.Set("Authorization", "Bearer secret")
	answer, err := http.DefaultTransport.RoundTrip(request)
	w.must(err)
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	w.must(err)
	return answer.StatusCode, string(body)
}

// rows are bare rows of the kinds that streams lead through.
func rows() []*registry.Resource {
	stream, all := []string{"create", "get"}, []string{"create", "delete", "get", "patch", "update"}
	connect := func(name string, verbs []string) registry.Subresource {
		return registry.Subresource{Name: name, Verbs: verbs, Connect: true}
	}
	row := func(gv, kind, plural string, namespaced bool, empty, list func() runtime.Object, subresources ...registry.Subresource) *registry.Resource {
		group, version, _ := strings.Cut(gv, "/")
		if version == "" {
			group, version = "", gv
		}
		r := &registry.Resource{Name: plural, Namespaced: namespaced, New: empty, NewList: list, StoragePrefix: plural, Subresources: subresources,
			Verbs: []string{"create", "delete", "get", "list", "watch"}}
		r.Kind.Group, r.Kind.Version, r.Kind.Kind = group, version, kind
		return r
	}
	return []*registry.Resource{
		row("v1", "Pod", "pods", true, func() runtime.Object { return &corev1.Pod{} }, func() runtime.Object { return &corev1.PodList{} },
			connect("log", []string{"get"}), connect("exec", stream), connect("attach", stream), connect("portforward", stream), connect("proxy", all)),
		row("v1", "Node", "nodes", false, func() runtime.Object { return &corev1.Node{} }, func() runtime.Object { return &corev1.NodeList{} }, connect("proxy", all)),
		row("v1", "Service", "services", true, func() runtime.Object { return &corev1.Service{} }, func() runtime.Object { return &corev1.ServiceList{} }, connect("proxy", all)),
		row("discovery.k8s.io/v1", "EndpointSlice", "endpointslices", true, func() runtime.Object { return &discoveryv1.EndpointSlice{} }, func() runtime.Object { return &discoveryv1.EndpointSliceList{} }),
	}
}

// kubelet serves logs and streams as kubelets do.
type kubelet struct{ t *testing.T }

func (k kubelet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "" {
		k.t.Errorf("the client's credentials reached the kubelet: %s", r.URL)
	}
	path := strings.Split(r.URL.Path, "/")
	switch {
	case path[1] == "containerLogs" && path[4] == "b":
		http.Error(w, `container "b" in pod "two" is waiting to start: ContainerCreating`, http.StatusBadRequest)
	case path[1] == "containerLogs" && path[4] == "i":
		http.Redirect(w, r, "https://elsewhere.invalid/", http.StatusFound)
	case path[1] == "containerLogs":
		_, _ = fmt.Fprintf(w, "log of %s %s", r.URL.Path, r.URL.RawQuery)
	case path[1] == "exec":
		query := r.URL.Query()
		streams := &serverremotecommand.Options{Stdin: query.Get("input") == "1", Stdout: query.Get("output") == "1", Stderr: query.Get("error") == "1", TTY: query.Get("tty") == "1"}
		serverremotecommand.ServeExec(w, r, k, path[3], "uid", path[4], query["command"], streams, time.Minute, time.Minute, serverremotecommand.SupportedStreamingProtocols)
	case path[1] == "portForward":
		options, err := serverportforward.NewV4Options(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		serverportforward.ServePortForward(w, r, k, path[3], "uid", options, time.Minute, time.Minute, serverportforward.SupportedProtocols)
	default:
		_, _ = fmt.Fprintf(w, "kubelet got %s", r.URL.RequestURI())
	}
}

// ExecInContainer copies its input to its output, and fails as it is told.
func (kubelet) ExecInContainer(_ context.Context, _, _, _ string, command []string, in io.Reader, out, errs io.WriteCloser, _ bool, _ <-chan serverremotecommand.TerminalSize, _ time.Duration) error {
	switch command[0] {
	case "cat":
		_, err := io.Copy(out, in)
		return err
	case "fail":
		_, _ = io.WriteString(errs, "failing")
		return exec.CodeExitError{Err: errors.New("command terminated"), Code: 7}
	}
	return fmt.Errorf("no command %v", command)
}

// PortForward echoes.
func (kubelet) PortForward(_ context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	defer func() { _ = stream.Close() }()
	line := make([]byte, 5)
	if _, err := io.ReadFull(stream, line); err != nil {
		return err
	}
	_, err := fmt.Fprintf(stream, "port %d: %s", port, line)
	return err
}

func TestLogs(t *testing.T) {
	w := newWorld(t)
	for _, test := range []struct {
		path string
		code int
		want string
	}{
		{"p/log", 200, "log of /containerLogs/default/p/c "},
		{"p/log?follow=true&tailLines=3&timestamps=1&container=c", 200, "log of /containerLogs/default/p/c follow=true&tailLines=3&timestamps=true"},
		{"pending/log", 200, ""},
		{"absent/log", 404, `pods \"absent\" not found`},
		{"p/log?container=x", 400, "container x is not valid for pod p"},
		{"two/log", 400, "a container name must be specified for pod two, choose one of: [a b] or one of the init containers: [i]"},
		{"two/log?container=b", 400, `is waiting to start: ContainerCreating`},
		{"two/log?container=i", 500, "attempted to redirect"},
		{"p/log?tailLines=-1", 422, "must be greater than or equal to 0"},
		{"p/log?sinceSeconds=1&sinceTime=2020-01-01T00:00:00Z", 422, "at most one of"},
		{"p/log?stream=Both", 422, "Unsupported value"},
		{"p/log/more", 404, "could not find"},
	} {
		code, body := w.get("/api/v1/namespaces/default/pods/" + test.path)
		if code != test.code || !strings.Contains(body, test.want) {
			t.Errorf("%s: %d %s", test.path, code, body)
		}
	}
}

func TestProxiedRequests(t *testing.T) {
	w := newWorld(t)
	for _, test := range []struct {
		path string
		code int
		want string
	}{
		{"nodes/n/proxy/stats/summary?only=cpu", 200, "kubelet got /stats/summary?only=cpu"},
		{"nodes/n:10250/proxy/pods/", 200, "kubelet got /pods/"},
		{"nodes/absent/proxy/pods", 404, "not found"},
		{"namespaces/default/pods/p/proxy/a%2Fb?x=y", 200, `pod got GET /a%2Fb?x=y, authorization ""`},
		{"namespaces/default/pods/http:p:8080/proxy/", 200, "pod got GET /,"},
		{"namespaces/default/pods/p:9/proxy/", 503, "error trying to reach service: nothing at"},
		{"namespaces/default/pods/loop/proxy/", 400, "address not allowed: 127.0.0.1:0 is a loopback address; --proxy-allowed-networks can allow it"},
		{"namespaces/default/pods/a:b:c:d/proxy/", 400, "invalid pod request"},
		{"namespaces/default/services/s:web/proxy/z", 200, "pod got GET /z,"},
		{"namespaces/default/services/s:80/proxy/z", 200, "pod got GET /z,"},
		{"namespaces/default/services/s:81/proxy/z", 503, `no service port \"81\" found for service \"s\"`},
	} {
		code, body := w.get("/api/v1/" + test.path)
		if code != test.code || !strings.Contains(body, test.want) {
			t.Errorf("%s: %d %s", test.path, code, body)
		}
	}
}

func (w *world) executor(websockets bool, command ...string) remotecommand.Executor {
	w.t.Helper()
	u, err := url.Parse(w.url + "/api/v1/namespaces/default/pods/p/exec?stdin=true&stdout=true&stderr=true&" + url.Values{"command": command}.Encode())
	w.must(err)
	if websockets {
		e, err := remotecommand.NewWebSocketExecutor(w.config, http.MethodGet, u.String())
		w.must(err)
		return e
	}
	e, err := remotecommand.NewSPDYExecutor(w.config, http.MethodPost, u)
	w.must(err)
	return e
}

func TestExecOverBothProtocols(t *testing.T) {
	w := newWorld(t)
	for name, websockets := range map[string]bool{"WebSocket": true, "SPDY": false} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			large := strings.Repeat("all of it ", 100_000)
			err := w.executor(websockets, "cat").StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdin: strings.NewReader(large), Stdout: &out, Stderr: &errs})
			if err != nil || out.String() != large {
				t.Errorf("%d bytes, %v", out.Len(), err)
			}
			err = w.executor(websockets, "fail").StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs})
			var exit exec.CodeExitError
			if !errors.As(err, &exit) || exit.Code != 7 || errs.String() != "failing" {
				t.Errorf("%q, %v", errs.String(), err)
			}
		})
	}
}

func TestWhatCannotBeExecuted(t *testing.T) {
	w := newWorld(t)
	for path, want := range map[string]string{
		"p/exec?command=x&stdout=1":       "Upgrade request required",
		"pending/exec?command=x&stdout=1": "pod pending does not have a host assigned",
		"p/exec?container=x&command=x":    "container x is not valid for pod p",
		"p/portforward?ports=0":           "port must be a number",
	} {
		if code, body := w.get("/api/v1/namespaces/default/pods/" + path); code != 400 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
}

func TestPortForwardOverBothProtocols(t *testing.T) {
	w := newWorld(t)
	u, err := url.Parse(w.url + "/api/v1/namespaces/default/pods/p/portforward")
	w.must(err)
	tunnel, err := portforward.NewSPDYOverWebsocketDialerForStreaming(u, w.config)
	w.must(err)
	roundTripper, upgrader, err := spdy.RoundTripperFor(w.config)
	w.must(err)
	plain := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: roundTripper}, http.MethodPost, u)
	for name, dialer := range map[string]httpstream.Dialer{"WebSocket": tunnel, "SPDY": plain} {
		t.Run(name, func(t *testing.T) {
			stop, ready := make(chan struct{}), make(chan struct{})
			forwarder, err := portforward.NewOnAddressesForStreaming(dialer, []string{"127.0.0.1"}, []string{":8080"}, stop, ready, io.Discard, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			var group sync.WaitGroup
			group.Go(func() {
				if err := forwarder.ForwardPorts(); err != nil {
					t.Error(err)
				}
			})
			defer group.Wait()
			defer close(stop)
			<-ready
			ports, err := forwarder.GetPorts()
			if err != nil {
				t.Fatal(err)
			}
			conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ports[0].Local))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if _, err := io.WriteString(conn, "hello"); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(conn); err != nil || string(got) != "port 8080: hello" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}
