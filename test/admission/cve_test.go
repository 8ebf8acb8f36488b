package admission_test

import (
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// Tests of classes of weaknesses that Kubernetes had, by the numbers under which
// they are known. Those of webhooks and access stand beside their features.

func TestCVE201911253DecoderBombs(t *testing.T) {
	h := start(t, only())
	bomb := "a: &a [" + strings.Repeat("x,", 9) + "x]\n"
	for _, pair := range []string{"ab", "bc", "cd", "de", "ef", "fg", "gh", "hi"} {
		bomb += pair[1:] + ": &" + pair[1:] + " [" + strings.Repeat("*"+pair[:1]+",", 9) + "*" + pair[:1] + "]\n"
	}
	if got := h.code("admin", "POST", "/api/v1/namespaces/default/configmaps", bomb, "Content-Type", "application/yaml"); got < 400 || got >= 500 {
		t.Errorf("YAML: %d", got)
	}
	deep := strings.Repeat("[", 200000) + strings.Repeat("]", 200000)
	if got := h.code("admin", "POST", "/api/v1/namespaces/default/configmaps", deep); got < 400 || got >= 500 {
		t.Errorf("JSON: %d", got)
	}
}

func TestCVE20191002100PatchFloods(t *testing.T) {
	h := start(t, only())
	if _, err := h.configMap("a", nil); err != nil {
		t.Fatal(err)
	}
	flood := "[" + strings.Repeat(`{"op":"add","path":"/data/b","value":"c"},`, 10001) + `{"op":"add","path":"/data/b","value":"c"}]`
	if got := h.code("admin", "PATCH", "/api/v1/namespaces/default/configmaps/a", flood, "Content-Type", "application/json-patch+json"); got != http.StatusRequestEntityTooLarge {
		t.Errorf("got %d", got)
	}
}

func TestCVE202125735OldObjectsAreWhatIsStored(t *testing.T) {
	h := start(t, only(policyPlugins...))
	h.check("frozen", "\n  validations: [{expression: \"oldObject == null || oldObject.data.a != 'locked'\", message: it is locked}]\n", everywhere)
	made, err := h.configMap("a", nil)
	if err != nil {
		t.Fatal(err)
	}
	made.Data["a"] = "locked"
	if made, err = h.client.CoreV1().ConfigMaps("default").Update(t.Context(), made, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	// The client's own idea of what was there does not count.
	made.Data["a"] = "open"
	_, err = h.client.CoreV1().ConfigMaps("default").Update(t.Context(), made, metav1.UpdateOptions{})
	refused(t, err, http.StatusUnprocessableEntity, "it is locked")
	if got := h.code("admin", "PATCH", "/api/v1/namespaces/default/configmaps/a", `{"data":{"a":"open"}}`, "Content-Type", "application/merge-patch+json"); got != http.StatusUnprocessableEntity {
		t.Errorf("by patch: %d", got)
	}
}

func TestCVE20208554ExternalAddressesOfServices(t *testing.T) {
	h := start(t, only("DenyServiceExternalIPs"))
	_, err := h.client.CoreV1().Services("default").Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "thief"},
		Spec:       corev1.ServiceSpec{ExternalIPs: []string{"198.51.100.7"}, Ports: []corev1.ServicePort{{Port: 443}}},
	}, metav1.CreateOptions{})
	refused(t, err, http.StatusForbidden, "external IPs")
}

// TestCVE20208561WebhooksDoNotReachWhereTheServerCan: neither the webhook's own
// address nor a redirect leads to the server's network, and what a server there
// says is not told.
func TestCVE20208561WebhooksDoNotReachWhereTheServerCan(t *testing.T) {
	secret := serve(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "a secret", http.StatusForbidden) })
	redirecting := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, secret.URL, http.StatusFound)
	})
	for name, c := range map[string]struct {
		hook    *hookServer
		allowed bool
		words   string
		reached int32
	}{
		"at a loopback address":     {secret, false, "loopback", 0},
		"by a redirect":             {redirecting, true, "redirects are not followed", 0},
		"by an answer of its words": {secret, true, "403 Forbidden", 1},
	} {
		secret.calls.Store(0)
		options := []option{only(webhookPlugins...)}
		if c.allowed {
			options = append(options, loopbackAllowed)
		}
		h := start(t, options...)
		h.validating("a", c.hook)
		_, err := h.configMap("a", nil)
		refused(t, err, http.StatusInternalServerError, c.words)
		if errorHas(err, "a secret") || secret.calls.Load() != c.reached {
			t.Errorf("%s: reached %d times, %v", name, secret.calls.Load(), err)
		}
	}
}

