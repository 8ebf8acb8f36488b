// Command gen writes the models of the Kubernetes API types, as OpenAPI 2 and 3
// schemas, to one compressed file that package openapi embeds.
//
// It runs openapi-gen of k8s.io/kube-openapi over the Go types in a temporary
// folder, compiles the megabytes of Go that come out of it (laid over this
// module, so that nothing is left in the tree) and keeps only their result.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const module = "github.com/yare-io/yare"

// packages hold the types of all stable groups and what these refer to.
var packages = []string{
	"k8s.io/api/admissionregistration/v1",
	"k8s.io/api/apps/v1",
	"k8s.io/api/authentication/v1",
	"k8s.io/api/authorization/v1",
	"k8s.io/api/autoscaling/v1",
	"k8s.io/api/autoscaling/v2",
	"k8s.io/api/batch/v1",
	"k8s.io/api/certificates/v1",
	"k8s.io/api/coordination/v1",
	"k8s.io/api/core/v1",
	"k8s.io/api/discovery/v1",
	"k8s.io/api/events/v1",
	"k8s.io/api/flowcontrol/v1",
	"k8s.io/api/networking/v1",
	"k8s.io/api/node/v1",
	"k8s.io/api/policy/v1",
	"k8s.io/api/rbac/v1",
	"k8s.io/api/resource/v1",
	"k8s.io/api/scheduling/v1",
	"k8s.io/api/scheduling/v1alpha3", // batch/v1 refers to it
	"k8s.io/api/storage/v1",
	"k8s.io/api/storagemigration/v1",
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1",
	"k8s.io/apimachinery/pkg/api/resource",
	"k8s.io/apimachinery/pkg/apis/meta/v1",
	"k8s.io/apimachinery/pkg/runtime",
	"k8s.io/apimachinery/pkg/util/intstr",
	"k8s.io/apimachinery/pkg/version",
	"k8s.io/kube-aggregator/pkg/apis/apiregistration/v1",
}

// program prints the models; it is compiled with the generated definitions.
const program = `package main

import (
	"log"
	"os"

	"` + module + `/openapi/gen/definitions"
	"` + module + `/openapi/gen/emit"
)

func main() {
	if err := emit.Models(os.Stdout, definitions.GetOpenAPIDefinitions); err != nil {
		log.Fatal(err)
	}
}
`

func main() {
	output := flag.String("output", "models.gz", "the file to write")
	flag.Parse()
	if err := generate(*output); err != nil {
		log.Fatal(err)
	}
}

func generate(output string) error {
	temp, err := os.MkdirTemp("", "openapi-gen-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)

	if err := generateDefinitions(temp); err != nil {
		return fmt.Errorf("definitions of the Go types: %w", err)
	}
	overlay, err := writeOverlay(temp)
	if err != nil {
		return err
	}
	models, err := command("run", "-overlay", overlay, module+"/openapi/gen/definitions/print").Output()
	if err != nil {
		return fmt.Errorf("print models: %w", err)
	}
	return os.WriteFile(output, models, 0o644)
}

func generateDefinitions(temp string) error {
	header := filepath.Join(temp, "header")
	if err := os.WriteFile(header, nil, 0o600); err != nil {
		return err
	}
	arguments := []string{
		"tool", "openapi-gen",
		"--output-dir", filepath.Join(temp, "definitions"),
		"--output-pkg", module + "/openapi/gen/definitions",
		"--go-header-file", header,
		"--report-filename", filepath.Join(temp, "violations"),
	}
	return command(append(arguments, packages...)...).Run()
}

// writeOverlay makes the generated files appear below openapi/gen/definitions.
func writeOverlay(temp string) (string, error) {
	root, err := command("list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	main := filepath.Join(temp, "print.go")
	if err := os.WriteFile(main, []byte(program), 0o600); err != nil {
		return "", err
	}
	below := filepath.Join(strings.TrimSpace(string(root)), "openapi", "gen", "definitions")
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {
		filepath.Join(below, "generated.openapi.go"): filepath.Join(temp, "definitions", "generated.openapi.go"),
		filepath.Join(below, "print", "main.go"):     main,
	}})
	if err != nil {
		return "", err
	}
	file := filepath.Join(temp, "overlay.json")
	return file, os.WriteFile(file, overlay, 0o600)
}

func command(arguments ...string) *exec.Cmd {
	c := exec.Command("go", arguments...)
	c.Stderr = os.Stderr
	return c
}
