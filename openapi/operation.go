package openapi

import (
	"cmp"
	"slices"
	"strings"
	"unicode"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// endpoint is one path with all its operations, in the terms of neither
// version of OpenAPI.
type endpoint struct {
	path string
	// params are common to all operations.
	params     []param
	operations []operation
}

type operation struct {
	// method in lower case.
	method, id, description string
	tag                     string
	// action and kind go into extensions; empty: none.
	action string
	kind   schema.GroupVersionKind

	params []param
	body   *body
	// produces are the media types of the replies.
	produces  []string
	responses []response
}

type param struct {
	name, in, kind, description string
}

// body is what a request carries; model names its schema.
type body struct {
	model    string
	required bool
	consumes []string
}

// response is a reply; without a model it is a text.
type response struct {
	code        int
	description string
	model       string
}

type groupVersionKind struct {
	Group   string `json:"group"`
	Version string `json:"version"`
	Kind    string `json:"kind"`
}

// liftCommon moves parameters that all operations have to the endpoint.
func (e *endpoint) liftCommon() {
	seen := map[param]int{}
	for _, op := range e.operations {
		for _, p := range op.params {
			seen[p]++
		}
	}
	common := func(p param) bool { return seen[p] == len(e.operations) }
	for p := range seen {
		if common(p) {
			e.params = append(e.params, p)
		}
	}
	sortParams(e.params)
	for i := range e.operations {
		op := &e.operations[i]
		op.params = slices.DeleteFunc(op.params, common)
		sortParams(op.params)
	}
}

func sortParams(params []param) {
	slices.SortFunc(params, func(a, b param) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.in, b.in))
	})
}

// modelNames returns the names of all models that endpoints refer to.
func modelNames(endpoints []endpoint) map[string]bool {
	names := map[string]bool{}
	for _, e := range endpoints {
		for _, op := range e.operations {
			if op.body != nil {
				names[op.body.model] = true
			}
			for _, r := range op.responses {
				names[r.model] = true
			}
		}
	}
	delete(names, "")
	return names
}

// camel makes a valid part of an operation's id: letters and digits, each
// separated word with a capital; upper says whether the first one has one too.
func camel(s string, upper bool) string {
	var b strings.Builder
	for i, r := range s {
		if !unicode.IsLetter(r) && r != '_' && (i == 0 || !unicode.IsDigit(r)) {
			upper = true
			continue
		}
		if upper {
			r, upper = unicode.ToUpper(r), false
		}
		b.WriteRune(r)
	}
	return b.String()
}

// groupName is how operation ids and tags call a group.
func groupName(group string) string {
	if group == "" {
		return "core"
	}
	return strings.TrimSuffix(group, ".k8s.io")
}

func title(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// article is what stands between a verb and a kind.
func article(kind string) string {
	switch {
	case strings.HasSuffix(kind, "s") && !strings.HasSuffix(kind, "ss"):
		return " "
	case strings.ContainsAny(kind[:1], "AEIOUaeiou"):
		return " an "
	default:
		return " a "
	}
}
