package builtin

import (
	"context"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
	networkinglisters "k8s.io/client-go/listers/networking/v1"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/lookup"
)

const ingressClassAnnotation = "kubernetes.io/ingress.class" // before there was a field

// defaultIngressClass gives ingresses without a class the default one.
type defaultIngressClass struct {
	plugin
	classes networkinglisters.IngressClassLister
	synced  lookup.Synced
}

func newDefaultIngressClass(deps Deps) (admission.Plugin, error) {
	informer := deps.Informers.Networking().V1().IngressClasses()
	return &defaultIngressClass{
		plugin:  on("DefaultIngressClass", admission.Create),
		classes: informer.Lister(),
		synced:  lookup.Synced{Has: informer.Informer().HasSynced, Clock: deps.Clock},
	}, nil
}

// Admit leaves ingresses alone that name a class.
func (p *defaultIngressClass) Admit(ctx context.Context, a *admission.Attributes) error {
	ingress, ok := a.Object.(*networkingv1.Ingress)
	if !ok || a.Subresource != "" || ingress.Spec.IngressClassName != nil {
		return nil
	}
	if _, annotated := ingress.Annotations[ingressClassAnnotation]; annotated {
		return nil
	}
	if err := p.synced.Wait(ctx, a); err != nil {
		return err
	}
	classes, err := p.classes.List(labels.Everything())
	if err != nil {
		return admission.Refusal(a, err)
	}
	if class := newestDefault(classes, networkingv1.AnnotationIsDefaultIngressClass); class != nil {
		name := class.GetName()
		ingress.Spec.IngressClassName = &name
	}
	return nil
}
