package admission_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func TestAWebhookSeesTheWholeRequest(t *testing.T) {
	h := start(t, only(webhookPlugins...), loopbackAllowed)
	var seen []*admissionv1.AdmissionRequest
	h.mutating("see", serve(t, reviewing(func(r *admissionv1.AdmissionRequest, _ *admissionv1.AdmissionReview) { seen = append(seen, r) })))
	created, err := h.as("alice").CoreV1().ConfigMaps("default").Create(t.Context(),
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, metav1.CreateOptions{DryRun: []string{"All"}, FieldManager: "me"})
	if err != nil || len(seen) != 1 {
		t.Fatalf("%v, %d calls", err, len(seen))
	}
	r := seen[0]
	var object corev1.ConfigMap
	var options metav1.CreateOptions
	if err := json.Unmarshal(r.Object.Raw, &object); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(r.Options.Raw, &options); err != nil {
		t.Fatal(err)
	}
	if r.Operation != admissionv1.Create || r.Namespace != "default" || r.Name != "a" || r.UserInfo.Username != "alice" || !*r.DryRun ||
		r.Kind.Kind != "ConfigMap" || r.RequestKind.Kind != "ConfigMap" || r.Resource.Resource != "configmaps" || string(r.OldObject.Raw) != "null" && r.OldObject.Raw != nil ||
		object.Kind != "ConfigMap" || object.APIVersion != "v1" || options.Kind != "CreateOptions" || options.FieldManager != "me" {
		t.Errorf("request %+v\nobject %s\noptions %s\nold %q", r, r.Object.Raw, r.Options.Raw, r.OldObject.Raw)
	}
	if created.Kind != "" && created.Kind != "ConfigMap" {
		t.Errorf("kind %q", created.Kind)
	}
	if _, err := h.configMap("a", nil); err != nil {
		t.Fatal(err)
	}
	if err := h.client.CoreV1().ConfigMaps("default").Delete(t.Context(), "a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if r := seen[2]; r.Operation != admissionv1.Delete || !strings.Contains(string(r.OldObject.Raw), `"name":"a"`) || string(r.Object.Raw) != "null" && r.Object.Raw != nil {
		t.Errorf("delete: object %s, old %s", r.Object.Raw, r.OldObject.Raw)
	}
}

func TestWebhooksMutateInOrder(t *testing.T) {
	h := start(t, only(webhookPlugins...), loopbackAllowed)
	h.mutating("1", serve(t, patching(`[{"op":"add","path":"/data/first","value":"x"}]`)))
	h.mutating("2", serve(t, reviewing(func(r *admissionv1.AdmissionRequest, review *admissionv1.AdmissionReview) {
		if strings.Contains(string(r.Object.Raw), `"first":"x"`) {
			review.Response.Patch, review.Response.PatchType = []byte(`[{"op":"replace","path":"/data/first","value":"y"}]`), ptr.To(admissionv1.PatchTypeJSONPatch)
		}
	})))
	if got, err := h.configMap("a", nil); err != nil || got.Data["first"] != "y" {
		t.Errorf("got %v, %v", got.Data, err)
	}
}

func TestReinvocation(t *testing.T) {
	for policy, want := range map[admissionregistrationv1.ReinvocationPolicyType]int32{
		admissionregistrationv1.NeverReinvocationPolicy:    1,
		admissionregistrationv1.IfNeededReinvocationPolicy: 2,
	} {
		t.Run(string(policy), func(t *testing.T) {
			h := start(t, only(webhookPlugins...), loopbackAllowed)
			first := serve(t, reviewing(func(*admissionv1.AdmissionRequest, *admissionv1.AdmissionReview) {}))
			second := serve(t, patching(`[{"op":"add","path":"/data/second","value":"x"}]`))
			h.mutating("1", first, func(w *admissionregistrationv1.MutatingWebhook) { w.ReinvocationPolicy = &policy })
			h.mutating("2", second)
			if _, err := h.configMap("a", nil); err != nil {
				t.Fatal(err)
			}
			if first.calls.Load() != want || second.calls.Load() != 1 {
				t.Errorf("calls %d and %d, want %d and 1", first.calls.Load(), second.calls.Load(), want)
			}
		})
	}
}

func TestAWebhookDenies(t *testing.T) {
	h := start(t, only(webhookPlugins...), loopbackAllowed)
	h.validating("deny", serve(t, denying("not today")))
	_, err := h.configMap("a", nil)
	refused(t, err, http.StatusTeapot, `admission webhook "deny.example.com" denied the request: not today`)
	if _, err := h.client.CoreV1().ConfigMaps("default").Get(t.Context(), "a", metav1.GetOptions{}); err == nil {
		t.Error("it was stored all the same")
	}
}

