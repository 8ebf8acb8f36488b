package admission_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/informers"

	"github.com/yare-io/yare/apiserver/authz"
	"github.com/yare-io/yare/apiserver/authz/node"
	"github.com/yare-io/yare/apiserver/authz/rbac"
	rbacbootstrap "github.com/yare-io/yare/apiserver/authz/rbac/bootstrap"
)

// real makes the server decide about access as the binary does by default.
func real(h *harness) {
	h.authorize = func(factory informers.SharedInformerFactory) authorizer.Authorizer {
		policy, err := rbacbootstrap.Load(rbacbootstrap.DefaultGates)
		if err != nil {
			h.t.Fatal(err)
		}
		h.policy = policy
		roles, nodes := rbac.New(), node.New(policy.NodeRules())
		synced, err := roles.Follow(factory)
		if err != nil {
			h.t.Fatal(err)
		}
		h.synced = append(h.synced, synced)
		if synced, err = nodes.Follow(factory); err != nil {
			h.t.Fatal(err)
		}
		h.synced = append(h.synced, synced)
		a, err := authz.New(authz.Config{
			Modes: []authz.Mode{authz.Node, authz.RBAC}, Authorizers: map[authz.Mode]authorizer.Authorizer{authz.Node: nodes, authz.RBAC: roles},
		})
		if err != nil {
			h.t.Fatal(err)
		}
		return a
	}
}

// bind gives a user one of Kubernetes' roles in the namespace default.
func (h *harness) bind(who, role string) {
	h.t.Helper()
	_, err := h.client.RbacV1().RoleBindings("default").Create(h.t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: who}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: who}},
	}, metav1.CreateOptions{})
	if err != nil {
		h.t.Fatal(err)
	}
}

// grant gives a user rules in the whole cluster.
func (h *harness) grant(who string, rules ...rbacv1.PolicyRule) {
	h.t.Helper()
	api := h.client.RbacV1()
	role := must(api.ClusterRoles().Create(h.t.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{GenerateName: who + "-"}, Rules: rules}, metav1.CreateOptions{}))
	must(api.ClusterRoleBindings().Create(h.t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: who}},
	}, metav1.CreateOptions{}))
}

// code is the status of a request's answer.
func (h *harness) code(who, method, path, body string, headers ...string) int {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), method, h.http.URL+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	r.Header.Set("User", who)
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	_, _ = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode
}

// TestWhoMayDoWhatIsDangerous is the table of requests that give power over
// others: all but the named users must be refused.
func TestWhoMayDoWhatIsDangerous(t *testing.T) {
	h := start(t, only(), real)
	for who, role := range map[string]string{"viewer": "view", "editor": "edit", "owner": "admin"} {
		h.bind(who, role)
	}
	h.eventually("bindings are known", func() bool { return h.code("owner", "GET", "/api/v1/namespaces/default/secrets", "") == http.StatusOK })
	users := []string{"nobody", "viewer", "editor", "owner", "system:node:n1", "root"}
	const pod = "/api/v1/namespaces/default/pods/p"
	for _, c := range []struct {
		name, method, path, body, header string
		// may lists who is not refused.
		may string
	}{
		{"read secrets", "GET", "/api/v1/namespaces/default/secrets", "", "", "editor owner root"},
		{"read config maps", "GET", "/api/v1/namespaces/default/configmaps", "", "", "viewer editor owner root"},
		{"exec by POST", "POST", pod + "/exec?command=sh&stdout=1", "", "", "editor owner root"},
		{"exec by GET", "GET", pod + "/exec?command=sh&stdout=1", "", "", "editor owner root"},
		{"attach by GET", "GET", pod + "/attach?stdout=1", "", "", "editor owner root"},
		{"forward ports by GET", "GET", pod + "/portforward?ports=80", "", "", "editor owner root"},
		{"proxy to a pod", "GET", pod + "/proxy/", "", "", "editor owner root"},
		{"proxy to a service", "GET", "/api/v1/namespaces/default/services/s/proxy/", "", "", "editor owner root"},
		{"proxy to a node", "GET", "/api/v1/nodes/n1/proxy/pods", "", "", "root"},
		{"exec through a node", "GET", "/api/v1/nodes/n1/proxy/exec/default/p/c?command=sh", "", "", "root"},
		{"read another node", "GET", "/api/v1/nodes/n2", "", "", "root"},
		{"write a node's status", "PATCH", "/api/v1/nodes/n2/status", "{}", "", "system:node:n1 root"},
		{"write a pod's status", "PATCH", pod + "/status", "{}", "", "system:node:n1 root"},
		{"bind a pod", "POST", pod + "/binding", `{"target":{"name":"n1"}}`, "", "root"},
		{"add a debug container", "PATCH", pod + "/ephemeralcontainers", "{}", "", "root"},
		{"token of an account", "POST", "/api/v1/namespaces/default/serviceaccounts/default/token", "{}", "", "editor owner root"},
		{"be another user", "GET", "/api/v1/namespaces/default/configmaps", "", "viewer", "root"},
		{"be an account", "GET", "/apis", "", "system:serviceaccount:default:default", "editor owner root"},
		{"write roles", "POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles", `{"metadata":{"name":"r"}}`, "", "owner root"},
		{"write cluster roles", "POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", `{"metadata":{"name":"r"}}`, "", "root"},
		{"write webhooks", "POST", "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations", "{}", "", "root"},
		{"approve certificates", "PUT", "/apis/certificates.k8s.io/v1/certificatesigningrequests/c/approval", "{}", "", "root"},
		{"write endpoints (CVE-2021-25740)", "POST", "/api/v1/namespaces/default/endpoints", "{}", "", "root"},
		{"write endpoint slices (CVE-2021-25740)", "POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", "{}", "", "root"},
		{"write quotas", "POST", "/api/v1/namespaces/default/resourcequotas", "{}", "", "root"},
		{"label the namespace", "PATCH", "/api/v1/namespaces/default", "{}", "", "root"},
		{"read metrics", "GET", "/metrics", "", "", "root"},
	} {
		for _, who := range users {
			headers := []string{}
			if c.method == "PATCH" {
				headers = append(headers, "Content-Type", "application/merge-patch+json")
			}
			if c.header != "" {
				headers = append(headers, "Impersonate-User", c.header)
			}
			may := strings.Contains(" "+c.may+" ", " "+who+" ")
			if got := h.code(who, c.method, c.path, c.body, headers...); (got == http.StatusForbidden) == may {
				t.Errorf("%s: %s got %d", c.name, who, got)
			}
		}
	}
}

// TestNodeCommandsNeedMoreThanGet: the right to look at nodes through their
// proxy is not one to run commands there.
func TestNodeCommandsNeedMoreThanGet(t *testing.T) {
	h := start(t, only(), real)
	h.grant("looker", rbacv1.PolicyRule{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"nodes/proxy"}})
	const proxied = "/api/v1/nodes/n1/proxy"
	h.eventually("the binding is known", func() bool { return h.code("looker", "GET", proxied+"/pods", "") != http.StatusForbidden })
	for _, path := range []string{"/exec/a/b/c", "/run/a/b/c", "/attach/a/b/c", "/portForward/a/b", "//exec/a/b/c", "/./exec/a", "/%65xec/a/b/c", "/cri/exec/x", "/x/../exec/a"} {
		if got := h.code("looker", "GET", proxied+path, ""); got != http.StatusForbidden {
			t.Errorf("%s: %d", path, got)
		}
	}
}
