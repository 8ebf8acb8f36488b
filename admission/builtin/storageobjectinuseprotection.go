package builtin

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/yare-io/yare/admission"
)

// storageObjectInUseProtection keeps storage from being deleted under those who
// use it; controllers take the finalizers away.
type storageObjectInUseProtection struct{ plugin }

func newStorageObjectInUseProtection(Deps) (admission.Plugin, error) {
	return &storageObjectInUseProtection{on("StorageObjectInUseProtection", admission.Create)}, nil
}

// Admit adds the finalizer of the kind.
func (p *storageObjectInUseProtection) Admit(_ context.Context, a *admission.Attributes) error {
	if a.Subresource != "" {
		return nil
	}
	switch object := a.Object.(type) {
	case *corev1.PersistentVolumeClaim:
		addFinalizer(object, "kubernetes.io/pvc-protection")
	case *corev1.PersistentVolume:
		addFinalizer(object, "kubernetes.io/pv-protection")
	case *storagev1.VolumeAttributesClass:
		addFinalizer(object, "kubernetes.io/vac-protection")
	}
	return nil
}

func addFinalizer(object metav1.Object, finalizer string) {
	if finalizers := object.GetFinalizers(); !slices.Contains(finalizers, finalizer) {
		object.SetFinalizers(append(finalizers, finalizer))
	}
}
