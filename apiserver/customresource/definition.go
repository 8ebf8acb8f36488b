package customresource

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilversion "k8s.io/apimachinery/pkg/version"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
)

// definition is what a custom resource definition makes the server serve. All
// but terminating is immutable.
type definition struct {
	source   *apiextensionsv1.CustomResourceDefinition
	resource schema.GroupResource
	versions map[string]*version
	storage  *version
	// remote: conversion asks a webhook.
	remote    bool
	converter converter
	rows      []*registry.Resource

	terminating atomic.Bool
}

// newDefinition makes the rows of a definition whose names are accepted.
func newDefinition(source *apiextensionsv1.CustomResourceDefinition, caller Caller) (*definition, error) {
	names := source.Status.AcceptedNames
	if names.Plural == "" || names.Singular == "" || names.Kind == "" || names.ListKind == "" {
		return nil, errors.New("the accepted names are not complete")
	}
	d := &definition{
		source:   source,
		resource: schema.GroupResource{Group: source.Spec.Group, Resource: names.Plural},
		versions: make(map[string]*version, len(source.Spec.Versions)),
	}
	if c := source.Spec.Conversion; c != nil && c.Strategy == apiextensionsv1.WebhookConverter && c.Webhook != nil && c.Webhook.ClientConfig != nil {
		d.remote, d.converter = true, newWebhook(c.Webhook, caller, d.prune)
	} else {
		d.converter = relabel{d.prune}
	}
	for _, spec := range source.Spec.Versions {
		v := newVersion(source, spec)
		d.versions[spec.Name] = v
		if spec.Storage {
			d.storage = v
		}
	}
	if d.storage == nil {
		return nil, errors.New("no version is the storage version")
	}
	for _, spec := range source.Spec.Versions {
		if !spec.Served {
			continue
		}
		made, err := d.row(d.versions[spec.Name])
		if err != nil {
			return nil, err
		}
		d.rows = append(d.rows, made)
	}
	return d, nil
}

// alike reports whether a definition asks for what this one serves, but for its
// names: the generation counts the changes of what is asked for.
func (d *definition) alike(other *apiextensionsv1.CustomResourceDefinition) bool {
	return d.source.UID == other.UID && d.source.Generation == other.Generation
}

func (d *definition) row(v *version) (*registry.Resource, error) {
	names := d.source.Status.AcceptedNames
	selectable, err := v.selectable()
	if err != nil {
		return nil, err
	}
	r := &registry.Resource{
		Kind: v.kind, Name: names.Plural, Singular: names.Singular, ShortNames: names.ShortNames, Categories: names.Categories,
		Namespaced: v.namespaced, Verbs: row.AllVerbs(), ListKind: names.ListKind,
		New:           func() runtime.Object { return v.empty() },
		NewList:       func() runtime.Object { return &unstructured.UnstructuredList{} },
		Schema:        d.schemaOf(v),
		Codec:         d.codec(v),
		Deprecation:   d.deprecation(v),
		StoragePrefix: d.resource.Group + "/" + d.resource.Resource,
		Strategy:      v.strategy(d),
		Columns:       v.columns(),
	}
	if d.remote && v != d.storage {
		// What the cache has is not in this version.
		r.Codec.Fields = selectable
	} else {
		r.Fields = selectable
	}
	if v.hasStatus() {
		r.Subresources = append(r.Subresources, row.Status(v.statusStrategy()))
	}
	if scale := v.scale(); scale != nil {
		r.Subresources = append(r.Subresources, scaleSubresource(scale))
	}
	return r, nil
}

func (v *version) empty() *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: make(map[string]any, 4)}
	obj.SetGroupVersionKind(v.kind)
	return obj
}

// deprecation is what clients of a deprecated version are told.
func (d *definition) deprecation(v *version) string {
	if !v.spec.Deprecated {
		return ""
	}
	if v.spec.DeprecationWarning != nil {
		return *v.spec.DeprecationWarning
	}
	text := fmt.Sprintf("%s/%s %s is deprecated", v.kind.Group, v.kind.Version, v.kind.Kind)
	var better []string
	for _, other := range d.source.Spec.Versions {
		if other.Served && !other.Deprecated && utilversion.CompareKubeAwareVersionStrings(v.kind.Version, other.Name) < 0 {
			better = append(better, other.Name)
		}
	}
	if len(better) == 0 {
		return text
	}
	best := slices.MaxFunc(better, utilversion.CompareKubeAwareVersionStrings)
	return text + fmt.Sprintf("; use %s/%s %s", v.kind.Group, best, v.kind.Kind)
}
