package builtin

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	storagelisters "k8s.io/client-go/listers/storage/v1"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/lookup"
)

const (
	defaultStorageClassAnnotation = "storageclass.kubernetes.io/is-default-class"
	betaDefaultStorageClass       = "storageclass.beta.kubernetes.io/is-default-class"
)

// defaultStorageClass gives claims without a class the default one.
type defaultStorageClass struct {
	plugin
	classes storagelisters.StorageClassLister
	synced  lookup.Synced
}

func newDefaultStorageClass(deps Deps) (admission.Plugin, error) {
	informer := deps.Informers.Storage().V1().StorageClasses()
	return &defaultStorageClass{
		plugin:  on("DefaultStorageClass", admission.Create),
		classes: informer.Lister(),
		synced:  lookup.Synced{Has: informer.Informer().HasSynced, Clock: deps.Clock},
	}, nil
}

// Admit leaves claims alone that name a class, be it the empty one.
func (p *defaultStorageClass) Admit(ctx context.Context, a *admission.Attributes) error {
	claim, ok := a.Object.(*corev1.PersistentVolumeClaim)
	if !ok || a.Subresource != "" || claim.Spec.StorageClassName != nil {
		return nil
	}
	if _, beta := claim.Annotations[corev1.BetaStorageClassAnnotation]; beta {
		return nil
	}
	if err := p.synced.Wait(ctx, a); err != nil {
		return err
	}
	classes, err := p.classes.List(labels.Everything())
	if err != nil {
		return admission.Refusal(a, err)
	}
	if class := newestDefault(classes, defaultStorageClassAnnotation, betaDefaultStorageClass); class != nil {
		name := class.GetName()
		claim.Spec.StorageClassName = &name
	}
	return nil
}

// newestDefault is the youngest of the objects that any of the annotations
// marks as default; the first by name of those made at once.
func newestDefault[T metav1.Object](objects []T, annotations ...string) metav1.Object {
	var newest metav1.Object
	for _, object := range objects {
		if !marked(object, annotations) {
			continue
		}
		if newest == nil || newest.GetCreationTimestamp().Time.Before(object.GetCreationTimestamp().Time) ||
			newest.GetCreationTimestamp().Time.Equal(object.GetCreationTimestamp().Time) && object.GetName() < newest.GetName() {
			newest = object
		}
	}
	return newest
}

func marked(object metav1.Object, annotations []string) bool {
	for _, annotation := range annotations {
		if object.GetAnnotations()[annotation] == "true" {
			return true
		}
	}
	return false
}