// TestCVE201911247CustomResourcesHaveOneScope: a role in a namespace gives no
// way to objects that are in none, and objects of namespaces are not reached
// around them.
func TestCVE201911247CustomResourcesHaveOneScope(t *testing.T) {
	h := start(t, only())
	h.define("Cluster", "gizmos", "Gizmo")
	h.define("Namespaced", "gadgets", "Gadget")
	const group = "/apis/example.com/v1"
	object := func(kind string) string {
		return `{"apiVersion":"example.com/v1","kind":"` + kind + `","metadata":{"name":"a"}}`
	}
	for path, kind := range map[string]string{group + "/gizmos": "Gizmo", group + "/namespaces/default/gadgets": "Gadget"} {
		if got := h.code("admin", "POST", path, object(kind)); got != http.StatusCreated {
			t.Fatalf("%s: %d", path, got)
		}
	}
	for _, wrong := range []struct{ path, kind string }{{group + "/namespaces/default/gizmos", "Gizmo"}, {group + "/gadgets", "Gadget"}} {
		for _, r := range []struct{ method, path, body string }{
			{"GET", "/a", ""}, {"PUT", "/a", object(wrong.kind)}, {"PATCH", "/a", "{}"}, {"DELETE", "/a", ""}, {"POST", "", object(wrong.kind)},
			{"DELETE", "", ""}, {"GET", "/a/status", ""}, {"PATCH", "/a/status", "{}"},
		} {
			got := h.code("admin", r.method, wrong.path+r.path, r.body, "Content-Type", map[bool]string{true: "application/merge-patch+json", false: "application/json"}[r.method == "PATCH"])
			if got != http.StatusNotFound && got != http.StatusMethodNotAllowed {
				t.Errorf("%s %s%s: %d", r.method, wrong.path, r.path, got)
			}
		}
	}
	if got := h.code("admin", "GET", group+"/namespaces/default/gizmos", ""); got != http.StatusNotFound {
		t.Errorf("a list of what is in no namespace, in one: %d", got)
	}
	for _, path := range []string{group + "/gizmos/a", group + "/namespaces/default/gadgets/a"} {
		if got := h.code("admin", "GET", path, ""); got != http.StatusOK {
			t.Errorf("%s: %d", path, got)
		}
	}
}

// TestCVE202125740EditorsDoNotWriteEndpoints: who may edit a namespace cannot
// lead its services to addresses elsewhere, unless a role of the cluster's own
// says so.
func TestCVE202125740EditorsDoNotWriteEndpoints(t *testing.T) {
	h := start(t, only(), real)
	for _, role := range []string{"edit", "admin"} {
		h.bind(role, role)
		h.eventually("the binding is known", func() bool {
			return h.code(role, "POST", "/api/v1/namespaces/default/services", "{}") != http.StatusForbidden
		})
	}
	write := func(who, path string) int { return h.code(who, "POST", path, "{}") }
	paths := []string{"/api/v1/namespaces/default/endpoints", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"}
	for _, path := range paths {
		for _, who := range []string{"edit", "admin"} {
			if got := write(who, path); got != http.StatusForbidden {
				t.Errorf("%s, %s: %d", who, path, got)
			}
		}
	}
	h.grant("edit", rbacv1.PolicyRule{Verbs: []string{"create"}, APIGroups: []string{"", "discovery.k8s.io"}, Resources: []string{"endpoints", "endpointslices"}})
	for _, path := range paths {
		h.eventually("a role allows it", func() bool { return write("edit", path) != http.StatusForbidden })
	}
}

// debug adds an ephemeral container to a pod.
func (h *harness) debug(p *corev1.Pod, container corev1.EphemeralContainerCommon) error {
	changed := p.DeepCopy()
	container.Name, container.Image = "debug", "x"
	changed.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: container}}
	_, err := h.client.CoreV1().Pods(p.Namespace).UpdateEphemeralContainers(h.t.Context(), p.Name, changed, metav1.UpdateOptions{})
	return err
}

func TestCVE20232727EphemeralContainersPassAdmission(t *testing.T) {
	h := start(t, only("PodSecurity"))
	h.namespace("strict", map[string]string{"pod-security.kubernetes.io/enforce": "baseline"})
	p := must(h.client.CoreV1().Pods("strict").Create(t.Context(), pod("a", nil, nil), metav1.CreateOptions{}))
	refused(t, h.debug(p, corev1.EphemeralContainerCommon{SecurityContext: &corev1.SecurityContext{Privileged: ptr.To(true)}}),
		http.StatusForbidden, `violates PodSecurity "baseline:latest"`)
	if err := h.debug(p, corev1.EphemeralContainerCommon{}); err != nil {
		t.Error(err)
	}
}

