package builtin

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	storagelisters "k8s.io/client-go/listers/storage/v1"
	"k8s.io/utils/ptr"

	"github.com/yare-io/yare/admission"
)

// persistentVolumeClaimResize lets claims grow only where their class can.
type persistentVolumeClaimResize struct {
	plugin
	client  kubernetes.Interface
	classes storagelisters.StorageClassLister
}

func newPersistentVolumeClaimResize(deps Deps) (admission.Plugin, error) {
	return &persistentVolumeClaimResize{
		plugin:  on("PersistentVolumeClaimResize", admission.Update),
		client:  deps.Client,
		classes: deps.Informers.Storage().V1().StorageClasses().Lister(),
	}, nil
}

// Validate looks at claims that ask for more than they did.
func (p *persistentVolumeClaimResize) Validate(ctx context.Context, a *admission.Attributes) error {
	claim, ok := a.Object.(*corev1.PersistentVolumeClaim)
	if !ok || a.Subresource != "" {
		return nil
	}
	old, ok := a.OldObject.(*corev1.PersistentVolumeClaim)
	if !ok || claim.Spec.Resources.Requests.Storage().Cmp(*old.Spec.Resources.Requests.Storage()) <= 0 {
		return nil
	}
	if old.Status.Phase != corev1.ClaimBound {
		//lint:ignore ST1005 clients know these words
		return admission.Forbidden(a, errors.New("Only bound persistent volume claims can be expanded"))
	}
	if !p.expandable(ctx, old) {
		return admission.Forbidden(a, errors.New("only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"))
	}
	return nil
}

func (p *persistentVolumeClaimResize) expandable(ctx context.Context, claim *corev1.PersistentVolumeClaim) bool {
	name := claim.Annotations[corev1.BetaStorageClassAnnotation]
	if name == "" {
		name = ptr.Deref(claim.Spec.StorageClassName, "")
	}
	if name == "" {
		return false
	}
	class, err := p.classes.Get(name)
	if err != nil {
		if class, err = p.client.StorageV1().StorageClasses().Get(ctx, name, metav1.GetOptions{}); err != nil {
			return false
		}
	}
	return ptr.Deref(class.AllowVolumeExpansion, false)
}
