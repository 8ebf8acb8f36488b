package controllers

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

// accountServer issues tokens for accounts that exist, and says who asks.
type accountServer struct {
	mu       sync.Mutex
	accounts map[string]bool
	issued   int
	seen     []string // "method path as token"
}

func (s *accountServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, r.Method+" "+r.URL.Path+" as "+strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	const accounts = "/api/v1/namespaces/kube-system/serviceaccounts"
	account, token := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, accounts+"/"), "/token")
	body, _ := io.ReadAll(r.Body)
	switch {
	case r.URL.Path == accounts:
		var created corev1.ServiceAccount
		_ = json.Unmarshal(body, &created)
		s.accounts[created.Name] = true
		answer(w, http.StatusCreated, &created)
	case token && !s.accounts[account]:
		missing := apierrors.NewNotFound(schema.GroupResource{Resource: "serviceaccounts"}, account).ErrStatus
		answer(w, http.StatusNotFound, &missing)
	case token:
		s.issued++
		answer(w, http.StatusCreated, &authenticationv1.TokenRequest{Status: authenticationv1.TokenRequestStatus{
			Token: "token-of-" + account, ExpirationTimestamp: metav1.NewTime(time.Now().Add(time.Hour)),
		}})
	default:
		answer(w, http.StatusOK, &corev1.NodeList{})
	}
}

func answer(w http.ResponseWriter, code int, object runtime.Object) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(object)
}

func TestControllersActAsTheirServiceAccounts(t *testing.T) {
	api := &accountServer{accounts: map[string]bool{}}
	server := httptest.NewServer(api)
	defer server.Close()
	base := &rest.Config{Host: server.URL, BearerToken: "manager", ContentConfig: rest.ContentConfig{ContentType: "application/json"}}
	clients := NewClients(ServiceAccounts(base))
	for _, identity := range []string{ManagerIdentity, "deployment-controller"} {
		client, err := clients.Kubernetes(identity)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	const account = "/api/v1/namespaces/kube-system/serviceaccounts"
	want := []string{
		"GET /api/v1/nodes as manager",
		"GET /api/v1/nodes as manager",
		"POST " + account + "/deployment-controller/token as manager",
		"POST " + account + " as manager",
		"POST " + account + "/deployment-controller/token as manager",
		"GET /api/v1/nodes as token-of-deployment-controller",
		"GET /api/v1/nodes as token-of-deployment-controller",
	}
	if got := strings.Join(api.seen, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("requests:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
}
