package core

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/api/rule"
	"github.com/yare-io/yare/apiserver/registry"
)

func namespaces() *registry.Resource {
	return &registry.Resource{
		Kind: kind("Namespace"), Name: "namespaces", Singular: "namespace", ShortNames: []string{"ns"},
		Verbs:         []string{"create", "delete", "get", "list", "patch", "update", "watch"},
		StoragePrefix: "namespaces", New: row.New[corev1.Namespace], NewList: row.New[corev1.NamespaceList],
		Strategy: registry.Strategy{
			Default:          registry.Do(defaultNamespace),
			PrepareForCreate: registry.Prepare(prepareNamespace),
			PrepareForUpdate: registry.PrepareUpdate(func(n, old *corev1.Namespace) {
				n.Spec.Finalizers, n.Status = old.Spec.Finalizers, old.Status
			}),
			Validate:  registry.Check(validateNamespace),
			ValidName: apivalidation.ValidateNamespaceName,
		},
		Delete: registry.DeleteStrategy{
			PrepareForDelete: prepareNamespaceDelete,
			Finished:         func(o runtime.Object) bool { return len(o.(*corev1.Namespace).Spec.Finalizers) == 0 },
		},
		Columns: []registry.Column{
			row.NameColumn(),
			row.Text("Status", func(n *corev1.Namespace) any { return string(n.Status.Phase) }),
			row.AgeColumn(),
		},
		Fields: func(o runtime.Object) fields.Set {
			return fields.Set{"status.phase": string(o.(*corev1.Namespace).Status.Phase)}
		},
		Subresources: []registry.Subresource{namespaceFinalize(), row.Status(registry.Strategy{
			Default: registry.Do(defaultNamespace),
			PrepareForUpdate: registry.PrepareUpdate(func(n, old *corev1.Namespace) {
				n.Spec = old.Spec
			}),
			ValidateUpdate: registry.CheckUpdate(validateNamespaceStatus),
		})},
	}
}

// namespaceFinalize is where the namespace controller says that a terminating
// namespace is empty.
func namespaceFinalize() registry.Subresource {
	return registry.Subresource{Name: "finalize", Verbs: []string{"update"}, Part: &registry.Strategy{
		Default: registry.Do(defaultNamespace),
		PrepareForUpdate: registry.PrepareUpdate(func(n, old *corev1.Namespace) {
			n.Status = old.Status
		}),
		ValidateUpdate: registry.CheckUpdate(func(n, _ *corev1.Namespace) field.ErrorList { return validateNamespace(n) }),
	}}
}

func defaultNamespace(n *corev1.Namespace) {
	if n.Name != "" {
		if n.Labels == nil {
			n.Labels = map[string]string{}
		}
		n.Labels[corev1.LabelMetadataName] = n.Name
	}
	if n.Status.Phase == "" {
		n.Status.Phase = corev1.NamespaceActive
	}
}

func prepareNamespace(n *corev1.Namespace) {
	n.Status = corev1.NamespaceStatus{Phase: corev1.NamespaceActive}
	for _, f := range n.Spec.Finalizers {
		if f == corev1.FinalizerKubernetes {
			return
		}
	}
	n.Spec.Finalizers = append(n.Spec.Finalizers, corev1.FinalizerKubernetes)
}

// standardFinalizers are the ones that need no domain.
var standardFinalizers = sets.New(string(corev1.FinalizerKubernetes), metav1.FinalizerOrphanDependents, metav1.FinalizerDeleteDependents)

func validateNamespace(n *corev1.Namespace) field.ErrorList {
	var errs field.ErrorList
	for i, f := range n.Spec.Finalizers {
		at := field.NewPath("spec", "finalizers").Index(i)
		name := string(f)
		errs = append(errs, rule.QualifiedName(at, name)...)
		if len(validation.IsQualifiedName(name)) == 0 && !strings.Contains(name, "/") && !standardFinalizers.Has(name) {
			errs = append(errs, field.Invalid(at, name, "name is neither a standard finalizer name nor is it fully qualified"))
		}
	}
	return errs
}

func validateNamespaceStatus(n, _ *corev1.Namespace) field.ErrorList {
	phase := field.NewPath("status", "phase")
	if n.DeletionTimestamp == nil {
		if n.Status.Phase != corev1.NamespaceActive {
			return field.ErrorList{field.Invalid(phase, n.Status.Phase, "may only be 'Active' if `deletionTimestamp` is empty")}
		}
		return nil
	}
	if n.Status.Phase != corev1.NamespaceTerminating {
		return field.ErrorList{field.Invalid(phase, n.Status.Phase, "may only be 'Terminating' if `deletionTimestamp` is not empty")}
	}
	return nil
}

// prepareNamespaceDelete marks a namespace that is being emptied.
func prepareNamespaceDelete(_ context.Context, o runtime.Object) {
	o.(*corev1.Namespace).Status.Phase = corev1.NamespaceTerminating
}
