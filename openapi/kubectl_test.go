package openapi_test

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/cli-runtime/pkg/resource"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/openapi3"
	"k8s.io/client-go/rest"
	explain "k8s.io/kubectl/pkg/explain/v2"
	kubectlopenapi "k8s.io/kubectl/pkg/util/openapi"
	"k8s.io/kubectl/pkg/validation"
)

func client(t *testing.T, server *httptest.Server) *discovery.DiscoveryClient {
	t.Helper()
	c, err := discovery.NewDiscoveryClientForConfig(&rest.Config{
		Host: server.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true},
		Timeout: 10 * time.Minute, // with the race detector, documents take long on a busy machine
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestKubectlExplains(t *testing.T) {
	c := client(t, serveKubernetes(t)).OpenAPIV3()
	for _, example := range []struct {
		gvr  schema.GroupVersionResource
		path []string
		want []string
	}{
		{schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, []string{"spec", "strategy"},
			[]string{"KIND:       Deployment", "FIELD: strategy <DeploymentStrategy>", "rollingUpdate", `"Recreate"`}},
		{schema.GroupVersionResource{Version: "v1", Resource: "pods"}, nil,
			[]string{"KIND:       Pod", "metadata\t<ObjectMeta>", "spec\t<PodSpec>", "status\t<PodStatus>"}},
		{schema.GroupVersionResource{Version: "v1", Resource: "services"}, []string{"spec", "ports", "targetPort"}, []string{"IntOrString"}},
	} {
		var out bytes.Buffer
		if err := explain.PrintModelDescription(example.path, &out, c, example.gvr, false, 0, "plaintext"); err != nil {
			t.Errorf("%s: %v", example.gvr, err)
		}
		for _, want := range example.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s %v: no %q in\n%s", example.gvr, example.path, want, out.String())
			}
		}
	}
}

func TestKubectlFindsMergeKeys(t *testing.T) {
	root := openapi3.NewRoot(client(t, serveKubernetes(t)).OpenAPIV3())
	document, err := root.GVSpec(schema.GroupVersion{Group: "apps", Version: "v1"})
	if err != nil {
		t.Fatal(err)
	}
	deployment := document.Components.Schemas["io.k8s.api.apps.v1.Deployment"]
	meta := strategicpatch.PatchMetaFromOpenAPIV3{Schema: deployment, SchemaList: document.Components.Schemas}
	before := `{"spec":{"template":{"spec":{"containers":[{"name":"a","image":"a:1"},{"name":"b","image":"b:1"}]}}}}`
	after := `{"spec":{"template":{"spec":{"containers":[{"name":"a","image":"a:1"},{"name":"b","image":"b:2"}]}}}}`
	patch, err := strategicpatch.CreateThreeWayMergePatch([]byte(before), []byte(after), []byte(before), meta, true)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"spec":{"template":{"spec":{"$setElementOrder/containers":[{"name":"a"},{"name":"b"}],"containers":[{"image":"b:2","name":"b"}]}}}}`
	if string(patch) != want {
		t.Errorf("patch %s, want %s", patch, want)
	}
}

func TestKubectlSeesWhichPatchesAndParametersThereAre(t *testing.T) {
	server := serveKubernetes(t)
	root := openapi3.NewRoot(client(t, server).OpenAPIV3())
	for _, c := range []struct {
		gv        schema.GroupVersion
		path      string
		strategic bool
	}{
		{schema.GroupVersion{Group: "apps", Version: "v1"}, "/apis/apps/v1/namespaces/{namespace}/deployments/{name}", true},
		{schema.GroupVersion{Group: "example.com", Version: "v1"}, "/apis/example.com/v1/namespaces/{namespace}/widgets/{name}", false},
	} {
		document, err := root.GVSpec(c.gv)
		if err != nil {
			t.Fatal(err)
		}
		content := document.Paths.Paths[c.path].Patch.RequestBody.Content
		if _, ok := content["application/strategic-merge-patch+json"]; ok != c.strategic || content["application/merge-patch+json"] == nil {
			t.Errorf("%s takes %d kinds of patches, strategic: %v", c.path, len(content), ok)
		}
	}
	verifier := resource.NewQueryParamVerifierV3(nil, client(t, server).OpenAPIV3(), resource.QueryParamFieldValidation)
	if err := verifier.HasSupport(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}); err != nil {
		t.Errorf("field validation: %v", err)
	}
}

func TestKubectlValidatesOnTheClientSide(t *testing.T) {
	getter := kubectlopenapi.NewOpenAPIParser(kubectlopenapi.NewOpenAPIGetter(client(t, serveKubernetes(t))))
	check := validation.NewSchemaValidation(parsed{getter})
	manifest := map[string]any{
		"apiVersion": "v1", "kind": "Service", "metadata": map[string]any{"name": "web"},
		"spec": map[string]any{"ports": []any{map[string]any{"port": 80, "targetPort": "http"}}},
	}
	validate := func() error {
		data, err := json.Marshal(manifest)
		if err != nil {
			t.Fatal(err)
		}
		return check.ValidateBytes(data)
	}
	if err := validate(); err != nil {
		t.Errorf("a good Service: %v", err)
	}
	manifest["spec"].(map[string]any)["prots"] = []any{}
	if err := validate(); err == nil || !strings.Contains(err.Error(), `unknown field "prots"`) {
		t.Errorf("a misspelt field: %v", err)
	}
}

// parsed gives the parser the method that kubectl's factory gives it.
type parsed struct {
	*kubectlopenapi.CachedOpenAPIParser
}

func (p parsed) OpenAPISchema() (kubectlopenapi.Resources, error) { return p.Parse() }
