package admission_test

import (
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
