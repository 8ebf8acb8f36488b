package admission_test

import (
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// hookServer is a real HTTPS server.
type hookServer struct {
	*httptest.Server
	// calls counts the requests that came in.
	calls atomic.Int32
}

func serve(t testing.TB, handler http.HandlerFunc, changes ...func(*httptest.Server)) *hookServer {
	t.Helper()
	s := &hookServer{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.calls.Add(1)
		handler(w, r)
	}))
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	for _, change := range changes {
		change(s.Server)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func (s *hookServer) ca() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

// reviewing makes a handler that answers a review; it may edit the whole
// answer.
func reviewing(answer func(*admissionv1.AdmissionRequest, *admissionv1.AdmissionReview)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		review := &admissionv1.AdmissionReview{}
		if err := json.NewDecoder(r.Body).Decode(review); err != nil || review.Request == nil {
			http.Error(w, "no review", http.StatusBadRequest)
			return
		}
		request := review.Request
		review.Request = nil
		review.Response = &admissionv1.AdmissionResponse{UID: request.UID, Allowed: true}
		answer(request, review)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(review)
	}
}

func patching(patch string) http.HandlerFunc {
	return reviewing(func(_ *admissionv1.AdmissionRequest, review *admissionv1.AdmissionReview) {
		review.Response.Patch, review.Response.PatchType = []byte(patch), ptr.To(admissionv1.PatchTypeJSONPatch)
	})
}

func denying(message string) http.HandlerFunc {
	return reviewing(func(_ *admissionv1.AdmissionRequest, review *admissionv1.AdmissionReview) {
		review.Response.Allowed = false
		review.Response.Result = &metav1.Status{Message: message, Code: http.StatusTeapot}
	})
}

func configMapRules(operations ...admissionregistrationv1.OperationType) []admissionregistrationv1.RuleWithOperations {
	return rulesFor("configmaps", operations...)
}

func rulesFor(resource string, operations ...admissionregistrationv1.OperationType) []admissionregistrationv1.RuleWithOperations {
	return []admissionregistrationv1.RuleWithOperations{{
		Operations: operations,
		Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{resource}},
	}}
}

// mutating registers a mutating webhook for config maps, with changes.
func (h *harness) mutating(name string, s *hookServer, changes ...func(*admissionregistrationv1.MutatingWebhook)) {
	h.t.Helper()
	w := admissionregistrationv1.MutatingWebhook{
		Name: name + ".example.com", ClientConfig: s.client(), Rules: configMapRules(admissionregistrationv1.OperationAll),
		SideEffects: ptr.To(admissionregistrationv1.SideEffectClassNone), AdmissionReviewVersions: []string{"v1"},
	}
	for _, change := range changes {
		change(&w)
	}
	_, err := h.client.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(h.t.Context(),
		&admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: name}, Webhooks: []admissionregistrationv1.MutatingWebhook{w, {
			Name: "probed.example.com", ClientConfig: nowhere(), Rules: rulesFor("secrets", admissionregistrationv1.Create),
			ObjectSelector: &metav1.LabelSelector{MatchLabels: map[string]string{probeLabel: "mutating." + name}},
			SideEffects:    ptr.To(admissionregistrationv1.SideEffectClassNone), AdmissionReviewVersions: []string{"v1"},
		}}}, metav1.CreateOptions{})
	if err != nil {
		h.t.Fatal(err)
	}
	h.eventually("the webhook is known", func() bool { return h.known("mutating." + name) })
}

// validating registers a validating webhook for config maps, with changes.
func (h *harness) validating(name string, s *hookServer, changes ...func(*admissionregistrationv1.ValidatingWebhook)) {
	h.t.Helper()
	w := admissionregistrationv1.ValidatingWebhook{
		Name: name + ".example.com", ClientConfig: s.client(), Rules: configMapRules(admissionregistrationv1.OperationAll),
		SideEffects: ptr.To(admissionregistrationv1.SideEffectClassNone), AdmissionReviewVersions: []string{"v1"},
	}
	for _, change := range changes {
		change(&w)
	}
	_, err := h.client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(h.t.Context(),
		&admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: name}, Webhooks: []admissionregistrationv1.ValidatingWebhook{w, {
			Name: "probed.example.com", ClientConfig: nowhere(), Rules: rulesFor("secrets", admissionregistrationv1.Create),
			ObjectSelector: &metav1.LabelSelector{MatchLabels: map[string]string{probeLabel: "validating." + name}},
			SideEffects:    ptr.To(admissionregistrationv1.SideEffectClassNone), AdmissionReviewVersions: []string{"v1"},
		}}}, metav1.CreateOptions{})
	if err != nil {
		h.t.Fatal(err)
	}
	h.eventually("the webhook is known", func() bool { return h.known("validating." + name) })
}

// probeLabel marks the secrets that only the second webhook of a configuration
// is asked about, which is nowhere: they are refused once it is in force, and
// without a call that a test would count.
const probeLabel = "probe"

func nowhere() admissionregistrationv1.WebhookClientConfig {
	return admissionregistrationv1.WebhookClientConfig{URL: ptr.To("https://127.0.0.1:1/")}
}

// known reports whether requests go by a configuration, which is some time after
// informers have it.
func (h *harness) known(configuration string) bool {
	_, err := h.client.CoreV1().Secrets("default").Create(h.t.Context(),
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "probe", Labels: map[string]string{probeLabel: configuration}}},
		metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err != nil
}

func (s *hookServer) client() admissionregistrationv1.WebhookClientConfig {
	return admissionregistrationv1.WebhookClientConfig{URL: ptr.To(s.URL + "/review"), CABundle: s.ca()}
}
