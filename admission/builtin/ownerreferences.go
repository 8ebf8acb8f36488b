package builtin

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/utils/ptr"

	"github.com/yare-io/yare/admission"
)

// ownerReferences lets only those change who owns an object who may delete it,
// and only those block an owner's deletion who may change its finalizers.
type ownerReferences struct {
	plugin
	authorizer authorizer.UnconditionalAuthorizer
	kinds      Kinds
}

func newOwnerReferences(deps Deps) (admission.Plugin, error) {
	if deps.Kinds == nil {
		return nil, errors.New("needs to know the kinds that are served")
	}
	return &ownerReferences{
		plugin:     on("OwnerReferencesPermissionEnforcement", admission.Create, admission.Update),
		authorizer: deps.Authorizer, kinds: deps.Kinds,
	}, nil
}

// Validate compares the owners with those of before.
func (p *ownerReferences) Validate(ctx context.Context, a *admission.Attributes) error {
	object, err := meta.Accessor(a.Object)
	if err != nil || a.Subresource == "status" {
		return nil
	}
	var before []metav1.OwnerReference
	if old, err := meta.Accessor(a.OldObject); err == nil {
		before = old.GetOwnerReferences()
	}
	after := object.GetOwnerReferences()
	if equality.Semantic.DeepEqual(before, after) {
		return nil
	}
	if a.Operation == admission.Update {
		if err := p.mayDelete(ctx, a); err != nil {
			return err
		}
	}
	for _, owner := range newlyBlocking(before, after) {
		if err := p.mayBlock(ctx, a, owner); err != nil {
			return err
		}
	}
	return nil
}

func (p *ownerReferences) mayDelete(ctx context.Context, a *admission.Attributes) error {
	decision, reason, _ := p.authorizer.Authorize(ctx, authorizer.AttributesRecord{
		User: a.User, Verb: "delete", Namespace: a.Namespace, Name: a.Name, ResourceRequest: true,
		APIGroup: a.Resource.Group, APIVersion: a.Resource.Version, Resource: a.Resource.Resource, Subresource: a.Subresource,
	})
	if decision == authorizer.DecisionAllow {
		return nil
	}
	return admission.Forbidden(a, fmt.Errorf("cannot set an ownerRef on a resource you can't delete: %v", reason))
}

func (p *ownerReferences) mayBlock(ctx context.Context, a *admission.Attributes, owner metav1.OwnerReference) error {
	version, err := schema.ParseGroupVersion(owner.APIVersion)
	if err != nil {
		return admission.Forbidden(a, fmt.Errorf("cannot set blockOwnerDeletion in this case because cannot parse APIVersion %q", owner.APIVersion))
	}
	row := p.kinds.RowOf(version.WithKind(owner.Kind))
	if row == nil {
		return admission.Forbidden(a, fmt.Errorf("cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion %s Kind %s",
			owner.APIVersion, owner.Kind))
	}
	namespace := ""
	if row.Namespaced {
		namespace = a.Namespace
	}
	decision, reason, _ := p.authorizer.Authorize(ctx, authorizer.AttributesRecord{
		User: a.User, Verb: "update", Namespace: namespace, Name: owner.Name, ResourceRequest: true,
		APIGroup: row.Kind.Group, APIVersion: row.Kind.Version, Resource: row.Name, Subresource: "finalizers",
	})
	if decision != authorizer.DecisionAllow {
		return admission.Forbidden(a, fmt.Errorf("cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: %v", reason))
	}
	return nil
}

// newlyBlocking are the owners whose deletion the object did not block before.
func newlyBlocking(before, after []metav1.OwnerReference) []metav1.OwnerReference {
	blocked := map[string]bool{}
	for _, owner := range before {
		if ptr.Deref(owner.BlockOwnerDeletion, false) {
			blocked[string(owner.UID)] = true
		}
	}
	var blocking []metav1.OwnerReference
	for _, owner := range after {
		if ptr.Deref(owner.BlockOwnerDeletion, false) && !blocked[string(owner.UID)] {
			blocking = append(blocking, owner)
		}
	}
	return blocking
}
