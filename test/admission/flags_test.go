package admission_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	josejwt "github.com/go-jose/go-jose/v4/jwt"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/yare-io/yare/test/yaretest"
)

// Tests of what flags and files of the running server say about access and
// audit.

// file writes one into a directory of the test's own.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	rewrite(t, path, text)
	return path
}

func rewrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// kubeconfigFor leads to a server without TLS.
func kubeconfigFor(t *testing.T, url string) string {
	t.Helper()
	return file(t, "kubeconfig", fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: a, cluster: {server: %q}}]\nusers: [{name: a, user: {}}]\ncontexts: [{name: a, context: {cluster: a, user: a}}]\ncurrent-context: a\n", url))
}

// reviewer answers reviews of a kind, and counts them by what they are about.
type reviewer struct {
	*httptest.Server
	mu    sync.Mutex
	asked map[string]int
}

func review[T any](t *testing.T, decide func(*T) (about string)) *reviewer {
	t.Helper()
	r := &reviewer{asked: map[string]int{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		asked := new(T)
		if err := json.NewDecoder(request.Body).Decode(asked); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		about := decide(asked)
		r.mu.Lock()
		r.asked[about]++
		r.mu.Unlock()
		_ = json.NewEncoder(w).Encode(asked)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *reviewer) times(about string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked[about]
}

// withToken is a client that shows nothing but a token.
func withToken(t *testing.T, server *yaretest.Server, token string) kubernetes.Interface {
	t.Helper()
	config := rest.AnonymousClientConfig(server.Config())
	config.QPS, config.BearerToken = -1, token
	return must(kubernetes.NewForConfig(config))
}

// who is the user that a client is taken for, empty for nobody.
func who(t *testing.T, client kubernetes.Interface) string {
	t.Helper()
	got, err := client.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return ""
	}
	return got.Status.UserInfo.Username
}

func comes(t *testing.T, what string, condition func() bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) { return condition(), nil })
	if err != nil {
		t.Fatalf("not within a minute: %s", what)
	}
}

func TestATokenWebhooksAnswersAreRemembered(t *testing.T) {
	outside := review(t, func(r *authenticationv1.TokenReview) string {
		r.Status.Authenticated = r.Spec.Token == "good"
		r.Status.User.Username = "ann"
		return r.Spec.Token
	})
	webhook := "--authentication-token-webhook-config-file=" + kubeconfigFor(t, outside.URL)
	for ttl, want := range map[string]int{"1h": 1, "0": 3} {
		outside.asked = map[string]int{}
		server := yaretest.Start(t, yaretest.WithFlags(webhook, "--authentication-token-webhook-cache-ttl="+ttl))
		if got := who(t, withToken(t, server, "good")); got != "ann" {
			t.Errorf("the good token is of %q", got)
		}
		for range 3 {
			if got := who(t, withToken(t, server, "bad")); got != "" {
				t.Errorf("the bad token is of %q", got)
			}
		}
		if got := outside.times("bad"); got != want {
			t.Errorf("with %s asked %d times about a bad token, want %d", ttl, got, want)
		}
	}
}

