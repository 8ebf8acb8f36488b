package openapi_test

import (
	"bufio"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"k8s.io/kube-openapi/pkg/spec3"
)

// actions are how the specification calls the verbs of the operations file.
var actions = map[string]string{"create": "post", "update": "put"}

// operationsOf returns each operation as "METHOD path action kind".
func operationsOf(t *testing.T, documents map[string]*spec3.OpenAPI) map[string]*spec3.Operation {
	t.Helper()
	operations := map[string]*spec3.Operation{}
	for _, document := range documents {
		for path, item := range document.Paths.Paths {
			for method, op := range map[string]*spec3.Operation{
				http.MethodGet: item.Get, http.MethodPut: item.Put, http.MethodPost: item.Post, http.MethodDelete: item.Delete,
				http.MethodPatch: item.Patch, http.MethodHead: item.Head, http.MethodOptions: item.Options,
			} {
				if op == nil {
					continue
				}
				var kind struct{ Kind string }
				_ = op.Extensions.GetObject("x-kubernetes-group-version-kind", &kind)
				action, _ := op.Extensions.GetString("x-kubernetes-action")
				operations[strings.Join([]string{method, path, action, kind.Kind}, " ")] = op
			}
		}
	}
	return operations
}

// testdata/operations.tsv: the operations of the stable resources of
// Kubernetes v1.37, as its discovery and published clients have them. Columns:
// method, path, verb, group, version, kind.
func TestOperationsAreThoseOfKubernetes(t *testing.T) {
	file, err := os.Open("testdata/operations.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	want := map[string]bool{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		f := strings.Split(lines.Text(), "\t")
		method, path, verb, kind := f[0], f[1], f[2], f[5]
		if verb == "watch" {
			continue // a parameter of list
		}
		action := verb
		if a, ok := actions[verb]; ok {
			action = a
		}
		if verb == "watch-legacy" {
			action = "watchlist"
			if strings.HasSuffix(path, "/{name}") {
				action = "watch"
			}
		}
		want[strings.Join([]string{method, path, action, kind}, " ")] = true
	}

	got := operationsOf(t, documentsV3(t))
	for operation := range want {
		if got[operation] == nil {
			t.Errorf("missing: %s", operation)
		}
	}
	for operation := range got {
		discovery := strings.HasSuffix(operation, "/  ")
		if !want[operation] && !discovery && !strings.Contains(operation, "/example.com/") {
			t.Errorf("too much: %s", operation)
		}
	}
}

