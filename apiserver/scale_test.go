package apiserver_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestScalesAreApplied: who applies a scale owns the replicas of the object,
// and meets those who owned them before.
func TestScalesAreApplied(t *testing.T) {
	h := start(t)
	const object = "/apis/apps/v1/namespaces/default/deployments/d"
	apply := func(path, manager, body string) response {
		t.Helper()
		return h.do(t, "PATCH", path+"?fieldManager="+manager, body, "Content-Type", "application/apply-patch+yaml")
	}
	if a := apply(object, "author", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, spec: {replicas: 1, paused: true}}`); a.code != http.StatusCreated {
		t.Fatalf("%d %s", a.code, a.body)
	}
	const scale = `{apiVersion: autoscaling/v1, kind: Scale, metadata: {name: d}, spec: {replicas: 4}}`
	a := apply(object+"/scale", "scaler", scale)
	if a.code != http.StatusConflict || !strings.Contains(a.status(t).Message, `conflict with "author"`) {
		t.Fatalf("%d %s", a.code, a.body)
	}
	a = apply(object+"/scale", "scaler&force=true", scale)
	if a.code != http.StatusOK || !strings.Contains(a.body, `"replicas":4`) {
		t.Fatalf("%d %s", a.code, a.body)
	}
	got := h.do(t, "GET", object, "")
	if !strings.Contains(got.body, `"replicas":4`) || !strings.Contains(got.body, `"manager":"scaler"`) || !strings.Contains(got.body, `"subresource":"scale"`) {
		t.Errorf("the object says nothing of it: %s", got.body)
	}
	if a := apply(object, "author", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, spec: {replicas: 2, paused: true}}`); a.code != http.StatusConflict {
		t.Errorf("the former owner meets no conflict: %d", a.code)
	}
	if a := apply(object+"/scale", "scaler", strings.Replace(scale, "4", "-1", 1)); a.code != http.StatusUnprocessableEntity {
		t.Errorf("a negative number: %d %s", a.code, a.body)
	}
}