// issuer signs tokens, and says by which key.
type issuer struct {
	*httptest.Server
	key *ecdsa.PrivateKey
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{key: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"issuer": %q, "jwks_uri": %q}`, i.URL, i.URL+"/keys")
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: i.key.Public(), KeyID: "a", Use: "sig", Algorithm: "ES256"}}})
	})
	i.Server = httptest.NewTLSServer(mux)
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) token() string {
	signer := must(jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: i.key, KeyID: "a"}}, nil))
	claims := map[string]any{"iss": i.URL, "aud": []string{"yare"}, "sub": "ann", "exp": time.Now().Add(time.Hour).Unix()}
	return must(josejwt.Signed(signer).Claims(claims).Serialize())
}

// configuration trusts an issuer alone, whose users get a prefix.
func (i *issuer) configuration(prefix string) string {
	authority := strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.Certificate().Raw})))
	return "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n- issuer:\n    url: " + i.URL +
		"\n    audiences: [yare]\n    certificateAuthority: |\n      " + strings.ReplaceAll(authority, "\n", "\n      ") +
		"\n  claimMappings: {username: {claim: sub, prefix: '" + prefix + "'}}\n"
}

const accessOfUsers = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers:\n- {type: RBAC, name: rbac}\n"

// TestConfigurationOfAccessIsFollowed: the running server takes up what its files
// say, and stays with the last good one.
func TestConfigurationOfAccessIsFollowed(t *testing.T) {
	first, second := newIssuer(t), newIssuer(t)
	authentication := file(t, "authentication.yaml", first.configuration("one:"))
	authorization := file(t, "authorization.yaml", accessOfUsers)
	server := yaretest.Start(t, yaretest.WithFlags("--authentication-config="+authentication, "--authorization-config="+authorization))
	if got := who(t, withToken(t, server, first.token())); got != "one:ann" {
		t.Errorf("the first issuer's token is of %q", got)
	}
	ann := withToken(t, server, second.token())
	if got := who(t, ann); got != "" {
		t.Errorf("a token of an issuer that nobody trusts is of %q", got)
	}
	rewrite(t, authentication, "kind: Nothing\n")
	outside := review(t, func(r *authorizationv1.SubjectAccessReview) string {
		r.Status.Allowed = r.Spec.User == "two:ann" && r.Spec.ResourceAttributes != nil && r.Spec.ResourceAttributes.Resource == "configmaps"
		return r.Spec.User
	})
	rewrite(t, authorization, accessOfUsers+`- type: Webhook
  name: outside
  webhook:
    timeout: 3s
    authorizedTTL: 5m
    unauthorizedTTL: 1s
    failurePolicy: Deny
    subjectAccessReviewVersion: v1
    matchConditionSubjectAccessReviewVersion: v1
    connectionInfo: {type: KubeConfigFile, kubeConfigFile: `+kubeconfigFor(t, outside.URL)+"}\n")
	comes(t, "the webhook is asked", func() bool {
		_ = who(t, withToken(t, server, first.token()))
		_, _ = withToken(t, server, first.token()).CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{})
		return outside.times("one:ann") > 0
	})
	if got := who(t, withToken(t, server, first.token())); got != "one:ann" {
		t.Errorf("after a bad file the first issuer's token is of %q", got)
	}
	rewrite(t, authentication, second.configuration("two:"))
	comes(t, "the second issuer is trusted", func() bool { return who(t, ann) == "two:ann" })
	comes(t, "the first one is not any more", func() bool { return who(t, withToken(t, server, first.token())) == "" })
	if _, err := ann.CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Errorf("what the webhook allows: %v", err)
	}
	_, err := ann.CoreV1().Secrets("default").List(t.Context(), metav1.ListOptions{})
	refused(t, err, http.StatusForbidden, "secrets is forbidden")
}

const auditAll = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n- {level: RequestResponse, namespaces: [default], resources: [{resources: [configmaps]}], verbs: [create]}\n- {level: None}\n"

// TestFlagsOfAudit: a log in batches, of shortened events, put aside compressed;
// a log of text; and a server that gets lists.
func TestFlagsOfAudit(t *testing.T) {
	policy := "--audit-policy-file=" + file(t, "policy.yaml", auditAll)
	dir := t.TempDir()
	text, events := filepath.Join(dir, "text.log"), filepath.Join(dir, "events.log")
	var mu sync.Mutex
	var got []auditv1.Event
	sink := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		var list auditv1.EventList
		if err == nil && json.Unmarshal(raw, &list) == nil {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, list.Items...)
		}
	}))
	t.Cleanup(sink.Close)
	servers := map[string]*yaretest.Server{
		text: yaretest.Start(t, yaretest.WithFlags(policy, "--audit-log-path="+text, "--audit-log-format=legacy", "--audit-log-mode=blocking-strict",
			"--audit-webhook-config-file="+kubeconfigFor(t, sink.URL), "--audit-webhook-batch-max-wait=10ms", "--audit-webhook-batch-max-size=2", "--audit-webhook-batch-throttle-enable=false")),
		events: yaretest.Start(t, yaretest.WithFlags(policy, "--audit-log-path="+events, "--audit-log-mode=batch", "--audit-log-batch-max-size=2", "--audit-log-batch-max-wait=10ms",
			"--audit-log-truncate-enabled", "--audit-log-truncate-max-event-size=3000", "--audit-log-truncate-max-batch-size=4000", "--audit-log-maxsize=1", "--audit-log-compress")),
	}
	for path, server := range servers {
		client := must(kubernetes.NewForConfig(server.Config()))
		for name, size := range map[string]int{"small": 10, "large": 10_000} {
			made := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"a": strings.Repeat("x", size)}}
			must(client.CoreV1().ConfigMaps("default").Create(t.Context(), made, metav1.CreateOptions{}))
		}
		comes(t, "both events are in "+path, func() bool { raw, _ := os.ReadFile(path); return strings.Count(string(raw), "\n") == 2 })
	}
	if raw := string(must(os.ReadFile(text))); !strings.Contains(raw, ` AUDIT: id="`) || !strings.Contains(raw, `method="create"`) {
		t.Errorf("the log of text says %s", raw)
	}
	for line := range strings.Lines(string(must(os.ReadFile(events)))) {
		var event auditv1.Event
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			t.Fatal(err)
		}
		large := event.ObjectRef.Name == "large"
		if (event.RequestObject == nil) != large || (event.Annotations["audit.k8s.io/truncated"] == "true") != large {
			t.Errorf("the event of %s: %s", event.ObjectRef.Name, line)
		}
	}
	comes(t, "the server got both events", func() bool { mu.Lock(); defer mu.Unlock(); return len(got) == 2 })
}