func TestCVE20232728EphemeralContainersReadNoOtherSecrets(t *testing.T) {
	h := start(t, only("ServiceAccount"))
	must(h.client.CoreV1().ServiceAccounts("default").Create(t.Context(), &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Name: "default", Annotations: map[string]string{"kubernetes.io/enforce-mountable-secrets": "true"}},
		Secrets:    []corev1.ObjectReference{{Name: "mine"}},
	}, metav1.CreateOptions{}))
	p := must(h.make())
	from := func(secret string) corev1.EphemeralContainerCommon {
		return corev1.EphemeralContainerCommon{EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: secret}}}}}
	}
	refused(t, h.debug(p, from("other")), http.StatusForbidden, `ephemeral container debug with secret.secretName="other" is not allowed`)
	if err := h.debug(p, from("mine")); err != nil {
		t.Error(err)
	}
}

// mirror is a node's pod as its kubelet shows it.
func mirror(node *corev1.Node) *corev1.Pod {
	p := pod("static", nil, nil)
	p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"}
	p.Spec.NodeName = node.Name
	p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID, Controller: ptr.To(true)}}
	return p
}

func TestCVE20254563NodesTakeNoResourceClaims(t *testing.T) {
	h := start(t, only("NodeRestriction"), real)
	node := must(h.client.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}, metav1.CreateOptions{}))
	pods := h.as("system:node:n1").CoreV1().Pods("default")
	bad := mirror(node)
	bad.Spec.ResourceClaims = []corev1.PodResourceClaim{{Name: "g", ResourceClaimName: ptr.To("theirs")}}
	h.eventually("the node is known", func() bool {
		_, err := pods.Create(t.Context(), bad, metav1.CreateOptions{})
		return errorHas(err, "can not create pods that reference resourceclaims")
	})
	p := must(pods.Create(t.Context(), mirror(node), metav1.CreateOptions{}))
	p.Status.ResourceClaimStatuses = []corev1.PodResourceClaimStatus{{Name: "g", ResourceClaimName: ptr.To("theirs")}}
	_, err := pods.UpdateStatus(t.Context(), p, metav1.UpdateOptions{})
	refused(t, err, http.StatusForbidden, "cannot update resource claim statuses")
}

func TestCVE20255187NodesDoNotGiveThemselvesOwners(t *testing.T) {
	h := start(t, only("NodeRestriction"), real)
	node := must(h.client.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}, metav1.CreateOptions{}))
	nodes := h.as("system:node:n1").CoreV1().Nodes()
	for what, change := range map[string]func(*corev1.Node){
		"modify ownerReferences": func(n *corev1.Node) {
			n.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "absent", UID: "u"}}
		},
		"modify taints": func(n *corev1.Node) { n.Spec.Taints = []corev1.Taint{{Key: "x", Effect: corev1.TaintEffectNoSchedule}} },
		"modify labels": func(n *corev1.Node) { n.Labels = map[string]string{"node-restriction.kubernetes.io/secure": "yes"} },
	} {
		changed := node.DeepCopy()
		change(changed)
		_, err := nodes.Update(t.Context(), changed, metav1.UpdateOptions{})
		refused(t, err, http.StatusForbidden, "is not allowed to "+what)
	}
}

// TestCVE20247598NothingNewInANamespaceThatGoes: while a namespace is being
// emptied, in whatever order, nothing can be put into it again. That its pods
// go before its network policies is the namespace controller's part.
func TestCVE20247598NothingNewInANamespaceThatGoes(t *testing.T) {
	h := start(t, only("NamespaceLifecycle"))
	namespace := must(h.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: "going", Finalizers: []string{"example.com/wait"}},
	}, metav1.CreateOptions{}))
	must(h.configMapIn("going", "before", nil))
	if err := h.client.CoreV1().Namespaces().Delete(t.Context(), namespace.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err := h.configMapIn("going", "after", nil)
	refused(t, err, http.StatusForbidden, "because it is being terminated")
	_, err = h.client.CoreV1().Pods("going").Create(t.Context(), pod("after", nil, nil), metav1.CreateOptions{})
	refused(t, err, http.StatusForbidden, "because it is being terminated")
	if err := h.client.CoreV1().ConfigMaps("going").Delete(t.Context(), "before", metav1.DeleteOptions{}); err != nil {
		t.Errorf("what is there cannot go: %v", err)
	}
}
