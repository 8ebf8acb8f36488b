// Package crds installs the custom resource definitions of widely used projects
// and uses what they define as a client would. The definitions come out of the
// projects' own Go modules (projects/go.mod), which are read where the go
// command keeps them. It has tests only.
package crds

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// project says where a module keeps its definitions.
type project struct {
	module  string
	folders []string
}

var projects = []project{
	{"github.com/argoproj/argo-rollouts", []string{"manifests/crds"}},
	{"github.com/cert-manager/cert-manager", []string{"deploy/crds"}},
	{"github.com/elastic/cloud-on-k8s/v3", []string{"config/crds/v1/resources"}},
	{"github.com/external-secrets/external-secrets", []string{"config/crds/bases"}},
	{"github.com/fluxcd/kustomize-controller", []string{"config/crd/bases"}},
	{"github.com/fluxcd/source-controller", []string{"config/crd/bases"}},
	{"github.com/kedacore/keda/v2", []string{"config/crd/bases"}},
	{"github.com/kubernetes-csi/external-snapshotter/client/v8", []string{"config/crd"}},
	{"github.com/kyverno/kyverno", []string{"config/crds/kyverno", "config/crds/policies.kyverno.io", "config/crds/policyreport", "config/crds/reports"}},
	{"github.com/prometheus-operator/prometheus-operator", []string{"example/prometheus-operator-crd"}},
	{"github.com/vmware-tanzu/velero", []string{"config/crd/v1/bases", "config/crd/v2alpha1/bases"}},
	{"istio.io/api", []string{"kubernetes"}},
	{"knative.dev/serving", []string{"config/core/300-resources"}},
	{"sigs.k8s.io/cluster-api", []string{
		"core/config/crd/bases", "bootstrap/kubeadm/config/crd/bases", "controlplane/kubeadm/config/crd/bases", "cmd/clusterctl/config/crd/bases",
	}},
	{"sigs.k8s.io/gateway-api", []string{"config/crd/experimental"}},
	{"sigs.k8s.io/karpenter", []string{"pkg/apis/crds"}},
}

// modules maps the path of each module in projects/go.mod to its folder.
var modules = sync.OnceValues(func() (map[string]string, error) {
	command := exec.Command("go", "mod", "download", "-json")
	command.Dir = "projects"
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var module struct{ Path, Dir string }
		if err := decoder.Decode(&module); errors.Is(err, io.EOF) {
			return found, nil
		} else if err != nil {
			return nil, err
		}
		found[module.Path] = module.Dir
	}
})

// manifest is a definition and the text that it was read from.
type manifest struct {
	text []byte
	*apiextensionsv1.CustomResourceDefinition
}

// definitions reads those of a project.
func (p project) definitions(t *testing.T) []manifest {
	t.Helper()
	dirs, err := modules()
	if err != nil {
		t.Fatal(err)
	}
	if dirs[p.module] == "" {
		t.Fatalf("projects/go.mod does not require %s", p.module)
	}
	var all []manifest
	for _, folder := range p.folders {
		files, err := filepath.Glob(filepath.Join(dirs[p.module], folder, "*.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			all = append(all, definitionsIn(t, file)...)
		}
	}
	if len(all) == 0 {
		t.Fatalf("%s has no definitions in %s", p.module, strings.Join(p.folders, ", "))
	}
	return all
}

func definitionsIn(t *testing.T, file string) []manifest {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var found []manifest
	for documents := utilyaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(content))); ; {
		text := make([]byte, len(content)+1)
		n, err := documents.Read(text)
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		d := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.Unmarshal(text[:n], d); err == nil && d.Kind == "CustomResourceDefinition" {
			found = append(found, manifest{text[:n], d})
		}
	}
}
