package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/podspec"
	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
)

func podTemplates() *registry.Resource {
	template := func(t *corev1.PodTemplate) *corev1.PodTemplateSpec { return &t.Template }
	validate := func(t *corev1.PodTemplate) field.ErrorList {
		return podspec.ValidateTemplate(field.NewPath("template"), &t.Template)
	}
	return &registry.Resource{
		Kind: kind("PodTemplate"), Name: "podtemplates", Singular: "podtemplate", Namespaced: true,
		Verbs: row.AllVerbs(), StoragePrefix: "podtemplates", New: row.New[corev1.PodTemplate], NewList: row.New[corev1.PodTemplateList],
		Strategy: registry.Strategy{
			Default:          registry.Do(func(t *corev1.PodTemplate) { podspec.DefaultTemplate(&t.Template) }),
			PrepareForCreate: registry.Prepare(func(t *corev1.PodTemplate) { t.Generation = 1 }),
			PrepareForUpdate: registry.PrepareUpdate(func(t, old *corev1.PodTemplate) {
				row.NextGeneration(t, old, !row.Same(t.Template, old.Template))
			}),
			Validate:       registry.Check(validate),
			ValidateUpdate: registry.CheckUpdate(func(t, _ *corev1.PodTemplate) field.ErrorList { return validate(t) }),
		},
		Delete: registry.DeleteStrategy{ReturnObject: true},
		Columns: []registry.Column{
			row.NameColumn(),
			row.Text("Containers", func(t *corev1.PodTemplate) any { return row.ContainerNames(template(t)) }),
			row.Text("Images", func(t *corev1.PodTemplate) any { return row.Images(template(t)) }),
			row.Text("Pod Labels", func(t *corev1.PodTemplate) any { return labels.FormatLabels(t.Template.Labels) }),
		},
	}
}
