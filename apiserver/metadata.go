package apiserver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/warning"
)

// What the metadata of an object must be, whatever its kind.

// place puts an object into the namespace of the request, or says that it
// belongs elsewhere.
func (wr *write) place(m metav1.Object) error {
	switch {
	case !wr.res.row.Namespaced:
		m.SetNamespace("")
	case m.GetNamespace() == "":
		m.SetNamespace(wr.namespace)
	case m.GetNamespace() != wr.namespace:
		return apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	return nil
}

// wipe takes away what only the server sets.
func wipe(m metav1.Object) {
	m.SetUID("")
	m.SetCreationTimestamp(metav1.Time{})
	m.SetDeletionTimestamp(nil)
	m.SetDeletionGracePeriodSeconds(nil)
	m.SetSelfLink("")
}

// birth sets what the server sets on a new object.
func (s *Server) birth(m metav1.Object) {
	m.SetUID(uuid.NewUUID())
	m.SetCreationTimestamp(metav1.NewTime(s.clock.Now().Truncate(time.Second).Local()))
	m.SetDeletionTimestamp(nil)
	m.SetDeletionGracePeriodSeconds(nil)
	m.SetSelfLink("")
}

// carry keeps of the old metadata what an update cannot change.
func carry(m, old metav1.Object) {
	if m.GetUID() == "" {
		m.SetUID(old.GetUID())
	}
	if m.GetResourceVersion() == "" {
		m.SetResourceVersion(old.GetResourceVersion())
	}
	m.SetCreationTimestamp(old.GetCreationTimestamp())
	m.SetGeneration(old.GetGeneration())
	m.SetSelfLink("")
	if old.GetDeletionTimestamp() != nil {
		m.SetDeletionTimestamp(old.GetDeletionTimestamp())
	}
	if old.GetDeletionGracePeriodSeconds() != nil && m.GetDeletionGracePeriodSeconds() == nil {
		m.SetDeletionGracePeriodSeconds(old.GetDeletionGracePeriodSeconds())
	}
}

// identical checks that an update is for the object that is there, and for the
// state of it that the client has seen.
func (wr *write) identical(m, old metav1.Object) error {
	resource := wr.res.row.GroupResource()
	if m.GetName() != wr.name {
		return apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s) does not match the name on the URL (%s)", m.GetName(), wr.name))
	}
	if m.GetUID() != "" && m.GetUID() != old.GetUID() {
		return apierrors.NewConflict(resource, wr.name, fmt.Errorf("Precondition failed: UID in precondition: %v, UID in object meta: %v", m.GetUID(), old.GetUID()))
	}
	version := m.GetResourceVersion()
	if version == "" && wr.strategy.RequireVersion && !wr.own() {
		return wr.invalid(field.ErrorList{field.Invalid(field.NewPath("metadata", "resourceVersion"), 0, "must be specified for an update")}, wr.name)
	}
	if version == "" || version == old.GetResourceVersion() {
		return nil
	}
	if _, err := parseVersion(version); err != nil {
		return wr.invalid(field.ErrorList{field.Invalid(field.NewPath("metadata", "resourceVersion"), version, err.Error())}, wr.name)
	}
	return errModified(resource, wr.name)
}

// checkNew returns what is wrong with a new object's metadata.
func (wr *write) checkNew(m metav1.Object) field.ErrorList {
	valid := wr.res.row.Strategy.ValidName
	if valid == nil {
		valid = validation.NameIsDNSSubdomain
	}
	path := field.NewPath("metadata")
	return validation.ValidateObjectMetaAccessor(m, wr.res.row.Namespaced, valid, path)
}

// checkChange returns what is wrong with a change of metadata.
func checkChange(m, old metav1.Object) field.ErrorList {
	return validation.ValidateObjectMetaAccessorUpdate(m, old, field.NewPath("metadata"))
}

// dropDuplicateOwners removes repeated owner references and says so.
func dropDuplicateOwners(ctx context.Context, m metav1.Object) {
	owners := m.GetOwnerReferences()
	if len(owners) < 2 {
		return
	}
	kept := make([]metav1.OwnerReference, 0, len(owners))
	for _, owner := range owners {
		same := func(o metav1.OwnerReference) bool { return sameOwner(o, owner) }
		if slices.ContainsFunc(kept, same) {
			warning.AddWarning(ctx, "", fmt.Sprintf("metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s): %s", owner.UID))
			continue
		}
		kept = append(kept, owner)
	}
	if len(kept) < len(owners) {
		m.SetOwnerReferences(kept)
	}
}

func sameOwner(a, b metav1.OwnerReference) bool {
	return a.UID == b.UID && a.Kind == b.Kind && a.Name == b.Name && a.APIVersion == b.APIVersion &&
		equalFlag(a.Controller, b.Controller) && equalFlag(a.BlockOwnerDeletion, b.BlockOwnerDeletion)
}

func equalFlag(a, b *bool) bool {
	return (a == nil) == (b == nil) && (a == nil || *a == *b)
}

var errVersionOnCreate = errors.New("resourceVersion should not be set on objects to be created")
