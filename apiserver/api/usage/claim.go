package usage

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// classInfix stands between a storage class and what of it is limited.
const classInfix = ".storageclass.storage.k8s.io/"

func isClaimResource(name corev1.ResourceName) bool {
	if _, of, ok := strings.Cut(string(name), classInfix); ok {
		name = corev1.ResourceName(of)
	}
	return name == corev1.ResourceRequestsStorage || name == corev1.ResourcePersistentVolumeClaims
}

func addClaim(list corev1.ResourceList, claim *corev1.PersistentVolumeClaim) {
	one := *resource.NewQuantity(1, resource.DecimalSI)
	list[corev1.ResourcePersistentVolumeClaims] = one
	class := classOf(claim)
	if class != "" {
		list[corev1.ResourceName(class+classInfix)+corev1.ResourcePersistentVolumeClaims] = one
	}
	asked, ok := claim.Spec.Resources.Requests[corev1.ResourceStorage]
	if !ok {
		return
	}
	// A volume being expanded may have been given more than is asked for now.
	if allocated, ok := claim.Status.AllocatedResources[corev1.ResourceStorage]; ok && allocated.Cmp(asked) > 0 {
		asked = allocated
	}
	list[corev1.ResourceRequestsStorage] = asked
	if class != "" {
		list[corev1.ResourceName(class+classInfix)+corev1.ResourceRequestsStorage] = asked
	}
}

func classOf(claim *corev1.PersistentVolumeClaim) string {
	if class, ok := claim.Annotations[corev1.BetaStorageClassAnnotation]; ok {
		return class
	}
	if claim.Spec.StorageClassName == nil {
		return ""
	}
	return *claim.Spec.StorageClassName
}