// TestBadWebhooks: whatever a webhook does instead of answering, the request
// fails or passes as the failure policy says, and nothing is changed.
func TestBadWebhooks(t *testing.T) {
	hang := make(chan struct{})
	elsewhere := serve(t, reviewing(func(*admissionv1.AdmissionRequest, *admissionv1.AdmissionReview) {}))
	answer := func(change func(*admissionv1.AdmissionReview)) http.HandlerFunc {
		return reviewing(func(_ *admissionv1.AdmissionRequest, review *admissionv1.AdmissionReview) { change(review) })
	}
	cases := []struct {
		name, words string
		handler     http.HandlerFunc
		client      func(*admissionregistrationv1.WebhookClientConfig)
	}{
		{"hangs", "deadline exceeded", func(_ http.ResponseWriter, r *http.Request) {
			// The server sees a client go away only once it has read all.
			_, _ = io.Copy(io.Discard, r.Body)
			select {
			case <-hang:
			case <-r.Context().Done():
			}
		}, nil},
		{"redirects", "redirects are not followed", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		}, nil},
		{"fails", "500", func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "secret of another server", http.StatusInternalServerError)
		}, nil},
		{"says nothing", "invalid webhook response", func(http.ResponseWriter, *http.Request) {}, nil},
		{"says no JSON", "invalid webhook response", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "yes") }, nil},
		{"says too much", "larger than", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for range 20 {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		}, nil},
		{"answers another request", "response.uid", answer(func(r *admissionv1.AdmissionReview) { r.Response.UID = "other" }), nil},
		{"answers nothing", "absent", answer(func(r *admissionv1.AdmissionReview) { r.Response = nil }), nil},
		{"answers in another version", "expected webhook response of", answer(func(r *admissionv1.AdmissionReview) { r.APIVersion = "admission.k8s.io/v1beta1" }), nil},
		{"patches without a type", "patchType", answer(func(r *admissionv1.AdmissionReview) { r.Response.Patch = []byte("[]") }), nil},
		{"patches in an unknown way", "patchType", answer(func(r *admissionv1.AdmissionReview) {
			r.Response.Patch, r.Response.PatchType = []byte("{}"), ptr.To[admissionv1.PatchType]("Merge")
		}), nil},
		{"sends no patch", "undecodable patch", patching(`{"op":"add"}`), nil},
		{"is somebody else", "certificate", reviewing(func(*admissionv1.AdmissionRequest, *admissionv1.AdmissionReview) {}),
			func(c *admissionregistrationv1.WebhookClientConfig) { c.CABundle = otherCA }},
	}
	defer close(hang)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := start(t, only(webhookPlugins...), loopbackAllowed)
			s := serve(t, c.handler)
			s.Config.ErrorLog = quiet
			policy := func(p admissionregistrationv1.FailurePolicyType) func(*admissionregistrationv1.MutatingWebhook) {
				return func(w *admissionregistrationv1.MutatingWebhook) {
					w.FailurePolicy = &p
					if c.name == "hangs" {
						w.TimeoutSeconds = ptr.To[int32](1)
					}
					w.ObjectSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"policy": string(p)}}
					if c.client != nil {
						c.client(&w.ClientConfig)
					}
				}
			}
			h.mutating("fail", s, policy(admissionregistrationv1.Fail))
			h.mutating("ignore", s, policy(admissionregistrationv1.Ignore))
			_, err := h.configMap("a", map[string]string{"policy": "Fail"})
			refused(t, err, http.StatusInternalServerError, `failed calling webhook "fail.example.com"`)
			refused(t, err, http.StatusInternalServerError, c.words)
			if strings.Contains(err.Error(), "secret") {
				t.Error("the answer of a server reached the client")
			}
			if got, err := h.configMap("b", map[string]string{"policy": "Ignore"}); err != nil || len(got.Data) != 1 {
				t.Errorf("ignored: %v, %v", got, err)
			}
		})
	}
	if n := elsewhere.calls.Load(); n != 0 {
		t.Errorf("a redirect was followed %d times (CVE-2020-8561)", n)
	}
}

