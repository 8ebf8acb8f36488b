// Package clusterroles fills cluster roles that have an aggregation rule with the
// rules of the roles it selects.
package clusterroles

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	rbaclisters "k8s.io/client-go/listers/rbac/v1"

	"github.com/yare-io/yare/controllers/worker"
)

type controller struct {
	env   *worker.Env
	roles rbaclisters.ClusterRoleLister
}

// New makes the cluster role aggregation controller.
func New(env *worker.Env) (worker.Runner, error) {
	roles := env.Informers.Rbac().V1().ClusterRoles()
	c := &controller{env: env, roles: roles.Lister()}
	loop := worker.NewLoop(env, worker.Options[worker.Key]{Queue: "ClusterRoleAggregator", Workers: env.Workers, Reconcile: c.reconcile})
	worker.Watch(loop, roles.Informer(), func(_, _ *rbacv1.ClusterRole) {
		all, err := c.roles.List(labels.Everything())
		if err != nil {
			return
		}
		for _, role := range all {
			if role.AggregationRule != nil {
				loop.Add(worker.KeyOf(role))
			}
		}
	})
	return loop, nil
}

func (c *controller) reconcile(ctx context.Context, key worker.Key) error {
	role, err := c.roles.Get(key.Name)
	if apierrors.IsNotFound(err) || err == nil && role.AggregationRule == nil {
		return nil
	}
	if err != nil {
		return err
	}
	all, err := c.roles.List(labels.Everything())
	if err != nil {
		return err
	}
	rules, err := aggregate(role, all)
	if err != nil || equality.Semantic.DeepEqual(rules, role.Rules) {
		return err
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": role.ResourceVersion}, "rules": rules,
	})
	if err != nil {
		return err
	}
	_, err = c.env.Client.RbacV1().ClusterRoles().Patch(ctx, role.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

// aggregate returns the rules of all roles the rule selects, each once, by the
// roles' names.
func aggregate(role *rbacv1.ClusterRole, all []*rbacv1.ClusterRole) ([]rbacv1.PolicyRule, error) {
	sorted := slices.SortedFunc(slices.Values(all), func(a, b *rbacv1.ClusterRole) int { return strings.Compare(a.Name, b.Name) })
	rules := []rbacv1.PolicyRule{}
	for i := range role.AggregationRule.ClusterRoleSelectors {
		selector, err := metav1.LabelSelectorAsSelector(&role.AggregationRule.ClusterRoleSelectors[i])
		if err != nil {
			return nil, fmt.Errorf("selector of cluster role %s: %w", role.Name, err)
		}
		for _, other := range sorted {
			if other.Name == role.Name || !selector.Matches(labels.Set(other.Labels)) {
				continue
			}
			for _, rule := range other.Rules {
				if !slices.ContainsFunc(rules, func(have rbacv1.PolicyRule) bool { return equality.Semantic.DeepEqual(have, rule) }) {
					rules = append(rules, rule)
				}
			}
		}
	}
	return rules, nil
}
