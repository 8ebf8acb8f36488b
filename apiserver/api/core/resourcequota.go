package core

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/podspec"
	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
	"github.com/yare-io/yare/apiserver/registry"
)

func resourceQuotas() *registry.Resource {
	return &registry.Resource{
		Kind: kind("ResourceQuota"), Name: "resourcequotas", Singular: "resourcequota", ShortNames: []string{"quota"}, Namespaced: true,
		Verbs: row.AllVerbs(), StoragePrefix: "resourcequotas", New: row.New[corev1.ResourceQuota], NewList: row.New[corev1.ResourceQuotaList],
		Strategy: registry.Strategy{
			Default:          registry.Do(defaultQuota),
			PrepareForCreate: registry.Prepare(func(q *corev1.ResourceQuota) { q.Status = corev1.ResourceQuotaStatus{} }),
			PrepareForUpdate: registry.PrepareUpdate(func(q, old *corev1.ResourceQuota) { q.Status = old.Status }),
			Validate:         registry.Check(validateQuota),
			ValidateUpdate:   registry.CheckUpdate(validateQuotaUpdate),
		},
		Delete: registry.DeleteStrategy{ReturnObject: true},
		Columns: []registry.Column{
			row.NameColumn(),
			row.Text("Request", func(q *corev1.ResourceQuota) any { return quotaCell(q, false) }),
			row.Text("Limit", func(q *corev1.ResourceQuota) any { return quotaCell(q, true) }),
			row.AgeColumn(),
		},
		Subresources: []registry.Subresource{row.Status(registry.Strategy{
			Default:          registry.Do(defaultQuota),
			PrepareForUpdate: registry.PrepareUpdate(func(q, old *corev1.ResourceQuota) { q.Spec = old.Spec }),
			ValidateUpdate:   registry.CheckUpdate(validateQuotaStatus),
		})},
	}
}

func defaultQuota(q *corev1.ResourceQuota) {
	podspec.RoundUp(q.Spec.Hard)
	podspec.RoundUp(q.Status.Hard)
	podspec.RoundUp(q.Status.Used)
}

func validateQuota(q *corev1.ResourceQuota) field.ErrorList {
	spec := field.NewPath("spec")
	errs := validateQuotaList(spec.Child("hard"), q.Spec.Hard)
	errs = append(errs, validateScopes(spec, q)...)
	return append(errs, validateScopeSelector(spec.Child("scopeSelector", "matchExpressions"), q)...)
}

func validateQuotaList(at *field.Path, list corev1.ResourceList) field.ErrorList {
	var errs field.ErrorList
	for name, amount := range list {
		p := at.Key(string(name))
		errs = append(errs, podspec.ValidateResourceName(p, name)...)
		errs = append(errs, podspec.ValidateAmount(p, name, amount)...)
		if countedQuota(name) && amount.MilliValue()%1000 != 0 {
			errs = append(errs, field.Invalid(p, amount.String(), "must be an integer"))
		}
	}
	return errs
}

var countedObjects = sets.New(corev1.ResourcePods, corev1.ResourceQuotas, corev1.ResourceServices, corev1.ResourceReplicationControllers,
	corev1.ResourceSecrets, corev1.ResourceConfigMaps, corev1.ResourcePersistentVolumeClaims, corev1.ResourceServicesNodePorts, corev1.ResourceServicesLoadBalancers)

func countedQuota(name corev1.ResourceName) bool {
	return countedObjects.Has(name) || strings.HasPrefix(string(name), "count/")
}

var quotaScopes = sets.New(corev1.ResourceQuotaScopeTerminating, corev1.ResourceQuotaScopeNotTerminating, corev1.ResourceQuotaScopeBestEffort,
	corev1.ResourceQuotaScopeNotBestEffort, corev1.ResourceQuotaScopePriorityClass, corev1.ResourceQuotaScopeCrossNamespacePodAffinity,
	corev1.ResourceQuotaScopeVolumeAttributesClass)

func validateScopes(spec *field.Path, q *corev1.ResourceQuota) field.ErrorList {
	at := spec.Child("scopes")
	var errs field.ErrorList
	scopes := sets.New(q.Spec.Scopes...)
	for _, s := range q.Spec.Scopes {
		if !quotaScopes.Has(s) {
			errs = append(errs, field.Invalid(at, q.Spec.Scopes, "unsupported scope"))
		}
	}
	for _, pair := range [][2]corev1.ResourceQuotaScope{
		{corev1.ResourceQuotaScopeBestEffort, corev1.ResourceQuotaScopeNotBestEffort},
		{corev1.ResourceQuotaScopeTerminating, corev1.ResourceQuotaScopeNotTerminating},
	} {
		if scopes.HasAll(pair[0], pair[1]) {
			errs = append(errs, field.Invalid(at, q.Spec.Scopes, "conflicting scopes"))
		}
	}
	return errs
}

func validateScopeSelector(at *field.Path, q *corev1.ResourceQuota) field.ErrorList {
	if q.Spec.ScopeSelector == nil {
		return nil
	}
	var errs field.ErrorList
	for i, r := range q.Spec.ScopeSelector.MatchExpressions {
		p := at.Index(i)
		if !quotaScopes.Has(r.ScopeName) {
			errs = append(errs, field.Invalid(p.Child("scopeName"), r.ScopeName, "unsupported scope"))
		}
		switch r.Operator {
		case corev1.ScopeSelectorOpIn, corev1.ScopeSelectorOpNotIn:
			if len(r.Values) == 0 {
				errs = append(errs, field.Required(p.Child("values"), "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"))
			}
		case corev1.ScopeSelectorOpExists, corev1.ScopeSelectorOpDoesNotExist:
			if len(r.Values) > 0 {
				errs = append(errs, field.Invalid(p.Child("values"), r.Values, "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"))
			}
		default:
			errs = append(errs, field.Invalid(p.Child("operator"), r.Operator, "not a valid selector operator"))
		}
	}
	return errs
}

func validateQuotaUpdate(q, old *corev1.ResourceQuota) field.ErrorList {
	errs := validateQuota(q)
	if !apiequality.Semantic.DeepEqual(sets.New(q.Spec.Scopes...), sets.New(old.Spec.Scopes...)) {
		errs = append(errs, field.Invalid(field.NewPath("spec", "scopes"), q.Spec.Scopes, apivalidation.FieldImmutableErrorMsg))
	}
	return append(errs, rule.Immutable(field.NewPath("spec", "scopeSelector"), q.Spec.ScopeSelector, old.Spec.ScopeSelector)...)
}

func validateQuotaStatus(q, _ *corev1.ResourceQuota) field.ErrorList {
	status := field.NewPath("status")
	errs := validateQuotaList(status.Child("hard"), q.Status.Hard)
	return append(errs, validateQuotaList(status.Child("used"), q.Status.Used)...)
}

// quotaCell shows what is used of what, limits apart from all else.
func quotaCell(q *corev1.ResourceQuota, limits bool) string {
	var names []string
	for name := range q.Status.Hard {
		if strings.HasPrefix(string(name), "limits.") == limits {
			names = append(names, string(name))
		}
	}
	slices.Sort(names)
	for i, name := range names {
		hard, used := q.Status.Hard[corev1.ResourceName(name)], q.Status.Used[corev1.ResourceName(name)]
		names[i] = fmt.Sprintf("%s: %s/%s", name, used.String(), hard.String())
	}
	return strings.Join(names, ", ")
}
