package node

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// Kind is a kind of object that a pod may refer to.
type Kind uint8

// The kinds of which nodes may only see what their pods refer to.
const (
	Secret Kind = iota
	ConfigMap
	PersistentVolumeClaim
	ServiceAccount
	ResourceClaim
)

// Ref names an object that a pod refers to, in the pod's namespace.
type Ref struct {
	Kind Kind
	Name string
}

// References lists what a pod refers to, each object once.
func References(pod *corev1.Pod) []Ref {
	var refs []Ref
	add := func(kind Kind, name string) {
		if ref := (Ref{kind, name}); name != "" && !slices.Contains(refs, ref) {
			refs = append(refs, ref)
		}
	}
	add(ServiceAccount, pod.Spec.ServiceAccountName)
	for _, secret := range pod.Spec.ImagePullSecrets {
		add(Secret, secret.Name)
	}
	for _, containers := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range containers {
			environmentReferences(containers[i].Env, containers[i].EnvFrom, add)
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		container := &pod.Spec.EphemeralContainers[i]
		environmentReferences(container.Env, container.EnvFrom, add)
	}
	for i := range pod.Spec.Volumes {
		volumeReferences(pod, &pod.Spec.Volumes[i], add)
	}
	claimReferences(pod, add)
	return refs
}

func environmentReferences(env []corev1.EnvVar, from []corev1.EnvFromSource, add func(Kind, string)) {
	for _, variable := range env {
		source := variable.ValueFrom
		if source == nil {
			continue
		}
		if source.SecretKeyRef != nil {
			add(Secret, source.SecretKeyRef.Name)
		}
		if source.ConfigMapKeyRef != nil {
			add(ConfigMap, source.ConfigMapKeyRef.Name)
		}
	}
	for _, source := range from {
		if source.SecretRef != nil {
			add(Secret, source.SecretRef.Name)
		}
		if source.ConfigMapRef != nil {
			add(ConfigMap, source.ConfigMapRef.Name)
		}
	}
}

func volumeReferences(pod *corev1.Pod, volume *corev1.Volume, add func(Kind, string)) {
	switch {
	case volume.Secret != nil:
		add(Secret, volume.Secret.SecretName)
	case volume.ConfigMap != nil:
		add(ConfigMap, volume.ConfigMap.Name)
	case volume.PersistentVolumeClaim != nil:
		add(PersistentVolumeClaim, volume.PersistentVolumeClaim.ClaimName)
	case volume.Ephemeral != nil:
		add(PersistentVolumeClaim, pod.Name+"-"+volume.Name)
	case volume.Projected != nil:
		for _, source := range volume.Projected.Sources {
			if source.Secret != nil {
				add(Secret, source.Secret.Name)
			}
			if source.ConfigMap != nil {
				add(ConfigMap, source.ConfigMap.Name)
			}
		}
	default:
		driverSecrets(&volume.VolumeSource, add)
	}
}

// driverSecrets are those of volumes that a driver mounts.
func driverSecrets(volume *corev1.VolumeSource, add func(Kind, string)) {
	local := func(ref *corev1.LocalObjectReference) {
		add(Secret, ptr.Deref(ref, corev1.LocalObjectReference{}).Name)
	}
	switch {
	case volume.AzureFile != nil:
		add(Secret, volume.AzureFile.SecretName)
	case volume.CephFS != nil:
		local(volume.CephFS.SecretRef)
	case volume.Cinder != nil:
		local(volume.Cinder.SecretRef)
	case volume.FlexVolume != nil:
		local(volume.FlexVolume.SecretRef)
	case volume.ISCSI != nil:
		local(volume.ISCSI.SecretRef)
	case volume.RBD != nil:
		local(volume.RBD.SecretRef)
	case volume.ScaleIO != nil:
		local(volume.ScaleIO.SecretRef)
	case volume.StorageOS != nil:
		local(volume.StorageOS.SecretRef)
	case volume.CSI != nil:
		local(volume.CSI.NodePublishSecretRef)
	}
}

// claimReferences are the resource claims: named by the pod, or made for it
// and named in its status.
func claimReferences(pod *corev1.Pod, add func(Kind, string)) {
	for _, claim := range pod.Spec.ResourceClaims {
		add(ResourceClaim, ptr.Deref(claim.ResourceClaimName, ""))
	}
	for _, status := range pod.Status.ResourceClaimStatuses {
		add(ResourceClaim, ptr.Deref(status.ResourceClaimName, ""))
	}
	if extended := pod.Status.ExtendedResourceClaimStatus; extended != nil {
		add(ResourceClaim, extended.ResourceClaimName)
	}
}
