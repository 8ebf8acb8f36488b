package customresource

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/common"
)

var errTerminating = errors.New("create not allowed while custom resource definition is terminating")

// compiled returns what validation needs.
func (v *version) compiled() (*structuralschema.Structural, *validators, field.ErrorList) {
	s, err := v.structural()
	if err != nil {
		return nil, nil, field.ErrorList{field.InternalError(nil, err)}
	}
	checks, err := v.validators()
	if err != nil {
		return nil, nil, field.ErrorList{field.InternalError(nil, err)}
	}
	return s, checks, nil
}

func (v *version) validate(ctx context.Context, obj runtime.Object) field.ErrorList {
	s, checks, errs := v.compiled()
	if errs != nil {
		return errs
	}
	c := content(obj)
	if !checks.quick.sure(c) {
		errs = append(errs, validation.ValidateCustomResource(nil, c, checks.whole)...)
	}
	errs = append(errs, v.checkScaleSpec(c)...)
	errs = append(errs, v.checkScaleStatus(c)...)
	if v.traits().embedded {
		errs = append(errs, objectmeta.Validate(ctx, nil, c, s, false)...)
	}
	if v.traits().keyed {
		errs = append(errs, listtype.ValidateListSetsAndMaps(nil, s, c)...)
	}
	return append(errs, checks.evaluate(ctx, s, c, nil, errs)...)
}

// validateUpdate ratchets, as Kubernetes does: what was wrong before and has
// not changed is let pass.
func (v *version) validateUpdate(ctx context.Context, obj, old runtime.Object) field.ErrorList {
	s, checks, errs := v.compiled()
	if errs != nil {
		return errs
	}
	c, before := content(obj), content(old)
	correlated := common.NewCorrelatedObject(c, before, &model.Structural{Structural: s})
	if !checks.quick.sure(c) {
		errs = append(errs, validation.ValidateCustomResourceUpdate(nil, c, before, checks.whole, validation.WithRatcheting(correlated))...)
	}
	errs = append(errs, v.checkScaleSpec(c)...)
	errs = append(errs, v.checkScaleStatus(c)...)
	if v.traits().embedded {
		errs = append(errs, objectmeta.Validate(ctx, nil, c, s, false)...)
	}
	errs = append(errs, v.ratchetLists(s, c, before)...)
	return append(errs, checks.evaluate(ctx, s, c, before, errs, cel.WithRatcheting(correlated))...)
}

func (v *version) validateStatusUpdate(ctx context.Context, obj, old runtime.Object) field.ErrorList {
	s, checks, errs := v.compiled()
	if errs != nil {
		return errs
	}
	c, before := content(obj), content(old)
	correlated := common.NewCorrelatedObject(c, before, &model.Structural{Structural: s})
	var options []validation.ValidationOption
	if s != nil {
		options = append(options, validation.WithRatcheting(correlated.Key("status")))
	}
	if status, ok := c["status"]; ok && !checks.quickStatus.sure(status) {
		errs = append(errs, validation.ValidateCustomResourceUpdate(field.NewPath("status"), status, before["status"], checks.status, options...)...)
	}
	errs = append(errs, v.checkScaleStatus(c)...)
	errs = append(errs, v.ratchetLists(s, c, before)...)
	return append(errs, checks.evaluate(ctx, s, c, before, errs, cel.WithRatcheting(correlated))...)
}

// ratchetLists checks that sets and maps have no duplicates, unless they had.
func (v *version) ratchetLists(s *structuralschema.Structural, c, before map[string]any) field.ErrorList {
	if !v.traits().keyed {
		return nil
	}
	errs := listtype.ValidateListSetsAndMaps(nil, s, c)
	if len(errs) == 0 || len(listtype.ValidateListSetsAndMaps(nil, s, before)) > 0 {
		return nil
	}
	return errs
}

// evaluate runs the CEL rules, which rely on the object having the form of the
// schema. old is nil on create.
func (checks *validators) evaluate(ctx context.Context, s *structuralschema.Structural, obj, old map[string]any, found field.ErrorList, options ...cel.Option) field.ErrorList {
	if checks.rules == nil {
		return nil
	}
	if slices.ContainsFunc(found, misshapen) {
		return field.ErrorList{field.Invalid(nil, nil, "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation")}
	}
	var before any
	if old != nil {
		before = old
	}
	errs, _ := checks.rules.Validate(ctx, nil, s, obj, before, celconfig.RuntimeCELCostBudget, options...)
	return errs
}

func misshapen(err *field.Error) bool {
	switch err.Type {
	case field.ErrorTypeNotSupported, field.ErrorTypeRequired, field.ErrorTypeTooLong, field.ErrorTypeTooMany, field.ErrorTypeTypeInvalid:
		return true
	}
	return false
}

// checkScaleSpec checks what the scale subresource reads.
func (v *version) checkScaleSpec(c map[string]any) field.ErrorList {
	if v.scale() == nil {
		return nil
	}
	return checkReplicas(c, v.scale().SpecReplicasPath)
}

func (v *version) checkScaleStatus(c map[string]any) field.ErrorList {
	scale := v.scale()
	if scale == nil {
		return nil
	}
	errs := checkReplicas(c, scale.StatusReplicasPath)
	if scale.LabelSelectorPath != nil {
		if selector, _, err := unstructured.NestedString(c, steps(*scale.LabelSelectorPath)...); err != nil {
			errs = append(errs, field.Invalid(field.NewPath(*scale.LabelSelectorPath), selector, err.Error()))
		}
	}
	return errs
}

func checkReplicas(c map[string]any, path string) field.ErrorList {
	replicas, _, err := unstructured.NestedInt64(c, steps(path)...)
	var problem string
	switch {
	case err != nil:
		problem = err.Error()
	case replicas < 0:
		problem = "should be a non-negative integer"
	case replicas > math.MaxInt32:
		problem = fmt.Sprintf("should be less than or equal to %v", math.MaxInt32)
	default:
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath(path), replicas, problem)}
}

// steps cuts a simple JSON path (".spec.replicas") into its names.
func steps(path string) []string { return strings.Split(strings.TrimPrefix(path, "."), ".") }

// finalizerWarnings tells of new finalizers whose names others may use too.
func finalizerWarnings(_ context.Context, obj, old runtime.Object) []string {
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil
	}
	var known []string
	if old != nil {
		if before, err := meta.Accessor(old); err == nil {
			known = before.GetFinalizers()
		}
	}
	var texts []string
	finalizers := slices.Sorted(slices.Values(m.GetFinalizers()))
	for _, finalizer := range slices.Compact(finalizers) {
		if !slices.Contains(known, finalizer) {
			texts = append(texts, finalizerWarning(finalizer)...)
		}
	}
	return texts
}

func finalizerWarning(finalizer string) []string {
	var texts []string
	for _, problem := range utilvalidation.IsQualifiedName(finalizer) {
		texts = append(texts, fmt.Sprintf("metadata.finalizers: %q: %s", finalizer, problem))
	}
	if strings.Contains(finalizer, "/") {
		return texts
	}
	switch finalizer {
	case metav1.FinalizerOrphanDependents, metav1.FinalizerDeleteDependents, string(corev1.FinalizerKubernetes):
		return texts
	}
	advice := "prefer a domain-qualified finalizer name to avoid accidental conflicts with other finalizer writers"
	if strings.Contains(finalizer, ".") {
		advice = "prefer a domain-qualified finalizer name including a path (/) to avoid accidental conflicts with other finalizer writers"
	}
	return append(texts, fmt.Sprintf("metadata.finalizers: %q: %s", finalizer, advice))
}
