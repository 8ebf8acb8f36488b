package gatekeeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/yare-io/yare/admission/policy"
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
			Engine string          `json:"engine"`
			Source json.RawMessage `json:"source"`
		} `json:"code"`
	} `json:"targets"`
}

// regoSource is a template's code for the engine Rego.
type regoSource struct {
	Rego    string   `json:"rego"`
	Libs    []string `json:"libs"`
	Version string   `json:"version"`
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
	// expressions are there, instead of all above, when it is written in CEL.
	expressions *policy.Expressions
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
	if err := specOf(object, &spec); err != nil {
		return nil, err
	}
	kind := spec.CRD.Spec.Names.Kind
	if kind == "" || object.GetName() != strings.ToLower(kind) {
		return nil, fmt.Errorf("its name must be its kind %q in lower case", kind)
	}
	if len(spec.Targets) != 1 || spec.Targets[0].Target != admissionTarget {
		return nil, fmt.Errorf("it must have the one target %s", admissionTarget)
	}
	engines := map[string]json.RawMessage{}
	for _, code := range spec.Targets[0].Code {
		engines[code.Engine] = code.Source
	}
	if raw, ok := engines["K8sNativeValidation"]; ok {
		expressions, err := parseExpressions(raw)
		return &template{kind: kind, expressions: expressions}, err
	}
	found, err := spec.source(engines["Rego"])
	if err != nil {
		return nil, err
	}
	return newTemplate(kind, found)
}

func newTemplate(kind string, found source) (*template, error) {
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
	var err error
	t.compiler, err = compileModules(t.modules)
	return t, err
}

// source picks the Rego of the one target.
func (s *templateSpec) source(raw json.RawMessage) (source, error) {
	if raw == nil {
		target := s.Targets[0]
		if target.Rego == "" {
			return source{}, errors.New("it has neither Rego nor K8sNativeValidation")
		}
		return source{target.Rego, target.Libs, ast.RegoV0}, nil
	}
	var code regoSource
	if err := json.Unmarshal(raw, &code); err != nil {
		return source{}, err
	}
	switch code.Version {
	case "", "v0":
		return source{code.Rego, code.Libs, ast.RegoV0}, nil
	case "v1":
		return source{code.Rego, code.Libs, ast.RegoV1}, nil
	}
	return source{}, fmt.Errorf("there is no version %q of Rego, only v0 and v1", code.Version)
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
