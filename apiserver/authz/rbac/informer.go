package rbac

import (
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"github.com/yare-io/yare/apiserver/authz/follow"
)

// Follow keeps the authorizer equal to what the factory's informers see. The
// factory's owner starts and stops it. The returned function reports whether
// all that was there at the start has arrived.
func (a *Authorizer) Follow(factory informers.SharedInformerFactory) (synced cache.InformerSynced, err error) {
	rbac := factory.Rbac().V1()
	return follow.All(
		follow.Of(rbac.ClusterRoles().Informer(),
			func(r *rbacv1.ClusterRole) { a.SetRole("", r.Name, r.Rules) },
			func(r *rbacv1.ClusterRole) { a.DeleteRole("", r.Name) }),
		follow.Of(rbac.Roles().Informer(),
			func(r *rbacv1.Role) { a.SetRole(r.Namespace, r.Name, r.Rules) },
			func(r *rbacv1.Role) { a.DeleteRole(r.Namespace, r.Name) }),
		follow.Of(rbac.ClusterRoleBindings().Informer(),
			func(b *rbacv1.ClusterRoleBinding) { a.SetBinding("", b.Name, b.RoleRef, b.Subjects) },
			func(b *rbacv1.ClusterRoleBinding) { a.DeleteBinding("", b.Name) }),
		follow.Of(rbac.RoleBindings().Informer(),
			func(b *rbacv1.RoleBinding) { a.SetBinding(b.Namespace, b.Name, b.RoleRef, b.Subjects) },
			func(b *rbacv1.RoleBinding) { a.DeleteBinding(b.Namespace, b.Name) }),
	)
}
