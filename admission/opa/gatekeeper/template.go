package gatekeeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Groups of Gatekeeper's API.
const (
	TemplateGroup   = "templates.gatekeeper.sh"
	ConstraintGroup = "constraints.gatekeeper.sh"
)

// templateSpec is what matters here of a ConstraintTemplate's spec.
type templateSpec struct {
	CRD struct {
		Spec struct {
			Names struct {
				Kind string `json:"kind"`
			} `json:"names"`
		} `json:"spec"`
	} `json:"crd"`
	Targets []struct {
		Target string   `json:"target"`
		Rego   string   `json:"rego"`
		Libs   []string `json:"libs"`
		Code   []struct {
			Engine string `json:"engine"`
			Source struct {
				Rego    string   `json:"rego"`
				Libs    []string `json:"libs"`
				Version string   `json:"version"`
			} `json:"source"`
		} `json:"code"`
	} `json:"targets"`
}

// admissionTarget is the only target that there is in Kubernetes.
const admissionTarget = "admission.k8s.gatekeeper.sh"

// template is a ConstraintTemplate, its Rego parsed and moved to packages of
// its own.
type template struct {
	kind    string
	modules map[string]*ast.Module
	// compiler has the modules alone.
	compiler *ast.Compiler
	// special: its rules may be evaluated as far as parameters decide.
	special bool
}

// source is the Rego of a template.
type source struct {
	rego    string
	libs    []string
	version ast.RegoVersion
}

// parseTemplate reads a ConstraintTemplate.
func parseTemplate(object *unstructured.Unstructured) (*template, error) {
	var spec templateSpec
	raw, err := json.Marshal(object.Object["spec"])
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, &spec); err != nil {
		return nil, err
	}
	kind := spec.CRD.Spec.Names.Kind
	if kind == "" || object.GetName() != strings.ToLower(kind) {
		return nil, fmt.Errorf("its name must be its kind %q in lower case", kind)
	}
	found, err := spec.source()
	if err != nil {
		return nil, err
	}
	t := &template{kind: kind, modules: map[string]*ast.Module{}}
	if err := t.add("template", found.rego, found.version); err != nil {
		return nil, err
	}
	for i, lib := range found.libs {
		if err := t.add(fmt.Sprintf("lib%d", i), lib, found.version); err != nil {
			return nil, err
		}
	}
	if err := t.move(); err != nil {
		return nil, err
	}
	t.special = canSpecialize(t.modules)
	t.compiler, err = compileModules(t.modules)
	return t, err
}

// source picks the Rego of the one target.
func (s *templateSpec) source() (source, error) {
	if len(s.Targets) != 1 || s.Targets[0].Target != admissionTarget {
		return source{}, fmt.Errorf("it must have the one target %s", admissionTarget)
	}
	target := s.Targets[0]
	for _, code := range target.Code {
		if code.Engine != "Rego" {
			continue
		}
		switch code.Source.Version {
		case "", "v0":
			return source{code.Source.Rego, code.Source.Libs, ast.RegoV0}, nil
		case "v1":
			return source{code.Source.Rego, code.Source.Libs, ast.RegoV1}, nil
		}
		return source{}, fmt.Errorf("there is no version %q of Rego, only v0 and v1", code.Source.Version)
	}
	if target.Rego == "" {
		return source{}, errors.New("it has no Rego; templates in CEL alone are not supported")
	}
	return source{target.Rego, target.Libs, ast.RegoV0}, nil
}

func (t *template) add(name, text string, version ast.RegoVersion) error {
	file := t.kind + "/" + name + ".rego"
	module, err := ast.ParseModuleWithOpts(file, text, ast.ParserOptions{RegoVersion: version})
	if err != nil {
		return err
	}
	if module == nil {
		return fmt.Errorf("%s is empty", file)
	}
	t.modules[file] = module
	return nil
}

// move gives the template's packages names that no other template has, and
// keeps it from data that is not its business.
func (t *template) move() error {
	for file, module := range t.modules {
		main := strings.HasSuffix(file, "/template.rego")
		if !main && !isLib(module.Package.Path) {
			return fmt.Errorf("%s: a library's package must be lib or below lib, not %s", file, module.Package.Path)
		}
		if main && len(rulesNamed(module, "violation")) == 0 {
			return fmt.Errorf("%s: it has no rule violation", file)
		}
		if err := moveRefs(t.kind, module); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if main {
			module.Package.Path = templatePath(t.kind)
		} else {
			module.Package.Path = libPath(t.kind, module.Package.Path)
		}
	}
	return nil
}

func rulesNamed(module *ast.Module, name string) []*ast.Rule {
	var found []*ast.Rule
	for _, rule := range module.Rules {
		if rule.Head.Ref()[0].String() == name {
			found = append(found, rule)
		}
	}
	return found
}

// moveRefs makes references to libraries follow them. Only libraries and
// data.inventory may be referred to, as in Gatekeeper.
func moveRefs(kind string, module *ast.Module) error {
	_, err := ast.TransformRefs(module, func(ref ast.Ref) (ast.Value, error) {
		switch {
		case !ref.HasPrefix(ast.DefaultRootRef) || isPackage(module, ref):
			return ref, nil
		case isLib(ref):
			return libPath(kind, ref), nil
		case len(ref) > 1 && ref[1].Equal(ast.StringTerm("inventory")):
			return ref, nil
		}
		return nil, fmt.Errorf("%s: a template may refer to data.lib and data.inventory only", ref)
	})
	return err
}

// isPackage: the package statement is a reference as well.
func isPackage(module *ast.Module, ref ast.Ref) bool {
	return module.Package.Path.Equal(ref) && !isLib(ref)
}

func isLib(ref ast.Ref) bool { return len(ref) > 1 && ref[1].Equal(ast.StringTerm("lib")) }

func templatePath(kind string) ast.Ref {
	return ast.Ref{ast.DefaultRootDocument, ast.StringTerm("templates"), ast.StringTerm(kind)}
}

// libPath moves data.lib.x to data.libs.<kind>.x; what is moved stays.
func libPath(kind string, ref ast.Ref) ast.Ref {
	if !isLib(ref) {
		return ref
	}
	return append(ast.Ref{ast.DefaultRootDocument, ast.StringTerm("libs"), ast.StringTerm(kind)}, ref[2:]...)
}
