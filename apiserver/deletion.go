package apiserver

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/yare-io/yare/apiserver/registry"
)

// verdict is what becomes of an object that a client asked to delete.
type verdict int

const (
	// remove it now.
	removeNow verdict = iota
	// mark it: others have to finish first.
	markDeleted
	// leave it: its deletion has begun before, and nothing new was asked.
	leaveAlone
)

// judgeDeletion decides how an object goes, and changes its metadata
// accordingly. grace is the row's answer to the options: whether the object
// gets time to end, and how many seconds.
func judgeDeletion(row *registry.Resource, m metav1.Object, options *metav1.DeleteOptions, seconds int64, graceful bool, now time.Time) verdict {
	deleting, hadGrace := m.GetDeletionTimestamp() != nil, expiresLater(m)
	if graceful && deleting {
		switch shortenGrace(m, options, seconds) {
		case leaveAlone:
			if !setFinalizers(row, m, options) {
				return leaveAlone
			}
			return markDeleted
		case removeNow:
			graceful = false
		}
	}
	changed := setFinalizers(row, m, options)
	switch {
	case graceful && seconds > 0:
		if !deleting {
			begin(m, seconds, now)
		}
		return markDeleted
	case len(m.GetFinalizers()) > 0:
		if deleting && !changed && !hadGrace {
			return leaveAlone
		}
		if deleting {
			setGrace(m, 0)
		} else {
			begin(m, 0, now)
		}
		return markDeleted
	}
	return removeNow
}

// shortenGrace applies a second deletion to an object whose grace runs: it can
// only become shorter.
func shortenGrace(m metav1.Object, options *metav1.DeleteOptions, seconds int64) verdict {
	granted := m.GetDeletionGracePeriodSeconds()
	if granted == nil {
		return leaveAlone
	}
	if *granted == 0 && len(m.GetFinalizers()) == 0 {
		return removeNow
	}
	if options.GracePeriodSeconds == nil || seconds >= *granted {
		return leaveAlone
	}
	began := m.GetDeletionTimestamp().Add(-time.Duration(*granted) * time.Second)
	ends := metav1.NewTime(began.Add(time.Duration(seconds) * time.Second))
	m.SetDeletionTimestamp(&ends)
	setGrace(m, seconds)
	if seconds == 0 {
		return removeNow
	}
	return markDeleted
}

// begin marks an object as being deleted.
func begin(m metav1.Object, seconds int64, now time.Time) {
	ends := metav1.NewTime(now.Add(time.Duration(seconds) * time.Second)).Rfc3339Copy()
	m.SetDeletionTimestamp(&ends)
	setGrace(m, seconds)
	if m.GetGeneration() > 0 {
		m.SetGeneration(m.GetGeneration() + 1)
	}
}

func setGrace(m metav1.Object, seconds int64) { m.SetDeletionGracePeriodSeconds(&seconds) }

// expiresLater reports whether an object still has grace.
func expiresLater(m metav1.Object) bool {
	granted := m.GetDeletionGracePeriodSeconds()
	return granted != nil && *granted > 0
}

// setFinalizers adds and removes the garbage collector's finalizers as the
// propagation policy demands, and reports whether that changed anything.
func setFinalizers(row *registry.Resource, m metav1.Object, options *metav1.DeleteOptions) bool {
	if row.TTL != nil {
		return false // expiring objects own nothing
	}
	before := m.GetFinalizers()
	after := make([]string, 0, len(before)+1)
	for _, finalizer := range before {
		if finalizer != metav1.FinalizerOrphanDependents && finalizer != metav1.FinalizerDeleteDependents {
			after = append(after, finalizer)
		}
	}
	if finalizer := propagation(row, before, options); finalizer != "" {
		after = append(after, finalizer)
	}
	if sameSet(before, after) {
		return false
	}
	m.SetFinalizers(after)
	return true
}

// propagation is the finalizer that stands for what shall happen to the
// dependents, empty when they go in the background: the client's word first,
// then what an earlier deletion said, then the kind's default.
func propagation(row *registry.Resource, finalizers []string, options *metav1.DeleteOptions) string {
	switch {
	case options.PropagationPolicy != nil:
		switch *options.PropagationPolicy {
		case metav1.DeletePropagationOrphan:
			return metav1.FinalizerOrphanDependents
		case metav1.DeletePropagationForeground:
			return metav1.FinalizerDeleteDependents
		}
		return ""
	//nolint:staticcheck // the deprecated form of the same wish
	case options.OrphanDependents != nil:
		if *options.OrphanDependents {
			return metav1.FinalizerOrphanDependents
		}
		return ""
	}
	for _, finalizer := range []string{metav1.FinalizerOrphanDependents, metav1.FinalizerDeleteDependents} {
		if slices.Contains(finalizers, finalizer) {
			return finalizer
		}
	}
	if row.Delete.OrphanByDefault {
		return metav1.FinalizerOrphanDependents
	}
	return ""
}

func sameSet(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for _, s := range a {
		if !slices.Contains(b, s) {
			return false
		}
	}
	return true
}

// over reports whether an object's deletion has begun and nothing is left to
// wait for.
func over(row *registry.Resource, obj runtime.Object) bool {
	m, err := meta.Accessor(obj)
	if err != nil || m.GetDeletionTimestamp() == nil || len(m.GetFinalizers()) > 0 || expiresLater(m) {
		return false
	}
	return row.Delete.Finished == nil || row.Delete.Finished(obj)
}
