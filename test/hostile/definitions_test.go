package hostile

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/yare-io/yare/test/yaretest"
)

const definitionsPath = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

// definer is a server whose attacker may define resources.
type definer struct {
	*testing.T
	url    string
	client *http.Client
}

func newDefiner(t *testing.T, flags ...string) *definer {
	t.Helper()
	config := yaretest.Start(t, yaretest.WithFlags(flags...)).Config()
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	client.Timeout = time.Minute // whatever takes longer is a way to keep the server busy
	return &definer{t, config.Host, client}
}

// send returns the answer to a request, whose body must be an API object.
func (d *definer) send(method, path string, body []byte) (int, metav1.Status) {
	d.Helper()
	request, err := http.NewRequestWithContext(d.Context(), method, d.url+path, bytes.NewReader(body))
	if err != nil {
		d.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := d.client.Do(request)
	if err != nil {
		d.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = answer.Body.Close() }()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		d.Fatal(err)
	}
	var status metav1.Status
	if answer.StatusCode >= 300 {
		if err := json.Unmarshal(raw, &status); err != nil || status.Kind != "Status" || int(status.Code) != answer.StatusCode {
			d.Errorf("%s %s: %s: %.300s", method, path, answer.Status, raw)
		}
	}
	return answer.StatusCode, status
}

// define creates things.example.com with a schema of spec and some more of the
// definition, and waits until it is served if it is accepted.
func (d *definer) define(spec string, more ...string) (int, metav1.Status) {
	d.Helper()
	d.send(http.MethodDelete, definitionsPath+"/things.example.com", nil)
	d.await(definitionsPath+"/things.example.com", http.StatusNotFound)
	definition := `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"things.example.com"},"spec":{` +
		`"group":"example.com","scope":"Cluster","names":{"plural":"things","kind":"Thing"}` + strings.Join(more, "") + `,"versions":[` +
		`{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":` + spec + `}}}},` +
		`{"name":"v2","served":true,"storage":false,"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}]}}`
	code, status := d.send(http.MethodPost, definitionsPath, []byte(definition))
	if code == http.StatusCreated {
		d.awaitEstablished()
	}
	return code, status
}

// awaitEstablished waits until the definition itself says that it is served: its
// predecessor may still be.
func (d *definer) awaitEstablished() {
	d.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		var now apiextensionsv1.CustomResourceDefinition
		answer, err := d.client.Get(d.url + definitionsPath + "/things.example.com")
		if err != nil {
			d.Fatal(err)
		}
		err = json.NewDecoder(answer.Body).Decode(&now)
		_ = answer.Body.Close()
		if err == nil && apihelpers.IsCRDConditionTrue(&now, apiextensionsv1.Established) {
			return
		}
		if time.Now().After(deadline) {
			d.Fatalf("never established: %v %v", now.Status.Conditions, err)
		}
	}
}

func (d *definer) await(path string, want int) {
	d.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if code, _ := d.send(http.MethodGet, path, nil); code == want {
			return
		}
		if time.Now().After(deadline) {
			d.Fatalf("%s never came to %d", path, want)
		}
	}
}

func (d *definer) create(name, spec string) (int, metav1.Status) {
	d.Helper()
	return d.send(http.MethodPost, "/apis/example.com/v1/things", []byte(`{"apiVersion":"example.com/v1","kind":"Thing","metadata":{"name":"`+name+`"},"spec":`+spec+`}`))
}

// mustSay checks an answer: its code, and a part of its message.
func (d *definer) mustSay(code int, status metav1.Status, want int, message string) {
	d.Helper()
	if code != want || !strings.Contains(status.Message, message) {
		d.Errorf("answered %d %.400s, want %d %s", code, status.Message, want, message)
	}
}

// maxHeap is what the process may hold after all attacks, in bytes.
const maxHeap = 400 << 20

