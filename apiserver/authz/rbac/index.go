package rbac

import (
	"fmt"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
)

const (
	clusterRole        = "ClusterRole"
	clusterRoleBinding = "ClusterRoleBinding"
	roleBinding        = "RoleBinding"
)

// roleKey names a role; the namespace of a cluster role is empty.
type roleKey struct{ kind, namespace, name string }

type bindingKey struct{ namespace, name string }

// role is what bindings point at, so that a role's change touches no binding.
type role struct {
	key    roleKey
	exists bool
	source []rbacv1.PolicyRule
	rules  compiledRules
	bound  int // bindings that refer to it
}

// binding remembers where its grants are, to take them out again.
type binding struct {
	role *role
	in   []place
}

type place struct {
	group   bool
	subject string
}

// grant gives a role to one subject; reason is ready to be shown.
type grant struct {
	binding bindingKey
	role    *role
	reason  string
}

// subjects holds the grants of each subject by namespace; those of cluster
// role bindings are under the empty one.
type subjects map[string]map[string][]grant

func (s subjects) grants(subject, namespace string) []grant {
	return s[subject][namespace]
}

func (s subjects) add(subject, namespace string, g grant) {
	byNamespace := s[subject]
	if byNamespace == nil {
		byNamespace = map[string][]grant{}
		s[subject] = byNamespace
	}
	byNamespace[namespace] = append(byNamespace[namespace], g)
}

func (s subjects) remove(subject string, key bindingKey) {
	byNamespace := s[subject]
	left := slices.DeleteFunc(byNamespace[key.namespace], func(g grant) bool { return g.binding == key })
	if len(left) > 0 {
		byNamespace[key.namespace] = left
		return
	}
	delete(byNamespace, key.namespace)
	if len(byNamespace) == 0 {
		delete(s, subject)
	}
}

// SetRole adds or replaces a role; an empty namespace makes it a cluster role.
// The rules are kept: do not change them afterwards.
func (a *Authorizer) SetRole(namespace, name string, rules []rbacv1.PolicyRule) {
	compiled := compile(rules)
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.role(roleKeyFor(namespace, name))
	r.exists, r.source, r.rules = true, rules, compiled
}

// DeleteRole removes a role; bindings to it then grant nothing.
func (a *Authorizer) DeleteRole(namespace, name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, ok := a.roles[roleKeyFor(namespace, name)]
	if !ok {
		return
	}
	r.exists, r.source, r.rules = false, nil, compiledRules{}
	a.forget(r)
}

// SetBinding adds or replaces a binding; an empty namespace makes it a cluster
// role binding.
func (a *Authorizer) SetBinding(namespace, name string, ref rbacv1.RoleRef, to []rbacv1.Subject) {
	key := bindingKey{namespace, name}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.deleteBinding(key)
	b := &binding{role: a.role(keyOf(ref, namespace))}
	b.role.bound++
	a.bindings[key] = b
	for _, subject := range to {
		where, ok := placeOf(subject, namespace)
		if !ok || slices.Contains(b.in, where) {
			continue
		}
		b.in = append(b.in, where)
		a.subjects(where).add(where.subject, namespace, grant{binding: key, role: b.role, reason: reason(key, ref, subject)})
	}
}

// DeleteBinding removes a binding.
func (a *Authorizer) DeleteBinding(namespace, name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.deleteBinding(bindingKey{namespace, name})
}

func (a *Authorizer) deleteBinding(key bindingKey) {
	b, ok := a.bindings[key]
	if !ok {
		return
	}
	for _, where := range b.in {
		a.subjects(where).remove(where.subject, key)
	}
	delete(a.bindings, key)
	b.role.bound--
	a.forget(b.role)
}

func (a *Authorizer) role(key roleKey) *role {
	r, ok := a.roles[key]
	if !ok {
		r = &role{key: key}
		a.roles[key] = r
	}
	return r
}

func (a *Authorizer) forget(r *role) {
	if !r.exists && r.bound == 0 {
		delete(a.roles, r.key)
	}
}

func (a *Authorizer) subjects(p place) subjects {
	if p.group {
		return a.groups
	}
	return a.users
}

// placeOf finds where the grants of a subject are kept. Service accounts are
// users by another name; a cluster role binding must say their namespace.
func placeOf(s rbacv1.Subject, namespace string) (place, bool) {
	switch s.Kind {
	case rbacv1.UserKind:
		return place{false, s.Name}, true
	case rbacv1.GroupKind:
		return place{true, s.Name}, true
	case rbacv1.ServiceAccountKind:
		if s.Namespace != "" {
			namespace = s.Namespace
		}
		return place{false, serviceaccount.MakeUsername(namespace, s.Name)}, namespace != ""
	}
	return place{}, false
}

func keyOf(ref rbacv1.RoleRef, namespace string) roleKey {
	if ref.Kind == clusterRole {
		namespace = ""
	}
	return roleKey{ref.Kind, namespace, ref.Name}
}

func roleKeyFor(namespace, name string) roleKey {
	if namespace == "" {
		return roleKey{clusterRole, "", name}
	}
	return roleKey{"Role", namespace, name}
}

func reason(key bindingKey, ref rbacv1.RoleRef, subject rbacv1.Subject) string {
	kind, name := clusterRoleBinding, key.name
	if key.namespace != "" {
		kind, name = roleBinding, key.name+"/"+key.namespace
	}
	who := subject.Name
	if subject.Kind == rbacv1.ServiceAccountKind {
		namespace := subject.Namespace
		if namespace == "" {
			namespace = key.namespace
		}
		who += "/" + namespace
	}
	return fmt.Sprintf("RBAC: allowed by %s %q of %s %q to %s %q", kind, name, ref.Kind, ref.Name, subject.Kind, who)
}
