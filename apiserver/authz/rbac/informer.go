package rbac

import (
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
)

// Follow keeps the authorizer equal to what the factory's informers see. The
// factory's owner starts and stops it. The returned function reports whether
// all that was there at the start has arrived.
func (a *Authorizer) Follow(factory informers.SharedInformerFactory) (synced cache.InformerSynced, err error) {
	rbac := factory.Rbac().V1()
	follow := []struct {
		informer    cache.SharedIndexInformer
		set, delete func(object any)
	}{
		{rbac.ClusterRoles().Informer(), func(object any) {
			r := object.(*rbacv1.ClusterRole)
			a.SetRole("", r.Name, r.Rules)
		}, func(object any) {
			a.DeleteRole("", object.(*rbacv1.ClusterRole).Name)
		}},
		{rbac.Roles().Informer(), func(object any) {
			r := object.(*rbacv1.Role)
			a.SetRole(r.Namespace, r.Name, r.Rules)
		}, func(object any) {
			r := object.(*rbacv1.Role)
			a.DeleteRole(r.Namespace, r.Name)
		}},
		{rbac.ClusterRoleBindings().Informer(), func(object any) {
			b := object.(*rbacv1.ClusterRoleBinding)
			a.SetBinding("", b.Name, b.RoleRef, b.Subjects)
		}, func(object any) {
			a.DeleteBinding("", object.(*rbacv1.ClusterRoleBinding).Name)
		}},
		{rbac.RoleBindings().Informer(), func(object any) {
			b := object.(*rbacv1.RoleBinding)
			a.SetBinding(b.Namespace, b.Name, b.RoleRef, b.Subjects)
		}, func(object any) {
			b := object.(*rbacv1.RoleBinding)
			a.DeleteBinding(b.Namespace, b.Name)
		}},
	}
	var arrived []cache.InformerSynced
	for _, f := range follow {
		registration, err := f.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    f.set,
			UpdateFunc: func(_, object any) { f.set(object) },
			DeleteFunc: func(object any) {
				if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
					object = gone.Obj
				}
				f.delete(object)
			},
		})
		if err != nil {
			return nil, err
		}
		arrived = append(arrived, registration.HasSynced)
	}
	return func() bool {
		for _, has := range arrived {
			if !has() {
				return false
			}
		}
		return true
	}, nil
}
