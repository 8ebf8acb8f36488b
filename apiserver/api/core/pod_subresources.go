package core

import (
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/api/podspec"
	"github.com/yare-io/yare/apiserver/api/row"
	"github.com/yare-io/yare/apiserver/registry"
)

func podSubresources(d Deps) []registry.Subresource {
	stream := []string{"create", "get"}
	return []registry.Subresource{
		{Name: "attach", Kind: kind("PodAttachOptions"), New: row.New[corev1.PodAttachOptions], Verbs: stream, Connect: true},
		{Name: "binding", Kind: kind("Binding"), New: row.New[corev1.Binding], Verbs: row.CreateOnly(), Action: bind(d.Clock)},
		row.Part("ephemeralcontainers", registry.Strategy{
			Default:          registry.Do(podspec.DefaultPod),
			PrepareForUpdate: registry.PrepareUpdate(prepareEphemeral),
			ValidateUpdate:   registry.CheckUpdate(validateEphemeral),
			Touched:          []string{"spec.ephemeralContainers"},
		}),
		{Name: "eviction", Kind: policyv1.SchemeGroupVersion.WithKind("Eviction"), New: row.New[policyv1.Eviction],
			Verbs: row.CreateOnly(), Action: evict(d.Clock)},
		{Name: "exec", Kind: kind("PodExecOptions"), New: row.New[corev1.PodExecOptions], Verbs: stream, Connect: true},
		{Name: "log", Kind: kind("Pod"), New: row.New[corev1.Pod], Verbs: []string{"get"}, Connect: true},
		{Name: "portforward", Kind: kind("PodPortForwardOptions"), New: row.New[corev1.PodPortForwardOptions], Verbs: stream, Connect: true},
		{Name: "proxy", Kind: kind("PodProxyOptions"), New: row.New[corev1.PodProxyOptions], Verbs: row.Proxy(), Connect: true},
		row.Part("resize", registry.Strategy{
			Default:          registry.Do(podspec.DefaultPod),
			PrepareForUpdate: registry.PrepareUpdate(prepareResize),
			ValidateUpdate:   registry.CheckUpdate(validateResize),
			Touched: []string{
				"spec.containers.*.resources", "spec.containers.*.resizePolicy",
				"spec.initContainers.*.resources", "spec.initContainers.*.resizePolicy",
			},
		}),
		row.Status(registry.Strategy{
			Default:          registry.Do(podspec.DefaultPod),
			PrepareForUpdate: registry.PrepareUpdate(preparePodStatus),
			ValidateUpdate:   registry.CheckUpdate(validatePodStatus),
			Untouched:        []string{"spec", "metadata.deletionTimestamp", "metadata.ownerReferences"},
		}),
	}
}

// podResource names pods among the server's objects.
var podResource = schema.GroupResource{Resource: "pods"}

// prepareEphemeral takes nothing over but the ephemeral containers.
func prepareEphemeral(p, old *corev1.Pod) {
	added, version := p.Spec.EphemeralContainers, p.ResourceVersion
	managed := p.ManagedFields
	*p = *old.DeepCopy()
	p.Spec.EphemeralContainers = added
	p.ResourceVersion, p.ManagedFields = version, managed
	podGeneration(p, old)
}

func validateEphemeral(p, old *corev1.Pod) field.ErrorList {
	spec := field.NewPath("spec")
	errs := podspec.ValidateSpec(spec, &p.Spec, podspec.Options{Pod: true, Old: &old.Spec})
	if _, mirror := old.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
		errs = append(errs, field.Forbidden(field.NewPath(""), "static pods do not support ephemeral containers"))
	}
	return append(errs, podspec.ValidateEphemeralUpdate(spec, &p.Spec, &old.Spec)...)
}

// prepareResize takes nothing over but the specification, of which validation
// then lets only resources change.
func prepareResize(p, old *corev1.Pod) {
	spec, version, managed := p.Spec, p.ResourceVersion, p.ManagedFields
	*p = *old.DeepCopy()
	p.Spec, p.ResourceVersion, p.ManagedFields = spec, version, managed
	podGeneration(p, old)
}

func validateResize(p, old *corev1.Pod) field.ErrorList {
	errs := podspec.ValidateResize(field.NewPath("spec"), p, old)
	return append(errs, podspec.ValidateSpec(field.NewPath("spec"), &p.Spec, podspec.Options{Pod: true, Old: &old.Spec})...)
}

// preparePodStatus keeps what a status update may not touch.
func preparePodStatus(p, old *corev1.Pod) {
	p.Spec = old.Spec
	p.DeletionTimestamp = nil
	if old.DeletionTimestamp != nil {
		p.DeletionTimestamp = old.DeletionTimestamp.DeepCopy()
	}
	p.OwnerReferences = old.OwnerReferences
	p.Generation = old.Generation
	if p.Status.QOSClass == "" {
		p.Status.QOSClass = old.Status.QOSClass
	}
}