func TestBadPatchesChangeNothing(t *testing.T) {
	bomb := `[{"op":"add","path":"/data/a","value":"` + strings.Repeat("x", 1<<20) + `"}`
	for i := range 64 {
		bomb += fmt.Sprintf(`,{"op":"copy","from":"/data/a","path":"/data/a%d"}`, i)
	}
	for name, patch := range map[string]string{
		"does not apply":            `[{"op":"remove","path":"/data/none"}]`,
		"moves it elsewhere":        `[{"op":"replace","path":"/metadata/namespace","value":"kube-system"}]`,
		"makes it another":          `[{"op":"replace","path":"/kind","value":"Secret"}]`,
		"breaks its type":           `[{"op":"replace","path":"/data","value":[1]}]`,
		"copies without end":        bomb + "]",
		"has no end (2019-1002100)": "[" + strings.Repeat(`{"op":"add","path":"/data/b","value":"c"},`, 10001) + `{"op":"add","path":"/data/b","value":"c"}]`,
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, only(webhookPlugins...), loopbackAllowed)
			h.mutating("bad", serve(t, patching(patch)))
			_, err := h.configMap("a", nil)
			refused(t, err, http.StatusInternalServerError, "bad.example.com")
			found, err := h.client.CoreV1().ConfigMaps("").List(t.Context(), metav1.ListOptions{})
			if err != nil || len(found.Items) != 0 {
				t.Errorf("stored %d, %v", len(found.Items), err)
			}
		})
	}
}

func TestAValidatingWebhookMayNotPatch(t *testing.T) {
	h := start(t, only(webhookPlugins...), loopbackAllowed)
	h.validating("sly", serve(t, patching(`[]`)))
	_, err := h.configMap("a", nil)
	refused(t, err, http.StatusInternalServerError, "validating webhook may not return response.patch")
}

func TestValidatingWebhooksAreAskedTogether(t *testing.T) {
	h := start(t, only(webhookPlugins...), loopbackAllowed)
	var both sync.WaitGroup
	both.Add(2)
	wait := reviewing(func(_ *admissionv1.AdmissionRequest, review *admissionv1.AdmissionReview) {
		both.Done()
		both.Wait()
		review.Response.Warnings = []string{"heard together"}
	})
	h.validating("1", serve(t, wait))
	h.validating("2", serve(t, wait))
	if _, err := h.configMap("a", nil); err != nil {
		t.Fatal(err)
	}
	if !h.warnings.has("heard together") {
		t.Errorf("warnings %q", h.warnings.texts)
	}
}