func (d *definer) isUnharmed() {
	d.Helper()
	if code, status := d.send(http.MethodGet, "/api/v1/namespaces/default/configmaps", nil); code != http.StatusOK {
		d.Errorf("afterwards: %d %s", code, status.Message)
	}
	var memory runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&memory)
	if memory.HeapAlloc > maxHeap {
		d.Errorf("afterwards the heap has %d bytes", memory.HeapAlloc)
	}
}

// wrapped is open, depth times, around inner.
func wrapped(depth int, open, inner, closing string) string {
	return strings.Repeat(open, depth) + inner + strings.Repeat(closing, depth)
}

func properties(n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, `,"property%d":{"type":"string","maxLength":10}`, i)
	}
	return `{"type":"object","properties":{` + text.String()[1:] + `}}`
}

func TestHostileDefinitions(t *testing.T) {
	d := newDefiner(t)
	enum := make([]string, 50_000)
	for i := range enum {
		enum[i] = fmt.Sprintf(`"value-%d"`, i)
	}
	list := func(items int, rules ...string) string {
		return fmt.Sprintf(`{"type":"object","properties":{"l":{"type":"array","maxItems":%d,"items":{"type":"integer"}}},"x-kubernetes-validations":[%s]}`, items, strings.Join(rules, ","))
	}
	refused := []struct{ name, spec, message string }{
		{"a reference", `{"$ref":"#/definitions/spec"}`, "$ref"},
		{"a reference to itself", `{"type":"object","properties":{"a":{"$ref":"#"}}}`, "$ref"},
		{"too deep for JSON", wrapped(6000, `{"type":"object","properties":{"a":`, `{"type":"string"}`, `}}`), ""},
		{"repetition of repetition", `{"type":"string","pattern":"((a{1,100}){1,100}){1,100}"}`, "must be a valid regular expression"},
		// Go's regexp would take 20 GB to match 10 KB with this.
		{"a pattern of many groups", `{"type":"string","pattern":"^(` + strings.Repeat("a|b*|(c+d?)|", 1000) + `z)$"}`, "too many groups"},
		{"a pattern without end", `{"type":"string","pattern":"^(?:` + strings.Repeat("a|b*|c+d?|", 20_000) + `z)$"}`, "instructions"},
		{"a rule with a pattern of many groups", `{"type":"string","maxLength":10,"x-kubernetes-validations":[{"rule":"self.matches('^(` + strings.Repeat("a|b*|(c+d?)|", 1000) + `z)$')"}]}`, "too many groups"},
		{"CEL without bounds", `{"type":"array","items":{"type":"integer"},"x-kubernetes-validations":[{"rule":"self.all(a, self.all(b, self.all(c, self.all(d, a+b+c+d > 0))))"}]}`, "exceeds budget"},
		{"CEL that explodes", list(1000, `{"rule":"self.l.map(a, self.l.map(b, self.l.map(c, [a,b,c]))).size() > 0"}`), "exceeds budget"},
		{"much CEL", list(3000, strings.Repeat(`{"rule":"self.l.all(a, self.l.exists(b, a == b))"},`, 40)+`{"rule":"true"}`), "budget"},
	}
	for _, a := range refused {
		t.Run(a.name, func(t *testing.T) {
			d := &definer{t, d.url, d.client}
			code, status := d.define(a.spec)
			if code != http.StatusUnprocessableEntity && code != http.StatusBadRequest {
				t.Errorf("answered %d", code)
			}
			d.mustSay(code, status, code, a.message)
		})
	}
	t.Run("too large", func(t *testing.T) {
		d := &definer{t, d.url, d.client}
		code, status := d.define(properties(100_000))
		d.mustSay(code, status, http.StatusRequestEntityTooLarge, "")
	})
	// What Kubernetes takes is taken; using it costs bounded time and memory.
	for _, a := range []struct {
		name, spec, object string
		code               int
		message            string
	}{
		{"deep", wrapped(1500, `{"type":"object","properties":{"a":`, `{"type":"string"}`, `}}`), wrapped(1500, `{"a":`, `7`, `}`), http.StatusUnprocessableEntity, "must be of type string"},
		{"an enumeration of 50,000", `{"type":"object","properties":{"e":{"type":"string","enum":[` + strings.Join(enum, ",") + `]}}}`, `{"e":"other"}`, http.StatusUnprocessableEntity, "Unsupported value"},
		{"a long pattern", `{"type":"object","properties":{"p":{"type":"string","pattern":"^(` + strings.Repeat("a|b*|c+d?|", 1000) + `z)$"}}}`, `{"p":"` + strings.Repeat("ab", 5000) + `"}`, http.StatusUnprocessableEntity, "should match"},
		{"15,000 properties", properties(15_000), `{"property14999":"too long for this"}`, http.StatusUnprocessableEntity, "spec.property14999"},
		{"CEL that costs more than it seems", list(1000, strings.TrimSuffix(strings.Repeat(`{"rule":"!has(self.l) || self.l.all(a, self.l.all(b, a <= b || a >= b))"},`, 9), ",")),
			`{"l":[` + strings.TrimSuffix(strings.Repeat("1,", 1000), ",") + `]}`, http.StatusUnprocessableEntity, "cost"},
	} {
		t.Run(a.name, func(t *testing.T) {
			d := &definer{t, d.url, d.client}
			code, status := d.define(a.spec)
			d.mustSay(code, status, http.StatusCreated, "")
			if code != http.StatusCreated {
				return
			}
			code, status = d.create("bad", a.object)
			d.mustSay(code, status, a.code, a.message)
			code, status = d.create("good", `{}`)
			d.mustSay(code, status, http.StatusCreated, "")
			for _, path := range []string{"/openapi/v3/apis/example.com/v1", "/apis/example.com/v2/things/good"} {
				code, status = d.send(http.MethodGet, path, nil)
				d.mustSay(code, status, http.StatusOK, "")
			}
		})
	}
	t.Run("deep objects", func(t *testing.T) {
		d := &definer{t, d.url, d.client}
		d.define(`{"type":"object","x-kubernetes-preserve-unknown-fields":true}`)
		code, status := d.create("too-deep", `{"a":`+wrapped(20_000, "[", "", "]")+`}`)
		d.mustSay(code, status, http.StatusBadRequest, "depth")
		code, status = d.create("deep", `{"a":`+wrapped(5_000, "[", "", "]")+`}`)
		d.mustSay(code, status, http.StatusCreated, "")
		for _, version := range []string{"v1", "v2"} {
			code, status = d.send(http.MethodGet, "/apis/example.com/"+version+"/things/deep", nil)
			d.mustSay(code, status, http.StatusOK, "")
		}
	})
	d.isUnharmed()
}

