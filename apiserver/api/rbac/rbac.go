// Package rbac holds the rows of the rbac.authorization.k8s.io group: roles and
// who has them. Whether the one who writes may give what is written is for
// admission to say.
package rbac

import (
	"fmt"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/validation/path"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
)

// Resources returns the rows of the group.
func Resources() []*registry.Resource {
	return []*registry.Resource{clusterRoleBindings(), clusterRoles(), roleBindings(), roles()}
}

func kind(name string) schema.GroupVersionKind { return rbacv1.SchemeGroupVersion.WithKind(name) }

func validName(name string, prefix bool) []string { return path.ValidatePathSegmentName(name, prefix) }

func roles() *registry.Resource {
	validate := func(r *rbacv1.Role) field.ErrorList { return validateRules(field.NewPath("rules"), r.Rules, true) }
	return &registry.Resource{
		Kind: kind("Role"), Name: "roles", Singular: "role", Namespaced: true, Verbs: row.AllVerbs(), StoragePrefix: "roles",
		New: row.New[rbacv1.Role], NewList: row.New[rbacv1.RoleList],
		Strategy: registry.Strategy{
			Validate:       registry.Check(validate),
			ValidateUpdate: registry.CheckUpdate(func(r, _ *rbacv1.Role) field.ErrorList { return validate(r) }),
			ValidName:      validName, CreateOnUpdate: true,
		},
		Columns: []registry.Column{row.NameColumn(), row.CreatedAtColumn()},
	}
}

func clusterRoles() *registry.Resource {
	return &registry.Resource{
		Kind: kind("ClusterRole"), Name: "clusterroles", Singular: "clusterrole", Verbs: row.AllVerbs(), StoragePrefix: "clusterroles",
		New: row.New[rbacv1.ClusterRole], NewList: row.New[rbacv1.ClusterRoleList],
		Strategy: registry.Strategy{
			Validate:       registry.Check(validateClusterRole),
			ValidateUpdate: registry.CheckUpdate(func(r, _ *rbacv1.ClusterRole) field.ErrorList { return validateClusterRole(r) }),
			ValidName:      validName, CreateOnUpdate: true,
		},
		Columns: []registry.Column{row.NameColumn(), row.CreatedAtColumn()},
	}
}

func roleBindings() *registry.Resource {
	return &registry.Resource{
		Kind: kind("RoleBinding"), Name: "rolebindings", Singular: "rolebinding", Namespaced: true, Verbs: row.AllVerbs(), StoragePrefix: "rolebindings",
		New: row.New[rbacv1.RoleBinding], NewList: row.New[rbacv1.RoleBindingList],
		Strategy: registry.Strategy{
			Default: registry.Do(func(b *rbacv1.RoleBinding) { defaultBinding(&b.RoleRef, b.Subjects) }),
			Validate: registry.Check(func(b *rbacv1.RoleBinding) field.ErrorList {
				return validateBinding(b.RoleRef, b.Subjects, true)
			}),
			ValidateUpdate: registry.CheckUpdate(func(b, old *rbacv1.RoleBinding) field.ErrorList {
				return append(validateBinding(b.RoleRef, b.Subjects, true), sameRole(b.RoleRef, old.RoleRef)...)
			}),
			ValidName: validName, CreateOnUpdate: true,
		},
		Columns: bindingColumns(func(o runtime.Object) (rbacv1.RoleRef, []rbacv1.Subject) {
			b := o.(*rbacv1.RoleBinding)
			return b.RoleRef, b.Subjects
		}),
	}
}

func clusterRoleBindings() *registry.Resource {
	return &registry.Resource{
		Kind: kind("ClusterRoleBinding"), Name: "clusterrolebindings", Singular: "clusterrolebinding", Verbs: row.AllVerbs(), StoragePrefix: "clusterrolebindings",
		New: row.New[rbacv1.ClusterRoleBinding], NewList: row.New[rbacv1.ClusterRoleBindingList],
		Strategy: registry.Strategy{
			Default: registry.Do(func(b *rbacv1.ClusterRoleBinding) { defaultBinding(&b.RoleRef, b.Subjects) }),
			Validate: registry.Check(func(b *rbacv1.ClusterRoleBinding) field.ErrorList {
				return validateBinding(b.RoleRef, b.Subjects, false)
			}),
			ValidateUpdate: registry.CheckUpdate(func(b, old *rbacv1.ClusterRoleBinding) field.ErrorList {
				return append(validateBinding(b.RoleRef, b.Subjects, false), sameRole(b.RoleRef, old.RoleRef)...)
			}),
			ValidName: validName, CreateOnUpdate: true,
		},
		Columns: bindingColumns(func(o runtime.Object) (rbacv1.RoleRef, []rbacv1.Subject) {
			b := o.(*rbacv1.ClusterRoleBinding)
			return b.RoleRef, b.Subjects
		}),
	}
}

func defaultBinding(ref *rbacv1.RoleRef, subjects []rbacv1.Subject) {
	if ref.APIGroup == "" {
		ref.APIGroup = rbacv1.GroupName
	}
	for i := range subjects {
		s := &subjects[i]
		if s.APIGroup == "" && (s.Kind == rbacv1.UserKind || s.Kind == rbacv1.GroupKind) {
			s.APIGroup = rbacv1.GroupName
		}
	}
}

func bindingColumns(parts func(runtime.Object) (rbacv1.RoleRef, []rbacv1.Subject)) []registry.Column {
	subjects := func(name, kind string) registry.Column {
		return row.Wide(row.Text(name, func(o runtime.Object) any {
			_, all := parts(o)
			return subjectsCell(all, kind)
		}))
	}
	return []registry.Column{
		row.NameColumn(),
		row.Text("Role", func(o runtime.Object) any {
			ref, _ := parts(o)
			return fmt.Sprintf("%s/%s", ref.Kind, ref.Name)
		}),
		row.AgeColumn(),
		subjects("Users", rbacv1.UserKind),
		subjects("Groups", rbacv1.GroupKind),
		subjects("ServiceAccounts", rbacv1.ServiceAccountKind),
	}
}

func subjectsCell(subjects []rbacv1.Subject, kind string) string {
	var names []string
	for _, s := range subjects {
		switch {
		case s.Kind != kind:
		case kind == rbacv1.ServiceAccountKind:
			names = append(names, s.Namespace+"/"+s.Name)
		default:
			names = append(names, s.Name)
		}
	}
	return strings.Join(names, ", ")
}
