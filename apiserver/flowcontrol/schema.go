package flowcontrol

import (
	"cmp"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/user"
)

// schema is a flow schema, with what it takes to match and to count.
type schema struct {
	placement     Placement
	level         *level
	distinguisher flowcontrolv1.FlowDistinguisherMethodType
	rules         []flowcontrolv1.PolicyRulesWithSubjects
	seed          uint64

	metrics                                          *metrics
	dispatched                                       prometheus.Counter
	waited, ranReading, ranWriting                   prometheus.Observer
	queueLengthOnJoin, estimated, watchers           prometheus.Observer
	executing, executingSeats, inqueue, inqueueSeats prometheus.Gauge
}

// sorted returns schemas in the order in which they are tried.
func sorted(schemas []*flowcontrolv1.FlowSchema) []*flowcontrolv1.FlowSchema {
	out := slices.Clone(schemas)
	slices.SortFunc(out, func(a, b *flowcontrolv1.FlowSchema) int {
		return cmp.Or(cmp.Compare(a.Spec.MatchingPrecedence, b.Spec.MatchingPrecedence), cmp.Compare(a.Name, b.Name))
	})
	return out
}

func (c *Controller) newSchema(config *flowcontrolv1.FlowSchema, l *level) *schema {
	s := &schema{
		placement: Placement{Schema: config.Name, SchemaUID: string(config.UID), Level: l.name, LevelUID: l.uid},
		level:     l, rules: config.Spec.Rules, seed: hash(offset, config.Name), metrics: c.metrics,
	}
	if m := config.Spec.DistinguisherMethod; m != nil {
		s.distinguisher = m.Type
	}
	c.metrics.attach(s)
	return s
}

// classify finds the schema of a request. The catch-all schema is always
// there, and matches whoever is authenticated or anonymous; the last schema is
// for who is neither.
func (s *state) classify(r *Request) *schema {
	for _, schema := range s.schemas {
		if schema.matches(r) {
			return schema
		}
	}
	return s.schemas[len(s.schemas)-1]
}

func (s *schema) matches(r *Request) bool {
	for i := range s.rules {
		if rule := &s.rules[i]; matchesAny(rule.Subjects, r.User) && covers(rule, r) {
			return true
		}
	}
	return false
}

func matchesAny(subjects []flowcontrolv1.Subject, who user.Info) bool {
	if who == nil {
		return false
	}
	for i := range subjects {
		switch subject := &subjects[i]; subject.Kind {
		case flowcontrolv1.SubjectKindUser:
			if subject.User != nil && (subject.User.Name == "*" || subject.User.Name == who.GetName()) {
				return true
			}
		case flowcontrolv1.SubjectKindGroup:
			if subject.Group != nil && (subject.Group.Name == "*" || slices.Contains(who.GetGroups(), subject.Group.Name)) {
				return true
			}
		case flowcontrolv1.SubjectKindServiceAccount:
			if subject.ServiceAccount != nil && matchesAccount(subject.ServiceAccount, who.GetName()) {
				return true
			}
		}
	}
	return false
}

func matchesAccount(account *flowcontrolv1.ServiceAccountSubject, name string) bool {
	if account.Name == "*" {
		namespace, _, err := serviceaccount.SplitUsername(name)
		return err == nil && namespace == account.Namespace
	}
	return serviceaccount.MatchesUsername(account.Namespace, account.Name, name)
}

func covers(rule *flowcontrolv1.PolicyRulesWithSubjects, r *Request) bool {
	if r.Info.IsResource {
		for i := range rule.ResourceRules {
			if coversResource(&rule.ResourceRules[i], r) {
				return true
			}
		}
		return false
	}
	for i := range rule.NonResourceRules {
		if n := &rule.NonResourceRules[i]; has(n.Verbs, r.Info.Verb) && coversPath(n.NonResourceURLs, r.Info.Path) {
			return true
		}
	}
	return false
}

func coversResource(rule *flowcontrolv1.ResourcePolicyRule, r *Request) bool {
	info := r.Info
	if !has(rule.Verbs, info.Verb) || !has(rule.APIGroups, info.Group) || !coversName(rule.Resources, info.Resource, info.Subresource) {
		return false
	}
	if info.Namespace == "" {
		return rule.ClusterScope
	}
	return has(rule.Namespaces, info.Namespace)
}

// coversName compares resources and subresources, which rules write with a
// slash, without joining the two.
func coversName(names []string, resource, subresource string) bool {
	if subresource == "" {
		return has(names, resource)
	}
	for _, name := range names {
		if name == "*" {
			return true
		}
		if rest, ok := strings.CutPrefix(name, resource); ok && len(rest) > 0 && rest[0] == '/' && rest[1:] == subresource {
			return true
		}
	}
	return false
}

func coversPath(urls []string, path string) bool {
	for _, url := range urls {
		if url == "*" || url == path {
			return true
		}
		if prefix, ok := strings.CutSuffix(url, "*"); ok && strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}

// has reports whether a list has a value, or all.
func has(list []string, value string) bool {
	for _, entry := range list {
		if entry == "*" || entry == value {
			return true
		}
	}
	return false
}

// flow is the hash of the flow that a request is of.
func (s *schema) flow(r *Request) uint64 {
	switch s.distinguisher {
	case flowcontrolv1.FlowDistinguisherMethodByUserType:
		return hash(s.seed, r.User.GetName())
	case flowcontrolv1.FlowDistinguisherMethodByNamespaceType:
		return hash(s.seed, r.Info.Namespace)
	}
	return s.seed
}

const (
	offset = 14695981039346656037
	prime  = 1099511628211
)

// hash is 64-bit FNV-1a, mixed so that its high bits are as good as its low
// ones.
func hash(seed uint64, text string) uint64 {
	h := seed
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * prime
	}
	h ^= h >> 32
	return h * prime
}
