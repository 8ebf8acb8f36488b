package admission_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/apiserver/authz"
	"github.com/yare-io/yare/apiserver/authz/node"
	"github.com/yare-io/yare/apiserver/authz/rbac"
	rbacbootstrap "github.com/yare-io/yare/apiserver/authz/rbac/bootstrap"
	"github.com/yare-io/yare/apiserver/authz/rbac/escalation"
)

// podsOf lists and watches pods as a client does.
func podsOf(client kubernetes.Interface) *cache.ListWatch {
	pods := client.CoreV1().Pods(metav1.NamespaceAll)
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return pods.List(ctx, options)
		},
		WatchFuncWithContext: pods.Watch,
	}
}

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
		if synced, err = nodes.Follow(factory, podsOf(h.inside)); err != nil {
			h.t.Fatal(err)
		}
		h.synced = append(h.synced, synced)
		a, err := authz.New(authz.Config{
			Modes: []authz.Mode{authz.Node, authz.RBAC}, Authorizers: map[authz.Mode]authorizer.Authorizer{authz.Node: nodes, authz.RBAC: roles},
		})
		if err != nil {
			h.t.Fatal(err)
		}
		h.first = []admission.Plugin{escalation.New(roles, a)}
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
		{"exec by WebSocket", "WEBSOCKET", pod + "/exec?command=sh&stdout=1", "", "", "editor owner root"},
		{"attach by GET", "GET", pod + "/attach?stdout=1", "", "", "editor owner root"},
		{"attach by POST", "POST", pod + "/attach?stdout=1", "", "", "editor owner root"},
		{"attach by WebSocket", "WEBSOCKET", pod + "/attach?stdout=1", "", "", "editor owner root"},
		{"forward ports by POST", "POST", pod + "/portforward", "", "", "editor owner root"},
		{"forward ports by WebSocket", "WEBSOCKET", pod + "/portforward?ports=80", "", "", "editor owner root"},
		{"read logs", "GET", pod + "/log", "", "", "viewer editor owner root"},
		{"forward ports by GET", "GET", pod + "/portforward?ports=80", "", "", "editor owner root"},
		{"proxy to a pod", "GET", pod + "/proxy/", "", "", "editor owner root"},
		{"proxy to a service", "GET", "/api/v1/namespaces/default/services/s/proxy/", "", "", "editor owner root"},
		{"proxy to a node", "GET", "/api/v1/nodes/n1/proxy/pods", "", "", "root"},
		{"exec through a node", "GET", "/api/v1/nodes/n1/proxy/exec/default/p/c?command=sh", "", "", "root"},
		{"change a node through its proxy", "POST", "/api/v1/nodes/n1/proxy/run/default/p/c", "", "", "root"},
		{"exec through a node by WebSocket", "WEBSOCKET", "/api/v1/nodes/n1/proxy/exec/default/p/c?command=sh", "", "", "root"},
		{"read another node", "GET", "/api/v1/nodes/n2", "", "", "root"},
		{"write a node's status", "PATCH", "/api/v1/nodes/n2/status", "{}", "", "system:node:n1 root"},
		{"write a pod's status", "PATCH", pod + "/status", "{}", "", "system:node:n1 root"},
		{"write a deployment's status", "PATCH", "/apis/apps/v1/namespaces/default/deployments/d/status", "{}", "", "root"},
		{"write a service's status", "PATCH", "/api/v1/namespaces/default/services/s/status", "{}", "", "root"},
		{"write a claim's status", "PATCH", "/api/v1/namespaces/default/persistentvolumeclaims/c/status", "{}", "", "root"},
		{"write a quota's status", "PATCH", "/api/v1/namespaces/default/resourcequotas/q/status", "{}", "", "root"},
		{"write a namespace's status", "PATCH", "/api/v1/namespaces/default/status", "{}", "", "root"},
		{"finalize a namespace", "PUT", "/api/v1/namespaces/default/finalize", "{}", "", "root"},
		{"write a volume's status", "PATCH", "/api/v1/persistentvolumes/v/status", "{}", "", "root"},
		{"write a policy's status", "PATCH", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/p/status", "{}", "", "root"},
		{"resize a pod", "PATCH", pod + "/resize", "{}", "", "root"},
		{"evict a pod", "POST", pod + "/eviction", "{}", "", "editor owner root system:node:n1"},
		{"scale", "PATCH", "/apis/apps/v1/namespaces/default/deployments/d/scale", "{}", "", "editor owner root"},
		{"bind a pod", "POST", pod + "/binding", `{"target":{"name":"n1"}}`, "", "root"},
		{"add a debug container", "PATCH", pod + "/ephemeralcontainers", "{}", "", "root"},
		{"token of an account", "POST", "/api/v1/namespaces/default/serviceaccounts/default/token", "{}", "", "editor owner root"},
		{"token of another namespace's account", "POST", "/api/v1/namespaces/kube-system/serviceaccounts/default/token", "{}", "", "root"},
		{"be another user", "GET", "/api/v1/namespaces/default/configmaps", "", "viewer", "root"},
		{"be an account", "GET", "/apis", "", "system:serviceaccount:default:default", "editor owner root"},
		{"write roles", "POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles", `{"metadata":{"name":"r"}}`, "", "owner root"},
		{"write cluster roles", "POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", `{"metadata":{"name":"r"}}`, "", "root"},
		{"bind roles", "POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", `{"metadata":{"name":"b"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"r"}}`, "", "owner root"},
		{"bind cluster roles", "POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", "{}", "", "root"},
		{"ask what others may", "POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", "{}", "", "root system:node:n1"},
		{"ask what others may here", "POST", "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews", "{}", "", "owner root system:node:n1"},
		{"ask whose a token is", "POST", "/apis/authentication.k8s.io/v1/tokenreviews", "{}", "", "root system:node:n1"},
		{"write policies", "POST", "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies", "{}", "", "root"},
		{"define resources", "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", "{}", "", "root"},
		{"register servers", "POST", "/apis/apiregistration.k8s.io/v1/apiservices", "{}", "", "root"},
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
			method := c.method
			if method == "WEBSOCKET" {
				method = "GET"
				headers = append(headers, "Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "eHh4eHh4eHh4eHh4eHh4eA==")
			}
			if c.header != "" {
				headers = append(headers, "Impersonate-User", c.header)
			}
			may := strings.Contains(" "+c.may+" ", " "+who+" ")
			if got := h.code(who, method, c.path, c.body, headers...); (got == http.StatusForbidden) == may {
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

// TestNobodyGivesWhatTheyDoNotHold: the right to write roles and bindings is not
// one to write what one likes into them.
func TestNobodyGivesWhatTheyDoNotHold(t *testing.T) {
	h := start(t, only(), real)
	h.bind("owner", "admin")
	rbac := func(resource, body string) error {
		return h.as("owner").RbacV1().RESTClient().Post().Namespace("default").Resource(resource).Body([]byte(body)).Do(t.Context()).Error()
	}
	role := func(name, verb, resource string) error {
		return rbac("roles", `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"`+name+`"},"rules":[{"verbs":["`+verb+`"],"apiGroups":[""],"resources":["`+resource+`"]}]}`)
	}
	bind := func(name, kind, role string) error {
		return rbac("rolebindings", `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{"name":"`+name+`"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"`+kind+`","name":"`+role+`"},
			"subjects":[{"kind":"User","apiGroup":"rbac.authorization.k8s.io","name":"owner"}]}`)
	}
	h.eventually("the binding is known", func() bool { return role("reader", "get", "configmaps") == nil })
	refused(t, role("all", "*", "*"), http.StatusForbidden, "attempting to grant RBAC permissions not currently held")
	refused(t, role("quotas", "update", "resourcequotas"), http.StatusForbidden, "attempting to grant RBAC permissions not currently held")
	refused(t, bind("all", "ClusterRole", "cluster-admin"), http.StatusForbidden, "attempting to grant RBAC permissions not currently held")
	h.eventually("what one holds may be bound", func() bool { return bind("own", "ClusterRole", "view") == nil })
	h.grant("owner", rbacv1.PolicyRule{Verbs: []string{"escalate"}, APIGroups: []string{rbacv1.GroupName}, Resources: []string{"roles"}},
		rbacv1.PolicyRule{Verbs: []string{"bind"}, APIGroups: []string{rbacv1.GroupName}, Resources: []string{"clusterroles"}, ResourceNames: []string{"cluster-admin"}})
	h.eventually("escalating is a right of its own", func() bool { return role("all", "*", "*") == nil })
	h.eventually("so is binding", func() bool { return bind("all", "ClusterRole", "cluster-admin") == nil })
}
