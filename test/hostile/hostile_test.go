// Package hostile sends a running server what no honest client sends. Each
// request must be answered with a Kubernetes Status that says what is wrong,
// change nothing, and leave the server alive.
package hostile

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/yare-io/yare/test/cluster"
)

const (
	jsonType     = "application/json"
	yamlType     = "application/yaml"
	protobufType = "application/vnd.kubernetes.protobuf"
	cborType     = "application/cbor"

	configMaps  = "/api/v1/namespaces/default/configmaps"
	victim      = configMaps + "/victim"
	deployments = "/apis/apps/v1/namespaces/default/deployments"
)

// attack is one request and the answer it deserves.
type attack struct {
	name, method, path string
	contentType        string
	header             http.Header
	body               []byte
	code               int
	// message is a part of the Status's message; empty: any.
	message string
}

func TestHostileRequestsGetAStatusAndChangeNothing(t *testing.T) {
	node := cluster.StartServer(t, cluster.NewLAN(t).NewHost("one"), "--disable-agent", "--storage-backend=memory", "--controllers=serviceaccount-controller")
	target := newTarget(t, node)
	before := target.state(t)
	for group, attacks := range map[string][]attack{
		"JSON": jsonAttacks(), "YAML": yamlAttacks(), "protobuf": protobufAttacks(), "CBOR": cborAttacks(), "objects": objectAttacks(),
		"paths": pathAttacks(), "queries": queryAttacks(), "patches": patchAttacks(), "headers": headerAttacks(),
	} {
		t.Run(group, func(t *testing.T) {
			for _, a := range attacks {
				t.Run(a.name, func(t *testing.T) { target.endures(t, a) })
			}
			if after := target.state(t); after != before {
				t.Errorf("objects were changed\nbefore %s\nafter  %s", before, after)
			}
		})
	}
	t.Run("strangers", func(t *testing.T) { strangers(t, node) })
	t.Run("raw", func(t *testing.T) { rawAttacks(t, node) })
	target.isUnharmed(t, node)
}

// target is the server as its attacker, who may do everything, reaches it.
type target struct {
	url    string
	client *http.Client
	pid    int
}

func newTarget(t *testing.T, node *cluster.Node) *target {
	t.Helper()
	client, err := rest.HTTPClientFor(node.Config())
	if err != nil {
		t.Fatal(err)
	}
	client.Timeout = 30 * time.Second
	_, err = node.Client().CoreV1().ConfigMaps("default").Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "victim"}, Data: map[string]string{"kept": "yes"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return &target{url: node.URL(), client: client, pid: node.PID()}
}

// state is all that the attacks could have changed.
func (g *target) state(t *testing.T) string {
	t.Helper()
	var state strings.Builder
	for _, path := range []string{configMaps, deployments, "/api/v1/namespaces", "/api/v1/namespaces/default/pods"} {
		var list struct {
			Items []struct{ Metadata metav1.ObjectMeta }
		}
		answer, body := g.send(t, attack{method: http.MethodGet, path: path})
		if answer.StatusCode != http.StatusOK {
			t.Fatalf("GET %s: %s", path, body)
		}
		if err := json.Unmarshal(body, &list); err != nil {
			t.Fatal(err)
		}
		for _, item := range list.Items {
			fmt.Fprintf(&state, "%s/%s@%s ", path, item.Metadata.Name, item.Metadata.ResourceVersion)
		}
	}
	return state.String()
}

func (g *target) send(t *testing.T, a attack) (*http.Response, []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, a.method, g.url+a.path, bytes.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	for key, values := range a.header {
		request.Header[key] = values
	}
	if a.contentType != "" {
		request.Header.Set("Content-Type", a.contentType)
	}
	answer, err := g.client.Do(request)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatalf("answer broke off: %v", err)
	}
	return answer, body
}

// endures checks the answer to an attack.
func (g *target) endures(t *testing.T, a attack) {
	answer, body := g.send(t, a)
	checkStatus(t, answer, body, a.code, a.message)
}

func checkStatus(t *testing.T, answer *http.Response, body []byte, code int, message string) {
	t.Helper()
	var status metav1.Status
	if err := json.Unmarshal(body, &status); err != nil || status.Kind != "Status" || status.APIVersion != "v1" {
		t.Fatalf("%s, and not a Status: %.300q", answer.Status, body)
	}
	switch {
	case answer.StatusCode != code:
		t.Errorf("answered %s, want %d: %s", answer.Status, code, status.Message)
	case int(status.Code) != code || status.Status != metav1.StatusFailure || status.Reason == "":
		t.Errorf("the Status disagrees with %s: %s", answer.Status, body)
	case status.Message == "" || !strings.Contains(status.Message, message):
		t.Errorf("the message %q does not contain %q", status.Message, message)
	}
}

// isUnharmed checks that the process is the one that was started, is healthy,
// did not panic, and gave back the memory of the attacks.
func (g *target) isUnharmed(t *testing.T, node *cluster.Node) {
	t.Helper()
	if answer, body := g.send(t, attack{method: http.MethodGet, path: "/readyz"}); answer.StatusCode != http.StatusOK {
		t.Errorf("not ready any more: %s", body)
	}
	if node.PID() != g.pid {
		t.Error("the server was started anew")
	}
	log, err := os.ReadFile(filepath.Join(node.DataDir, "yare.log"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, "panic") || strings.Contains(line, "goroutine ") {
			t.Errorf("the server panicked: %s", line)
		}
	}
	if peak := peakMiB(t, g.pid); peak > 1024 {
		t.Errorf("the attacks took %d MiB of memory", peak)
	}
}

func peakMiB(t *testing.T, pid int) int {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "VmHWM:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib / 1024
}