func TestHostileConversionWebhooks(t *testing.T) {
	d := newDefiner(t, "--admission-webhook-allowed-networks=127.0.0.1/32")
	var behave atomic.Pointer[http.HandlerFunc]
	var elsewhere atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("/convert", func(w http.ResponseWriter, r *http.Request) { (*behave.Load())(w, r) })
	mux.HandleFunc("/elsewhere", func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) })
	hook := httptest.NewTLSServer(mux)
	t.Cleanup(hook.Close)
	bundle := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: hook.Certificate().Raw})
	strategy := func(url string) string {
		config, err := json.Marshal(map[string]any{"url": url, "caBundle": bundle})
		if err != nil {
			t.Fatal(err)
		}
		return `,"conversion":{"strategy":"Webhook","webhook":{"conversionReviewVersions":["v1"],"clientConfig":` + string(config) + `}}`
	}
	d.define(`{"type":"object"}`, strategy(hook.URL+"/convert"))
	code, status := d.create("thing", `{}`)
	d.mustSay(code, status, http.StatusCreated, "")

	lie := func(change func(objects []any) []any) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			review := struct {
				Request struct {
					UID     string
					Objects []any
				}
			}{}
			_ = json.NewDecoder(r.Body).Decode(&review)
			for _, object := range review.Request.Objects {
				object.(map[string]any)["apiVersion"] = "example.com/v2"
			}
			_ = json.NewEncoder(w).Encode(map[string]any{
				"apiVersion": apiextensionsv1.SchemeGroupVersion.String(), "kind": "ConversionReview",
				"response": map[string]any{"uid": review.Request.UID, "result": map[string]any{"status": "Success"}, "convertedObjects": change(review.Request.Objects)},
			})
		}
	}
	metadata := func(object any) map[string]any { return object.(map[string]any)["metadata"].(map[string]any) }
	for _, a := range []struct {
		name    string
		behave  http.HandlerFunc
		message string
	}{
		{"hangs", func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body); <-r.Context().Done() }, ""},
		{"answers drop by drop", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			for r.Context().Err() == nil {
				_, err := w.Write([]byte(" "))
				if err != nil || http.NewResponseController(w).Flush() != nil {
					return
				}
				select {
				case <-r.Context().Done():
				case <-time.After(10 * time.Millisecond):
				}
			}
		}, ""},
		{"never ends", func(w http.ResponseWriter, _ *http.Request) {
			for err := error(nil); err == nil; {
				_, err = w.Write(bytes.Repeat([]byte(" "), 1<<20))
			}
		}, "is longer than"},
		{"sends elsewhere", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, "307"},
		{"answers nonsense", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, wrapped(20_000, "[", "", "]")) }, "cannot read its answer"},
		{"loses objects", lie(func([]any) []any { return nil }), "returned 0 objects, expected 1"},
		{"invents objects", lie(func(o []any) []any { return append(o, o...) }), "returned 2 objects, expected 1"},
		{"does not convert", lie(func(o []any) []any { o[0].(map[string]any)["apiVersion"] = "example.com/v1"; return o }), "expected a example.com/v2"},
		{"renames", lie(func(o []any) []any { metadata(o[0])["name"] = "other"; return o }), "must have the same name"},
		{"changes the UID", lie(func(o []any) []any { metadata(o[0])["uid"] = "other"; return o }), "must have the same UID"},
		{"drops the metadata", lie(func(o []any) []any { delete(o[0].(map[string]any), "metadata"); return o }), "missing metadata"},
		{"labels badly", lie(func(o []any) []any { metadata(o[0])["labels"] = map[string]any{"no good": "x"}; return o }), "metadata.labels"},
	} {
		t.Run(a.name, func(t *testing.T) {
			d := &definer{t, d.url, d.client}
			behave.Store(&a.behave)
			code, status := d.send(http.MethodGet, "/apis/example.com/v2/things?timeout=2s", nil)
			if code != http.StatusInternalServerError && code != http.StatusGatewayTimeout {
				t.Errorf("answered %d", code)
			}
			d.mustSay(code, status, code, a.message)
			// The stored version is not held up by it.
			code, status = d.send(http.MethodGet, "/apis/example.com/v1/things/thing", nil)
			d.mustSay(code, status, http.StatusOK, "")
		})
	}
	if elsewhere.Load() > 0 {
		t.Error("a redirect was followed")
	}
	for name, url := range map[string]string{"a metadata service": "https://169.254.169.254/latest", "this server": d.url + "/convert"} {
		t.Run(name, func(t *testing.T) {
			d := &definer{t, d.url, d.client}
			d.define(`{"type":"object"}`, strategy(url))
			d.create("thing", `{}`)
			code, status := d.send(http.MethodGet, "/apis/example.com/v2/things", nil)
			want := "address not allowed"
			if name == "this server" {
				want = "conversion webhook" // its network is allowed here; its certificate is not
			}
			d.mustSay(code, status, http.StatusInternalServerError, want)
		})
	}
	d.isUnharmed()
}
