package gatekeeper_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/opa/engine"
	"github.com/yare-io/yare/admission/opa/gatekeeper"
	"github.com/yare-io/yare/admission/opa/review"
)

// gatekeeperModule is Gatekeeper's own source, with the policies that it shows
// and tests itself with.
const gatekeeperModule = "github.com/open-policy-agent/gatekeeper/v3@v3.23.1"

// fetched is the directory of Gatekeeper's source.
func fetched(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", gatekeeperModule).Output()
	if err != nil {
		t.Fatalf("Gatekeeper's module cannot be had: %v: %s", err, out)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		t.Fatal(err)
	}
	return module.Dir
}

// examples are the directories that have templates, constraints and objects.
var examples = []string{"demo/agilebank", "demo/basic", "example", "pkg/webhook/testdata", "test/bats/tests", "test/gator", "demo/k8s-validating-admission-policy"}

// inThem are all objects below a directory that can be read, by kind of use.
func inThem(t *testing.T, root string) (policies, others []*unstructured.Unstructured) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !slices.Contains([]string{".yaml", ".yml"}, filepath.Ext(path)) {
			return err
		}
		found, err := gatekeeper.ReadObjects(path)
		if err != nil {
			return nil // some are wrong on purpose
		}
		for _, object := range found {
			switch object.GroupVersionKind().Group {
			case gatekeeper.TemplateGroup, gatekeeper.ConstraintGroup:
				policies = append(policies, object)
			default:
				others = append(others, object)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return policies, others
}

// asked is the request that creates an object.
func asked(object *unstructured.Unstructured) *admission.Attributes {
	a := podNamed(object.GetName(), nil)
	a.Kind, a.Object, a.Namespace = object.GroupVersionKind(), object, object.GetNamespace()
	a.Resource = a.Kind.GroupVersion().WithResource(strings.ToLower(a.Kind.Kind) + "s")
	return a
}

// TestGatekeepersOwnPolicies evaluates what Gatekeeper's source has, as it is:
// once as its templates are written, and once as far as parameters decide. Both
// must say the same of every object there.
func TestGatekeepersOwnPolicies(t *testing.T) {
	root := fetched(t)
	e := newEngine(t)
	var objects []*unstructured.Unstructured
	for _, dir := range examples {
		_, others := inThem(t, filepath.Join(root, dir))
		objects = append(objects, others...)
	}
	constraints, denials := 0, 0
	for _, dir := range directories(t, root) {
		policies, _ := inThem(t, dir)
		var libraries [2]*gatekeeper.Checker
		for i, asWritten := range []bool{true, false} {
			library, _, err := (gatekeeper.Compiler{Store: engine.NewStore(inventory{}), AsWritten: asWritten}).Compile(t.Context(), policies)
			if err != nil {
				t.Fatalf("%s: %v", dir, err)
			}
			libraries[i] = gatekeeper.NewChecker(e)
			libraries[i].Use(library)
			constraints += library.Len()
		}
		for _, object := range objects {
			a, b := said(t.Context(), libraries[0], object), said(t.Context(), libraries[1], object)
			if a != b {
				t.Errorf("%s: %s %s: as written %q, else %q", dir, object.GetKind(), object.GetName(), a, b)
			}
			denials += strings.Count(a, "[")
		}
	}
	t.Logf("%d objects, %d constraints, %d denials", len(objects), constraints/2, denials)
	if len(objects) < 50 || constraints < 40 || denials < 100 {
		t.Errorf("only %d objects, %d constraints, %d denials: the examples are not where they were", len(objects), constraints/2, denials)
	}
}

// said is what a checker denies or warns of.
func said(ctx context.Context, c *gatekeeper.Checker, object *unstructured.Unstructured) string {
	a := asked(object)
	denied, err := c.Check(ctx, a, shop, review.New(a, shop))
	return fmt.Sprint(denied, a.Warnings(), a.Annotations()["gatekeeper.admission.yare.io/violations"], err)
}

// directories are those of the examples that have templates, or whose children
// do.
func directories(t *testing.T, root string) []string {
	t.Helper()
	var found []string
	for _, dir := range examples {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				found = append(found, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}
