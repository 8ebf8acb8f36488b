package core

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/podspec"
	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
)

func limitRanges() *registry.Resource {
	return &registry.Resource{
		Kind: kind("LimitRange"), Name: "limitranges", Singular: "limitrange", ShortNames: []string{"limits"}, Namespaced: true,
		Verbs: row.AllVerbs(), StoragePrefix: "limitranges", New: row.New[corev1.LimitRange], NewList: row.New[corev1.LimitRangeList],
		Strategy: registry.Strategy{
			Default: registry.Do(defaultLimitRange),
			PrepareForCreate: registry.Prepare(func(l *corev1.LimitRange) {
				if l.Name == "" && l.GenerateName == "" {
					l.Name = string(uuid.NewUUID())
				}
			}),
			Validate:       registry.Check(validateLimitRange),
			ValidateUpdate: registry.CheckUpdate(func(l, _ *corev1.LimitRange) field.ErrorList { return validateLimitRange(l) }),
			CreateOnUpdate: true,
		},
		Columns: []registry.Column{row.NameColumn(), row.CreatedAtColumn()},
	}
}

// defaultLimitRange derives what a container gets by default from what it may
// have.
func defaultLimitRange(l *corev1.LimitRange) {
	for i := range l.Spec.Limits {
		item := &l.Spec.Limits[i]
		for _, list := range []corev1.ResourceList{item.Max, item.Min, item.Default, item.DefaultRequest, item.MaxLimitRequestRatio} {
			podspec.RoundUp(list)
		}
		if item.Type != corev1.LimitTypeContainer {
			continue
		}
		item.Default = filled(item.Default, item.Max)
		item.DefaultRequest = filled(filled(item.DefaultRequest, item.Default), item.Min)
	}
}

// filled returns list with what it lacks of from.
func filled(list, from corev1.ResourceList) corev1.ResourceList {
	if list == nil {
		list = corev1.ResourceList{}
	}
	for name, q := range from {
		if _, ok := list[name]; !ok {
			list[name] = q.DeepCopy()
		}
	}
	return list
}

func validateLimitRange(l *corev1.LimitRange) field.ErrorList {
	var errs field.ErrorList
	types := sets.New[corev1.LimitType]()
	for i := range l.Spec.Limits {
		item, at := &l.Spec.Limits[i], field.NewPath("spec", "limits").Index(i)
		errs = append(errs, podspec.ValidateResourceName(at.Child("type"), corev1.ResourceName(item.Type))...)
		if types.Has(item.Type) {
			errs = append(errs, field.Duplicate(at.Child("type"), item.Type))
		}
		types.Insert(item.Type)
		errs = append(errs, validateLimitItem(at, item)...)
	}
	return errs
}

func validateLimitItem(at *field.Path, item *corev1.LimitRangeItem) field.ErrorList {
	var errs field.ErrorList
	names := sets.New[corev1.ResourceName]()
	for _, l := range []struct {
		name string
		list corev1.ResourceList
	}{{"max", item.Max}, {"min", item.Min}, {"default", item.Default}, {"defaultRequest", item.DefaultRequest}, {"maxLimitRequestRatio", item.MaxLimitRequestRatio}} {
		for name := range l.list {
			names.Insert(name)
			errs = append(errs, podspec.ValidateResourceName(at.Child(l.name).Key(string(name)), name)...)
		}
	}
	if item.Type == corev1.LimitTypePod {
		if len(item.Default) > 0 {
			errs = append(errs, field.Forbidden(at.Child("default"), "may not be specified when `type` is 'Pod'"))
		}
		if len(item.DefaultRequest) > 0 {
			errs = append(errs, field.Forbidden(at.Child("defaultRequest"), "may not be specified when `type` is 'Pod'"))
		}
	}
	if item.Type == corev1.LimitTypePersistentVolumeClaim {
		_, least := item.Min[corev1.ResourceStorage]
		_, most := item.Max[corev1.ResourceStorage]
		if !least && !most {
			errs = append(errs, field.Required(at.Child("limits"), "either minimum or maximum storage value is required, but neither was provided"))
		}
	}
	for _, name := range sets.List(names) {
		errs = append(errs, validateLimitOrder(at, item, name)...)
	}
	return errs
}

// validateLimitOrder wants min <= defaultRequest <= default <= max, and a ratio
// that the others allow.
func validateLimitOrder(at *field.Path, item *corev1.LimitRangeItem, name corev1.ResourceName) field.ErrorList {
	var errs field.ErrorList
	key := string(name)
	type bound struct {
		words string
		list  corev1.ResourceList
	}
	order := func(low, high bound, at *field.Path) {
		l, ok := low.list[name]
		h, ok2 := high.list[name]
		if ok && ok2 && l.Cmp(h) > 0 {
			errs = append(errs, field.Invalid(at, l.String(), fmt.Sprintf("%s value %s is greater than %s value %s", low.words, l.String(), high.words, h.String())))
		}
	}
	least, most := bound{"min", item.Min}, bound{"max", item.Max}
	request, limit := bound{"default request", item.DefaultRequest}, bound{"default", item.Default}
	order(least, most, at.Child("min").Key(key))
	order(least, request, at.Child("defaultRequest").Key(key))
	order(request, most, at.Child("defaultRequest").Key(key))
	order(request, limit, at.Child("defaultRequest").Key(key))
	order(least, limit, at.Child("default").Key(key))
	order(limit, most, at.Child("default").Key(key))
	if ratio, ok := item.MaxLimitRequestRatio[name]; ok && ratio.CmpInt64(1) < 0 {
		errs = append(errs, field.Invalid(at.Child("maxLimitRequestRatio").Key(key), ratio.String(), fmt.Sprintf("ratio %s is less than 1", ratio.String())))
	}
	return errs
}