func TestOperationIdentifiersAreThoseOfKubernetes(t *testing.T) {
	ids := map[string]string{}
	for _, document := range documentsV3(t) {
		for operation, op := range operationsOf(t, map[string]*spec3.OpenAPI{"": document}) {
			if other := ids[op.OperationId]; other != "" {
				t.Errorf("%s and %s have the same id %s", operation, other, op.OperationId)
			}
			ids[op.OperationId] = operation
		}
	}
	for id, operation := range map[string]string{
		"createAppsV1NamespacedDeployment":                    "POST /apis/apps/v1/namespaces/{namespace}/deployments post Deployment",
		"listAppsV1DeploymentForAllNamespaces":                "GET /apis/apps/v1/deployments list Deployment",
		"listAppsV1NamespacedDeployment":                      "GET /apis/apps/v1/namespaces/{namespace}/deployments list Deployment",
		"deleteAppsV1CollectionNamespacedDeployment":          "DELETE /apis/apps/v1/namespaces/{namespace}/deployments deletecollection Deployment",
		"replaceAppsV1NamespacedDeploymentScale":              "PUT /apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale put Scale",
		"patchCoreV1NodeStatus":                               "PATCH /api/v1/nodes/{name}/status patch Node",
		"replaceCoreV1NamespaceFinalize":                      "PUT /api/v1/namespaces/{name}/finalize put Namespace",
		"readCoreV1NamespacedPodLog":                          "GET /api/v1/namespaces/{namespace}/pods/{name}/log get Pod",
		"connectCoreV1PostNamespacedPodExec":                  "POST /api/v1/namespaces/{namespace}/pods/{name}/exec connect PodExecOptions",
		"connectCoreV1HeadNamespacedServiceProxyWithPath":     "HEAD /api/v1/namespaces/{namespace}/services/{name}/proxy/{path} connect ServiceProxyOptions",
		"createCoreV1NamespacedPodEviction":                   "POST /api/v1/namespaces/{namespace}/pods/{name}/eviction post Eviction",
		"createAuthorizationV1SelfSubjectAccessReview":        "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews post SelfSubjectAccessReview",
		"watchRbacAuthorizationV1ClusterRoleList":             "GET /apis/rbac.authorization.k8s.io/v1/watch/clusterroles watchlist ClusterRole",
		"watchCoreV1NamespacedPod":                            "GET /api/v1/watch/namespaces/{namespace}/pods/{name} watch Pod",
		"watchCoreV1PodListForAllNamespaces":                  "GET /api/v1/watch/pods watchlist Pod",
		"readFlowcontrolApiserverV1FlowSchema":                "GET /apis/flowcontrol.apiserver.k8s.io/v1/flowschemas/{name} get FlowSchema",
		"getCoreV1APIResources":                               "GET /api/v1/  ",
		"getAppsAPIGroup":                                     "GET /apis/apps/  ",
		"getCodeVersion":                                      "GET /version/  ",
		"createCoreV1NamespacedServiceAccountToken":           "POST /api/v1/namespaces/{namespace}/serviceaccounts/{name}/token post TokenRequest",
		"patchAutoscalingV2NamespacedHorizontalPodAutoscaler": "PATCH /apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers/{name} patch HorizontalPodAutoscaler",
	} {
		if ids[id] != operation {
			t.Errorf("%s is %q, want %q", id, ids[id], operation)
		}
	}
}

func TestParametersAreThoseOfTheOptions(t *testing.T) {
	documents := documentsV3(t)
	deployments := documents["apis/apps/v1"].Paths.Paths["/apis/apps/v1/namespaces/{namespace}/deployments"]
	pods := documents["api/v1"].Paths.Paths
	for _, c := range []struct {
		what  string
		item  *spec3.Path
		op    *spec3.Operation
		names []string
	}{
		{"list", deployments, deployments.Get, []string{"namespace", "pretty", "allowWatchBookmarks", "continue", "fieldSelector",
			"labelSelector", "limit", "resourceVersion", "resourceVersionMatch", "sendInitialEvents", "timeoutSeconds", "watch"}},
		{"create", deployments, deployments.Post, []string{"namespace", "pretty", "dryRun", "fieldManager", "fieldValidation"}},
		{"log", pods["/api/v1/namespaces/{namespace}/pods/{name}/log"], pods["/api/v1/namespaces/{namespace}/pods/{name}/log"].Get,
			[]string{"name", "namespace", "pretty", "container", "follow", "limitBytes", "previous", "sinceSeconds", "sinceTime", "tailLines", "timestamps"}},
		{"exec", pods["/api/v1/namespaces/{namespace}/pods/{name}/exec"], pods["/api/v1/namespaces/{namespace}/pods/{name}/exec"].Post,
			[]string{"name", "namespace", "command", "container", "stdin", "stdout", "stderr", "tty"}},
		{"proxy", pods["/api/v1/nodes/{name}/proxy/{path}"], pods["/api/v1/nodes/{name}/proxy/{path}"].Get, []string{"name", "path", "path"}},
	} {
		var names []string
		for _, p := range append(slices.Clone(c.item.Parameters), c.op.Parameters...) {
			names = append(names, p.Name)
		}
		for _, want := range c.names {
			i := slices.Index(names, want)
			if i < 0 {
				t.Errorf("%s has no parameter %s, only %v", c.what, want, names)
				continue
			}
			names = slices.Delete(names, i, i+1)
		}
	}
}
