package secureserving

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// users are known by the header User: name/group.
func users(r *http.Request) (*authenticator.Response, bool, error) {
	name, group, ok := strings.Cut(r.Header.Get("User"), "/")
	return &authenticator.Response{User: &user.DefaultInfo{Name: name, Groups: []string{group}}}, ok, nil
}

func onlyScraper(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	if a.GetUser().GetName() == "scraper" && a.GetVerb() == "get" && a.GetPath() == "/metrics" && !a.IsResourceRequest() {
		return authorizer.DecisionAllow, "", nil
	}
	return authorizer.DecisionNoOpinion, "no rule", nil
}

func say(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
}

// start serves on a random port and returns a function that asks it.
func start(t *testing.T) (get func(path, user string) (int, string)) {
	t.Helper()
	certificate, err := SelfSigned("test")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{
		TLS:           &tls.Config{GetCertificate: certificate},
		Authenticator: authenticator.RequestFunc(users), Authorizer: authorizer.AuthorizerFunc(onlyScraper),
		Open:     []string{"/healthz", "/open/*"},
		Handlers: map[string]http.Handler{"/healthz": say("well"), "/open/": say("open"), "/metrics": say("figures"), "/configz": say("settings")},
		Logger:   slog.New(slog.DiscardHandler),
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, listener) }()
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return func(path, who string) (int, string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+listener.Addr().String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("User", who)
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(body)
	}
}

func TestWhoMayReadWhat(t *testing.T) {
	get := start(t)
	for _, c := range []struct {
		path, user string
		code       int
		body       string
	}{
		{"/healthz", "", 200, "well"},
		{"/healthz/", "", 401, "Unauthorized\n"},
		{"/open/all/below", "", 200, "open"},
		{"/metrics", "", 401, "Unauthorized\n"},
		{"/metrics", "scraper/", 200, "figures"},
		{"/configz", "scraper/", 403, "forbidden: User \"scraper\" cannot get path \"/configz\"\n"},
		{"/configz", "root/system:masters", 200, "settings"},
		{"/nothing", "root/system:masters", 404, "404 page not found\n"},
	} {
		if code, body := get(c.path, c.user); code != c.code || body != c.body {
			t.Errorf("%s as %q: %d %q, want %d %q", c.path, c.user, code, body, c.code, c.body)
		}
	}
}
