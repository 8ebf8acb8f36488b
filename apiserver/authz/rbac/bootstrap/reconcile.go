package bootstrap

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"

	"github.com/yare-io/yare/apiserver/authz/rbac"
)

// writers is how many objects are written at once; the store groups them.
const writers = 16

// Reconcile creates what is missing of the policy, and adds missing rules,
// subjects, labels and annotations to what is there; it removes nothing, and
// leaves objects alone that are annotated against it. Aggregated roles get
// their rules. It reads one list of each kind (and namespace), so that a
// cluster that has everything costs no write. The client must be
// allowed everything. It is safe to call on every start, by many servers.
func (p *Policy) Reconcile(ctx context.Context, client kubernetes.Interface) error {
	steps := []func(context.Context, kubernetes.Interface) error{
		p.clusterRoles, p.clusterRoleBindings, p.namespaced, aggregate,
	}
	for _, step := range steps {
		if err := step(ctx, client); err != nil {
			return fmt.Errorf("bootstrap RBAC policy: %w", err)
		}
	}
	return nil
}

func (p *Policy) clusterRoles(ctx context.Context, client kubernetes.Interface) error {
	api := client.RbacV1().ClusterRoles()
	list, err := api.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	return reconcileAll(ctx, list.Items, p.ClusterRoles, kind[rbacv1.ClusterRole, *rbacv1.ClusterRole]{
		client: api, merge: mergeClusterRole,
	})
}

func (p *Policy) clusterRoleBindings(ctx context.Context, client kubernetes.Interface) error {
	api := client.RbacV1().ClusterRoleBindings()
	list, err := api.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	return reconcileAll(ctx, list.Items, p.ClusterRoleBindings, kind[rbacv1.ClusterRoleBinding, *rbacv1.ClusterRoleBinding]{
		client: api,
		replace: func(have, want *rbacv1.ClusterRoleBinding) bool {
			return !protected(have.ObjectMeta) && have.RoleRef != want.RoleRef
		},
		merge: func(have, want *rbacv1.ClusterRoleBinding) (*rbacv1.ClusterRoleBinding, bool) {
			if protected(have.ObjectMeta) {
				return have, false
			}
			merged := have.DeepCopy()
			changed := mergeMeta(&merged.ObjectMeta, want.ObjectMeta)
			var more bool
			merged.Subjects, more = mergeSubjects(merged.Subjects, want.Subjects)
			return merged, changed || more
		},
	})
}

// namespaced does roles and role bindings, namespace by namespace.
func (p *Policy) namespaced(ctx context.Context, client kubernetes.Interface) error {
	namespaces := map[string]bool{}
	for _, role := range p.Roles {
		namespaces[role.Namespace] = true
	}
	for namespace := range namespaces {
		if err := ensureNamespace(ctx, client, namespace); err != nil {
			return err
		}
		if err := p.roles(ctx, client, namespace); err != nil {
			return err
		}
		if err := p.roleBindings(ctx, client, namespace); err != nil {
			return err
		}
	}
	return nil
}

