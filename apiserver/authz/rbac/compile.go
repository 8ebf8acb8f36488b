package rbac

import (
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// verbBits gives each usual verb a bit, so that most rules are told from a
// request by one AND. All other verbs share the last bit and are then compared
// by name.
var verbBits = map[string]uint32{
	"get": 1 << 0, "list": 1 << 1, "watch": 1 << 2, "create": 1 << 3, "update": 1 << 4,
	"patch": 1 << 5, "delete": 1 << 6, "deletecollection": 1 << 7,
	"post": 1 << 8, "put": 1 << 9, "head": 1 << 10, "options": 1 << 11,
}

const (
	otherVerb uint32 = 1 << 31
	allVerbs  uint32 = 1<<32 - 1
)

func verbBit(verb string) uint32 {
	if bit, ok := verbBits[verb]; ok {
		return bit
	}
	return otherVerb
}

// query is a request prepared for comparison with many rules.
type query struct {
	resourceRequest        bool
	verb                   string
	bit                    uint32
	namespace, group, name string
	resource, subresource  string // resource includes "/subresource"
	path                   string
}

func newQuery(a authorizer.Attributes) query {
	q := query{resourceRequest: a.IsResourceRequest(), verb: a.GetVerb(), bit: verbBit(a.GetVerb())}
	if !q.resourceRequest {
		q.path = a.GetPath()
		return q
	}
	q.namespace, q.group, q.name = a.GetNamespace(), a.GetAPIGroup(), a.GetName()
	q.resource, q.subresource = a.GetResource(), a.GetSubresource()
	if q.subresource != "" {
		q.resource += "/" + q.subresource
	}
	return q
}

// compiledRules are the rules of one role; verbs is the sum of all of theirs.
type compiledRules struct {
	verbs uint32
	rules []rule
}

type rule struct {
	verbs uint32
	// others are the verbs behind otherVerb; nil with that bit set: any.
	others       []string
	allGroups    bool
	groups       []string
	allResources bool
	resources    []string
	// subresources are those of "*/subresource".
	subresources []string
	names        []string // empty: any
	paths        []string
	pathPrefixes []string // "" is any path
}

func compile(source []rbacv1.PolicyRule) compiledRules {
	compiled := compiledRules{rules: make([]rule, 0, len(source))}
	for _, s := range source {
		r := compileRule(s)
		compiled.verbs |= r.verbs
		compiled.rules = append(compiled.rules, r)
	}
	return compiled
}

func compileRule(s rbacv1.PolicyRule) rule {
	r := rule{names: s.ResourceNames}
	if slices.Contains(s.Verbs, rbacv1.VerbAll) {
		r.verbs = allVerbs
	} else {
		for _, verb := range s.Verbs {
			bit := verbBit(verb)
			r.verbs |= bit
			if bit == otherVerb {
				r.others = append(r.others, verb)
			}
		}
	}
	r.allGroups, r.groups = slices.Contains(s.APIGroups, rbacv1.APIGroupAll), s.APIGroups
	r.allResources, r.resources = slices.Contains(s.Resources, rbacv1.ResourceAll), s.Resources
	for _, resource := range s.Resources {
		if sub, ok := strings.CutPrefix(resource, "*/"); ok && sub != "" {
			r.subresources = append(r.subresources, sub)
		}
	}
	for _, path := range s.NonResourceURLs {
		if strings.HasSuffix(path, "*") {
			r.pathPrefixes = append(r.pathPrefixes, strings.TrimRight(path, "*"))
		} else {
			r.paths = append(r.paths, path)
		}
	}
	return r
}

func (c *compiledRules) allow(q *query) bool {
	if c.verbs&q.bit == 0 {
		return false
	}
	for i := range c.rules {
		if c.rules[i].allows(q) {
			return true
		}
	}
	return false
}

func (r *rule) allows(q *query) bool {
	if r.verbs&q.bit == 0 || q.bit == otherVerb && r.others != nil && !slices.Contains(r.others, q.verb) {
		return false
	}
	if !q.resourceRequest {
		return r.allowsPath(q.path)
	}
	if !r.allGroups && !slices.Contains(r.groups, q.group) {
		return false
	}
	if !r.allResources && !slices.Contains(r.resources, q.resource) &&
		(q.subresource == "" || !slices.Contains(r.subresources, q.subresource)) {
		return false
	}
	return len(r.names) == 0 || slices.Contains(r.names, q.name)
}

func (r *rule) allowsPath(path string) bool {
	return slices.Contains(r.paths, path) ||
		slices.ContainsFunc(r.pathPrefixes, func(prefix string) bool { return strings.HasPrefix(path, prefix) })
}

// Rules are compiled rules for those who
// have no bindings. They are safe for concurrent use.
type Rules struct{ compiled compiledRules }

// CompileRules prepares rules; they are kept: do not change them afterwards.
func CompileRules(source []rbacv1.PolicyRule) *Rules { return &Rules{compile(source)} }

// Allow reports whether any of the rules allows the request.
func (r *Rules) Allow(a authorizer.Attributes) bool {
	q := newQuery(a)
	return r.compiled.allow(&q)
}
