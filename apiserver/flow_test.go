package apiserver_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap"

	"github.com/yare-io/yare/apiserver"
	"github.com/yare-io/yare/apiserver/flowcontrol"
	"github.com/yare-io/yare/apiserver/request"
	"k8s.io/apiserver/pkg/authentication/user"
)

// TestFlowControlAnswersForTheServer: every answer says how its request was
// classified, what finds no room is told when to come again, and exempt
// requests always find it.
func TestFlowControlAnswersForTheServer(t *testing.T) {
	flow, err := flowcontrol.New(flowcontrol.Config{Seats: 1})
	if err != nil {
		t.Fatal(err)
	}
	level := bootstrap.MandatoryPriorityLevelConfigurationCatchAll.DeepCopy()
	level.UID = "level"
	level.Spec.Limited.LimitResponse = flowcontrolv1.LimitResponse{Type: flowcontrolv1.LimitResponseTypeReject}
	schema := bootstrap.MandatoryFlowSchemaCatchAll.DeepCopy()
	schema.UID = "schema"
	schema.Spec.Rules[0].Subjects = []flowcontrolv1.Subject{{Kind: "User", User: &flowcontrolv1.UserSubject{Name: "*"}}}
	flow.Configure([]*flowcontrolv1.FlowSchema{schema}, []*flowcontrolv1.PriorityLevelConfiguration{level})
	h := start(t, func(c *apiserver.Config) { c.FlowControl = flow })
	const path = "/api/v1/namespaces/default/configmaps"
	a := h.do(t, "GET", path, "", "User", "alice")
	if a.code != http.StatusOK || a.header.Get("X-Kubernetes-PF-FlowSchema-UID") != "schema" || a.header.Get("X-Kubernetes-PF-PriorityLevel-UID") != "level" {
		t.Errorf("%d %v", a.code, a.header)
	}
	held, err := flow.Enter(t.Context(), &flowcontrol.Request{User: &user.DefaultInfo{Name: "bob"}, Info: &request.Info{Verb: "get", Path: "/x"}})
	if err != nil {
		t.Fatal(err)
	}
	a = h.do(t, "GET", path, "", "User", "alice")
	if a.code != http.StatusTooManyRequests || a.header.Get("Retry-After") == "" || a.status(t).Reason != "TooManyRequests" {
		t.Errorf("%d %v %s", a.code, a.header, a.body)
	}
	if a := h.do(t, "GET", path, ""); a.code != http.StatusOK {
		t.Errorf("an administrator is refused: %d", a.code)
	}
	metrics := h.do(t, "GET", "/metrics", "").body
	for _, want := range []string{
		`apiserver_flowcontrol_rejected_requests_total{flow_schema="catch-all",priority_level="catch-all",reason="concurrency-limit"} 1`,
		`apiserver_flowcontrol_current_executing_seats{flow_schema="catch-all",priority_level="catch-all"} 1`,
		`apiserver_flowcontrol_nominal_limit_seats{priority_level="catch-all"} 1`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
	if dump := h.do(t, "GET", "/debug/api_priority_and_fairness/dump_priority_levels", "").body; !strings.Contains(dump, "catch-all,1,false,false,0,1,2,1,0,0") {
		t.Errorf("dump:\n%s", dump)
	}
	flow.Leave(&held)
}

// TestWatchesGiveTheirSeatsBack: a watch holds one only while it begins.
func TestWatchesGiveTheirSeatsBack(t *testing.T) {
	flow, err := flowcontrol.New(flowcontrol.Config{Seats: 1})
	if err != nil {
		t.Fatal(err)
	}
	h := start(t, func(c *apiserver.Config) { c.FlowControl = flow })
	for range 3 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.http.URL+"/api/v1/configmaps?watch=1", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("User", "alice")
		answer, err := h.http.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = answer.Body.Close() }()
		if answer.StatusCode != http.StatusOK {
			t.Fatalf("watch: %d", answer.StatusCode)
		}
	}
	if a := h.do(t, "GET", "/api/v1/configmaps", "", "User", "alice"); a.code != http.StatusOK {
		t.Errorf("beside watches: %d", a.code)
	}
}

// TestOnlyAllowedOriginsMayBeBrowsersPages also shows that a preflight needs
// no credentials.
func TestOnlyAllowedOriginsMayBeBrowsersPages(t *testing.T) {
	h := start(t, func(c *apiserver.Config) {
		c.CORSAllowedOrigins = []*regexp.Regexp{regexp.MustCompile(`^https://ui\.example\.com$`)}
	})
	a := h.do(t, "OPTIONS", "/api/v1/pods", "", "Origin", "https://ui.example.com", "User", "nobody")
	if a.code != http.StatusNoContent || a.header.Get("Access-Control-Allow-Origin") != "https://ui.example.com" {
		t.Errorf("preflight: %d %v", a.code, a.header)
	}
	if a := h.do(t, "GET", "/api/v1/pods", "", "Origin", "https://ui.example.com"); a.code != http.StatusOK || a.header.Get("Access-Control-Allow-Credentials") != "true" {
		t.Errorf("request: %d %v", a.code, a.header)
	}
	if a := h.do(t, "GET", "/api/v1/pods", "", "Origin", "https://ui.example.com.evil"); a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("a stranger's page is allowed")
	}
}
