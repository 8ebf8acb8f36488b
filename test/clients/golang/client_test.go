//go:build generated

package golang

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/yare-io/yare/test/clients/generated/appsv1"
	"github.com/yare-io/yare/test/clients/generated/clientsyaretestv1"
	"github.com/yare-io/yare/test/clients/generated/corev1"
)

const namespace = "default"

// as authenticates requests.
func as(_ context.Context, r *http.Request) error {
	r.Header.Set("Authorization", "Bearer "+os.Getenv("YARE_TOKEN"))
	return nil
}

func httpClient(t *testing.T) *http.Client {
	t.Helper()
	authority, err := os.ReadFile(os.Getenv("YARE_CA"))
	must(t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func body(t *testing.T, object any) *bytes.Reader {
	t.Helper()
	content, err := json.Marshal(object)
	must(t, err)
	return bytes.NewReader(content)
}

const media = "application/json"

func TestConfigMaps(t *testing.T) {
	client, err := corev1.NewClientWithResponses(os.Getenv("YARE_URL"), corev1.WithHTTPClient(httpClient(t)), corev1.WithRequestEditorFn(as))
	must(t, err)
	labels, selector := map[string]string{"made-by": "oapi-codegen"}, new("made-by=oapi-codegen")
	before, err := client.ListCoreV1NamespacedConfigMapWithResponse(t.Context(), namespace, &corev1.ListCoreV1NamespacedConfigMapParams{LabelSelector: selector})
	must(t, err)
	watch, err := client.ListCoreV1NamespacedConfigMap(t.Context(), namespace, &corev1.ListCoreV1NamespacedConfigMapParams{
		LabelSelector: selector, Watch: new(true), ResourceVersion: before.JSON200.Metadata.ResourceVersion,
	})
	must(t, err)
	defer watch.Body.Close()

	created, err := client.CreateCoreV1NamespacedConfigMapWithBodyWithResponse(t.Context(), namespace, nil, media, body(t, corev1.IoK8sApiCoreV1ConfigMap{
		Metadata: &corev1.IoK8sApimachineryPkgApisMetaV1ObjectMeta{Name: new("generated"), Labels: &labels},
		Data:     &map[string]string{"color": "green"},
	}))
	must(t, err)
	if created.JSON201 == nil || created.JSON201.Metadata.CreationTimestamp == nil {
		t.Fatalf("%s %s", created.Status(), created.Body)
	}
	patched, err := client.PatchCoreV1NamespacedConfigMapWithApplicationStrategicMergePatchPlusJSONBodyWithResponse(t.Context(), namespace, "generated", nil,
		map[string]any{"data": map[string]any{"color": "blue"}})
	must(t, err)
	if patched.JSON200 == nil || (*patched.JSON200.Data)["color"] != "blue" {
		t.Fatalf("%s %s", patched.Status(), patched.Body)
	}
	listed, err := client.ListCoreV1NamespacedConfigMapWithResponse(t.Context(), namespace, &corev1.ListCoreV1NamespacedConfigMapParams{LabelSelector: selector})
	must(t, err)
	if items := listed.JSON200.Items; len(items) != 1 || *items[0].Metadata.Name != "generated" {
		t.Errorf("listed %s", listed.Body)
	}
	deleted, err := client.DeleteCoreV1NamespacedConfigMapWithBodyWithResponse(t.Context(), namespace, "generated", nil, media, strings.NewReader("{}"))
	must(t, err)
	if deleted.JSON200 == nil || *deleted.JSON200.Status != "Success" {
		t.Errorf("%s %s", deleted.Status(), deleted.Body)
	}
	var seen []string
	for decoder := json.NewDecoder(watch.Body); len(seen) < 3; {
		var event struct {
			Type   string
			Object corev1.IoK8sApiCoreV1ConfigMap
		}
		must(t, decoder.Decode(&event))
		seen = append(seen, event.Type+" "+(*event.Object.Data)["color"])
	}
	if want := []string{"ADDED green", "MODIFIED blue", "DELETED blue"}; !slices.Equal(seen, want) {
		t.Errorf("watched %q, want %q", seen, want)
	}
}

func TestDeployments(t *testing.T) {
	client, err := appsv1.NewClientWithResponses(os.Getenv("YARE_URL"), appsv1.WithHTTPClient(httpClient(t)), appsv1.WithRequestEditorFn(as))
	must(t, err)
	labels := map[string]string{"made-by": "oapi-codegen"}
	created, err := client.CreateAppsV1NamespacedDeploymentWithBodyWithResponse(t.Context(), namespace, nil, media, body(t, appsv1.IoK8sApiAppsV1Deployment{
		Metadata: &appsv1.IoK8sApimachineryPkgApisMetaV1ObjectMeta{Name: new("generated")},
		Spec: appsv1.IoK8sApiAppsV1DeploymentSpec{
			Replicas: new(int32(0)),
			Selector: appsv1.IoK8sApimachineryPkgApisMetaV1LabelSelector{MatchLabels: &labels},
			Template: appsv1.IoK8sApiCoreV1PodTemplateSpec{
				Metadata: &appsv1.IoK8sApimachineryPkgApisMetaV1ObjectMeta{Labels: &labels},
				Spec:     &appsv1.IoK8sApiCoreV1PodSpec{Containers: []appsv1.IoK8sApiCoreV1Container{{Name: "demo", Image: new("yare.local/demo:v1")}}},
			},
		},
	}))
	must(t, err)
	if created.JSON201 == nil || *created.JSON201.Spec.RevisionHistoryLimit != 10 {
		t.Fatalf("%s %s", created.Status(), created.Body)
	}
	scaled, err := client.PatchAppsV1NamespacedDeploymentScaleWithApplicationMergePatchPlusJSONBodyWithResponse(t.Context(), namespace, "generated", nil,
		map[string]any{"spec": map[string]any{"replicas": 2}})
	must(t, err)
	if scaled.JSON200 == nil || *scaled.JSON200.Spec.Replicas != 2 {
		t.Errorf("%s %s", scaled.Status(), scaled.Body)
	}
	deleted, err := client.DeleteAppsV1NamespacedDeploymentWithBodyWithResponse(t.Context(), namespace, "generated", nil, media, strings.NewReader("{}"))
	must(t, err)
	if deleted.JSON200 == nil {
		t.Errorf("%s %s", deleted.Status(), deleted.Body)
	}
}

func TestCustomResources(t *testing.T) {
	client, err := clientsyaretestv1.NewClientWithResponses(os.Getenv("YARE_URL"), clientsyaretestv1.WithHTTPClient(httpClient(t)), clientsyaretestv1.WithRequestEditorFn(as))
	must(t, err)
	widget := clientsyaretestv1.TestYareClientsV1Widget{
		ApiVersion: new("clients.yare.test/v1"), Kind: new("Widget"),
		Metadata: &clientsyaretestv1.IoK8sApimachineryPkgApisMetaV1ObjectMeta{Name: new("generated")},
	}
	widget.Spec.Size = 3
	created, err := client.CreateClientsYareTestV1NamespacedWidgetWithBodyWithResponse(t.Context(), namespace, nil, media, body(t, widget))
	must(t, err)
	if created.JSON201 == nil || *created.JSON201.Spec.Color != clientsyaretestv1.Green {
		t.Fatalf("%s %s", created.Status(), created.Body)
	}
	deleted, err := client.DeleteClientsYareTestV1NamespacedWidgetWithBodyWithResponse(t.Context(), namespace, "generated", nil, media, strings.NewReader("{}"))
	must(t, err)
	if deleted.JSON200 == nil {
		t.Errorf("%s %s", deleted.Status(), deleted.Body)
	}
}
