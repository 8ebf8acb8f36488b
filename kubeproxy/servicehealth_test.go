package kubeproxy

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/yare-io/yare/kubeproxy/model"
)

func freePort(t *testing.T) uint16 {
	t.Helper()
	listener, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return uint16(listener.Addr().(*net.TCPAddr).Port)
}

func localRule(port uint16, portName string, ready ...string) model.Rule {
	rule := model.Rule{
		Key:                 model.Key{Service: types.NamespacedName{Namespace: "default", Name: "web"}, PortName: portName},
		HealthCheckNodePort: port,
	}
	for _, addr := range ready {
		rule.LocalReady = append(rule.LocalReady, netip.MustParseAddr(addr))
	}
	return rule
}

func TestServiceHealthPort(t *testing.T) {
	clock := clocktesting.NewFakePassiveClock(time.Unix(1000, 0))
	proxy := newHealth(clock, time.Minute)
	proxy.synced(clock.Now())
	h := newServiceHealth(proxy, slog.New(slog.DiscardHandler))
	t.Cleanup(h.close)
	port := freePort(t)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	url := fmt.Sprintf("http://127.0.0.1:%d/", port)
	check := func(what string, code, count int) {
		t.Helper()
		response, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		var answer struct {
			Service        struct{ Namespace, Name string }
			LocalEndpoints int
		}
		if err := json.Unmarshal(body, &answer); err != nil || answer.Service.Name != "web" || answer.Service.Namespace != "default" {
			t.Errorf("%s: answer %q: %v", what, body, err)
		}
		if weight := response.Header.Get("X-Load-Balancing-Endpoint-Weight"); response.StatusCode != code || answer.LocalEndpoints != count || weight != fmt.Sprint(count) {
			t.Errorf("%s: %d with %d endpoints and weight %s, want %d with %d", what, response.StatusCode, answer.LocalEndpoints, weight, code, count)
		}
	}
	h.update([]model.Rule{localRule(port, "a", "10.0.0.1", "10.0.0.2"), localRule(port, "b", "10.0.0.2")})
	check("two endpoints behind two ports", 200, 2)
	proxy.setEligible(false)
	check("the node goes away", 503, 2)
	proxy.setEligible(true)
	h.update([]model.Rule{localRule(port, "a")})
	check("no endpoint here", 503, 0)
	h.update([]model.Rule{localRule(0, "a", "10.0.0.1")})
	if response, err := client.Get(url); err == nil {
		response.Body.Close()
		t.Error("the port answers though no service has it any more")
	}
}

func TestServiceHealthPortThatIsTakenIsOpenedLater(t *testing.T) {
	taken, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(taken.Addr().(*net.TCPAddr).Port)
	h := newServiceHealth(newHealth(clocktesting.NewFakePassiveClock(time.Unix(1000, 0)), time.Minute), slog.New(slog.DiscardHandler))
	t.Cleanup(h.close)
	rules := []model.Rule{localRule(port, "a", "10.0.0.1")}
	h.update(rules)
	if len(h.ports) != 0 || !h.failed[port] {
		t.Fatalf("open %v, failed %v", h.ports, h.failed)
	}
	taken.Close()
	h.update(rules)
	if h.ports[port] == nil || h.failed[port] {
		t.Errorf("open %v, failed %v", h.ports, h.failed)
	}
}