func TestWebhooksConcernOnlyWhatTheySelect(t *testing.T) {
	h := start(t, only(webhookPlugins...), loopbackAllowed)
	h.namespace("watched", map[string]string{"team": "a"})
	s := serve(t, denying("selected"))
	h.validating("select", s, func(w *admissionregistrationv1.ValidatingWebhook) {
		w.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"team": "a"}}
		w.ObjectSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "x"}}
		w.MatchConditions = []admissionregistrationv1.MatchCondition{
			{Name: "not-mallory", Expression: `request.userInfo.username != "mallory"`},
			{Name: "named", Expression: `object.metadata.name.startsWith("a")`},
		}
	})
	labels := map[string]string{"app": "x"}
	_, err := h.configMapIn("watched", "a", labels)
	refused(t, err, http.StatusTeapot, "selected")
	before := s.calls.Load()
	for what, create := range map[string]func() error{
		"another namespace": func() error { _, err := h.configMapIn("default", "a", labels); return err },
		"another object":    func() error { _, err := h.configMapIn("watched", "a1", nil); return err },
		"a false condition": func() error { _, err := h.configMapIn("watched", "b", labels); return err },
		"another user": func() error {
			_, err := h.as("mallory").CoreV1().ConfigMaps("watched").Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a2", Labels: labels}}, metav1.CreateOptions{})
			return err
		},
		"another resource": func() error {
			_, err := h.client.CoreV1().Secrets("watched").Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: labels}}, metav1.CreateOptions{})
			return err
		},
	} {
		if err := create(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if s.calls.Load() != before {
		t.Error("the webhook was called about what it does not select")
	}
}

func TestAWebhookSeesTheVersionItKnows(t *testing.T) {
	h := start(t, only(webhookPlugins...), loopbackAllowed)
	rules := func(version string) []admissionregistrationv1.RuleWithOperations {
		return []admissionregistrationv1.RuleWithOperations{{
			Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
			Rule:       admissionregistrationv1.Rule{APIGroups: []string{"autoscaling"}, APIVersions: []string{version}, Resources: []string{"horizontalpodautoscalers"}},
		}}
	}
	var seen *admissionv1.AdmissionRequest
	s := serve(t, reviewing(func(r *admissionv1.AdmissionRequest, review *admissionv1.AdmissionReview) {
		seen = r
		review.Response.Patch, review.Response.PatchType = []byte(`[{"op":"replace","path":"/spec/metrics/0/resource/target/averageUtilization","value":33}]`), ptr.To(admissionv1.PatchTypeJSONPatch)
	}))
	h.mutating("v2", s, func(w *admissionregistrationv1.MutatingWebhook) { w.Rules = rules("v2") })
	exact := serve(t, denying("asked about another version"))
	h.validating("exact", exact, func(w *admissionregistrationv1.ValidatingWebhook) {
		w.Rules, w.MatchPolicy = rules("v2"), ptr.To(admissionregistrationv1.Exact)
	})
	created, err := h.client.AutoscalingV1().HorizontalPodAutoscalers("default").Create(t.Context(), &autoscalingv1.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: autoscalingv1.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv1.CrossVersionObjectReference{Kind: "Deployment", Name: "web", APIVersion: "apps/v1"},
			MaxReplicas:    3, TargetCPUUtilizationPercentage: ptr.To[int32](50),
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var object autoscalingv2.HorizontalPodAutoscaler
	if err := json.Unmarshal(seen.Object.Raw, &object); err != nil || object.APIVersion != "autoscaling/v2" || len(object.Spec.Metrics) != 1 {
		t.Errorf("%v: %s", err, seen.Object.Raw)
	}
	if seen.Kind.Version != "v2" || seen.Resource.Version != "v2" || seen.RequestKind.Version != "v1" || seen.RequestResource.Version != "v1" {
		t.Errorf("kinds %v %v", seen.Kind, seen.RequestKind)
	}
	if got := created.Spec.TargetCPUUtilizationPercentage; got == nil || *got != 33 {
		t.Errorf("the patch is lost: %+v", created.Spec)
	}
}

func TestWebhooksDoNotApplyToTheirOwnConfiguration(t *testing.T) {
	h := start(t, only(webhookPlugins...), loopbackAllowed)
	s := serve(t, denying("everything"))
	h.validating("all", s, func(w *admissionregistrationv1.ValidatingWebhook) {
		w.Rules = []admissionregistrationv1.RuleWithOperations{{
			Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.OperationAll},
			Rule:       admissionregistrationv1.Rule{APIGroups: []string{"*"}, APIVersions: []string{"*"}, Resources: []string{"*/*"}},
		}}
	})
	_, err := h.configMap("a", nil)
	refused(t, err, http.StatusTeapot, "everything")
	if err := h.client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(t.Context(), "all", metav1.DeleteOptions{}); err != nil {
		t.Fatalf("nobody can repair it: %v", err)
	}
	h.eventually("the webhook is forgotten", func() bool { return !h.known("validating.all") })
	if _, err := h.configMap("a", nil); err != nil {
		t.Error(err)
	}
}

// TestWebhookMayNotReachTheServersOwnNetwork is of the class of CVE-2020-8561:
// a configuration does not make the server send requests to where only it can.
func TestWebhookMayNotReachTheServersOwnNetwork(t *testing.T) {
	h := start(t, only(webhookPlugins...))
	s := serve(t, reviewing(func(*admissionv1.AdmissionRequest, *admissionv1.AdmissionReview) {}))
	h.validating("loop", s)
	_, err := h.configMap("a", nil)
	refused(t, err, http.StatusInternalServerError, "loopback")
	if s.calls.Load() != 0 {
		t.Error("it was reached")
	}
}

func TestAWebhookBehindAService(t *testing.T) {
	h := start(t, only(webhookPlugins...), loopbackAllowed, func(h *harness) { h.webhooks.Services = fixed{} })
	s := serve(t, denying("from the service"), func(s *httptest.Server) { s.TLS.Certificates = certificateFor(t, "hook.hooks.svc") })
	h.validating("service", s, func(w *admissionregistrationv1.ValidatingWebhook) {
		w.ClientConfig = admissionregistrationv1.WebhookClientConfig{CABundle: s.ca(), Service: &admissionregistrationv1.ServiceReference{
			Namespace: "hooks", Name: "hook", Path: ptr.To("/review"), Port: ptr.To(int32(portOf(t, s))),
		}}
	})
	_, err := h.configMap("a", nil)
	refused(t, err, http.StatusTeapot, "from the service")
}

func TestTheServerShowsWebhooksWhoItIs(t *testing.T) {
	var got []string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		names := ""
		for _, c := range r.TLS.PeerCertificates {
			names += c.Subject.CommonName
		}
		got = append(got, r.Header.Get("Authorization")+" "+names)
		reviewing(func(*admissionv1.AdmissionRequest, *admissionv1.AdmissionReview) {})(w, r)
	}, func(s *httptest.Server) { s.TLS.ClientAuth = requestCertificate })
	h := start(t, only(webhookPlugins...), loopbackAllowed, func(h *harness) {
		h.webhooks.Mutating = credentials(t, s, `{token: abc}`)
		h.webhooks.Validating = credentials(t, s, certificateUser(t, "apiserver"))
	})
	h.mutating("token", s)
	h.validating("certificate", s)
	if _, err := h.configMap("a", nil); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0] != "Bearer abc " || got[1] != " apiserver" {
		t.Errorf("shown: %q", got)
	}
}