func ensureNamespace(ctx context.Context, client kubernetes.Interface, name string) error {
	_, err := client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		return err
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	_, err = client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func (p *Policy) roles(ctx context.Context, client kubernetes.Interface, namespace string) error {
	api := client.RbacV1().Roles(namespace)
	list, err := api.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	var want []rbacv1.Role
	for _, role := range p.Roles {
		if role.Namespace == namespace {
			want = append(want, role)
		}
	}
	return reconcileAll(ctx, list.Items, want, kind[rbacv1.Role, *rbacv1.Role]{client: api, merge: mergeRole})
}

func (p *Policy) roleBindings(ctx context.Context, client kubernetes.Interface, namespace string) error {
	api := client.RbacV1().RoleBindings(namespace)
	list, err := api.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	var want []rbacv1.RoleBinding
	for _, binding := range p.RoleBindings {
		if binding.Namespace == namespace {
			want = append(want, binding)
		}
	}
	return reconcileAll(ctx, list.Items, want, kind[rbacv1.RoleBinding, *rbacv1.RoleBinding]{
		client: api,
		replace: func(have, want *rbacv1.RoleBinding) bool {
			return !protected(have.ObjectMeta) && have.RoleRef != want.RoleRef
		},
		merge: func(have, want *rbacv1.RoleBinding) (*rbacv1.RoleBinding, bool) {
			if protected(have.ObjectMeta) {
				return have, false
			}
			merged := have.DeepCopy()
			changed := mergeMeta(&merged.ObjectMeta, want.ObjectMeta)
			var more bool
			merged.Subjects, more = mergeSubjects(merged.Subjects, want.Subjects)
			return merged, changed || more
		},
	})
}

// aggregate fills the roles that are made of others.
func aggregate(ctx context.Context, client kubernetes.Interface) error {
	// A role made of aggregated roles is right only after those are; the depth
	// of the bootstrap roles (view in edit in admin) bounds the rounds.
	for range 3 {
		changed, err := aggregateOnce(ctx, client)
		if err != nil || !changed {
			return err
		}
	}
	return nil
}

func aggregateOnce(ctx context.Context, client kubernetes.Interface) (changed bool, err error) {
	api := client.RbacV1().ClusterRoles()
	list, err := api.List(ctx, metav1.ListOptions{})
	if err != nil {
		return false, err
	}
	all := make([]*rbacv1.ClusterRole, 0, len(list.Items))
	for i := range list.Items {
		all = append(all, &list.Items[i])
	}
	for _, role := range all {
		rules, differ, err := rbac.AggregatedRules(role, all)
		if err != nil || !differ { // a selector nobody can parse is its author's
			continue
		}
		changed = true
		filled := role.DeepCopy()
		filled.Rules = rules
		if _, err := api.Update(ctx, filled, metav1.UpdateOptions{}); err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return false, fmt.Errorf("filling cluster role %s: %w", role.Name, err)
		}
	}
	return changed, nil
}

// object is a pointer to a T with metadata.
type object[T any] interface {
	*T
	metav1.Object
}

type writer[P any] interface {
	Get(ctx context.Context, name string, options metav1.GetOptions) (P, error)
	Create(ctx context.Context, object P, options metav1.CreateOptions) (P, error)
	Update(ctx context.Context, object P, options metav1.UpdateOptions) (P, error)
	Delete(ctx context.Context, name string, options metav1.DeleteOptions) error
}

// kind is how objects of one kind are brought up to date.
type kind[T any, P object[T]] struct {
	client writer[P]
	// replace tells objects that cannot be updated to what is wanted; nil: none.
	replace func(have, want P) bool
	merge   func(have, want P) (merged P, changed bool)
}

func reconcileAll[T any, P object[T]](ctx context.Context, have, want []T, k kind[T, P]) error {
	there := make(map[string]P, len(have))
	for i := range have {
		there[P(&have[i]).GetName()] = &have[i]
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(writers)
	for i := range want {
		wanted := P(&want[i])
		existing := there[wanted.GetName()]
		if existing != nil && (k.replace == nil || !k.replace(existing, wanted)) {
			if _, changed := k.merge(existing, wanted); !changed {
				continue
			}
		}
		group.Go(func() error {
			if err := k.write(ctx, existing, wanted); err != nil {
				return fmt.Errorf("%T %s: %w", *wanted, wanted.GetName(), err)
			}
			return nil
		})
	}
	return group.Wait()
}

// write makes one object as wanted, again from the start when somebody else
// was faster.
func (k kind[T, P]) write(ctx context.Context, existing, wanted P) error {
	retriable := func(err error) bool { return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) }
	first := true
	return retry.OnError(retry.DefaultRetry, retriable, func() error {
		if !first {
			var err error
			if existing, err = k.client.Get(ctx, wanted.GetName(), metav1.GetOptions{}); apierrors.IsNotFound(err) {
				existing = nil
			} else if err != nil {
				return err
			}
		}
		first = false
		return k.writeOnce(ctx, existing, wanted)
	})
}

func (k kind[T, P]) writeOnce(ctx context.Context, existing, wanted P) error {
	if existing != nil && k.replace != nil && k.replace(existing, wanted) {
		uid := existing.GetUID()
		err := k.client.Delete(ctx, existing.GetName(), metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		existing = nil
	}
	if existing == nil {
		_, err := k.client.Create(ctx, wanted, metav1.CreateOptions{})
		return err
	}
	merged, changed := k.merge(existing, wanted)
	if !changed {
		return nil
	}
	_, err := k.client.Update(ctx, merged, metav1.UpdateOptions{})
	return err
}
