package deployment

import (
	"fmt"
	"maps"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// Annotations that Kubernetes' clients (kubectl rollout) read and write.
const (
	RevisionAnnotation        = "deployment.kubernetes.io/revision"
	RevisionHistoryAnnotation = "deployment.kubernetes.io/revision-history"
	DesiredReplicasAnnotation = "deployment.kubernetes.io/desired-replicas"
	MaxReplicasAnnotation     = "deployment.kubernetes.io/max-replicas"

	rollbackAnnotation = "deprecated.deployment.rollback.to"
	// maxHistory is the longest revision history kept, in characters.
	maxHistory = 2000
)

// notCopied are the deployment's annotations that say something of the
// deployment itself and so are not handed down to its replica sets.
var notCopied = map[string]bool{
	corev1.LastAppliedConfigAnnotation: true,
	RevisionAnnotation:                 true,
	RevisionHistoryAnnotation:          true,
	DesiredReplicasAnnotation:          true,
	MaxReplicasAnnotation:              true,
	rollbackAnnotation:                 true,
}

// revisionOf returns a set's revision, 0 if it has none that can be read.
func revisionOf(set *appsv1.ReplicaSet) int64 {
	revision, err := strconv.ParseInt(set.Annotations[RevisionAnnotation], 10, 64)
	if err != nil {
		return 0
	}
	return revision
}

func latestRevision(sets []*appsv1.ReplicaSet) int64 {
	var latest int64
	for _, set := range sets {
		latest = max(latest, revisionOf(set))
	}
	return latest
}

// inheritAnnotations hands the deployment's annotations down to its newest set
// and moves the set up to revision, remembering the one it had.
func inheritAnnotations(d *appsv1.Deployment, set *appsv1.ReplicaSet, revision int64, existed bool) (changed bool) {
	before := maps.Clone(set.Annotations)
	if set.Annotations == nil {
		set.Annotations = map[string]string{}
	}
	for key, value := range d.Annotations {
		if !notCopied[key] {
			set.Annotations[key] = value
		}
	}
	if old := revisionOf(set); old < revision {
		if existed && set.Annotations[RevisionAnnotation] != "" {
			set.Annotations[RevisionHistoryAnnotation] = appendHistory(set.Annotations[RevisionHistoryAnnotation], set.Annotations[RevisionAnnotation])
		}
		set.Annotations[RevisionAnnotation] = strconv.FormatInt(revision, 10)
	}
	if !existed {
		setReplicasAnnotations(set, d)
	}
	return !maps.Equal(before, set.Annotations)
}

// appendHistory adds a revision to a comma-separated history and drops the
// oldest ones while it is too long.
func appendHistory(history, revision string) string {
	if history == "" {
		return revision
	}
	revisions := append(strings.Split(history, ","), revision)
	for len(revisions) > 1 && len(strings.Join(revisions, ",")) > maxHistory {
		revisions = revisions[1:]
	}
	return strings.Join(revisions, ",")
}

// setReplicasAnnotations notes on the set for how many replicas it was sized.
// The next scaling takes its proportions from there.
func setReplicasAnnotations(set *appsv1.ReplicaSet, d *appsv1.Deployment) (changed bool) {
	wanted := replicasOf(d.Spec.Replicas)
	notes := map[string]string{
		DesiredReplicasAnnotation: fmt.Sprint(wanted),
		MaxReplicasAnnotation:     fmt.Sprint(wanted + maxSurge(d)),
	}
	for key, value := range notes {
		if set.Annotations[key] != value {
			if set.Annotations == nil {
				set.Annotations = map[string]string{}
			}
			set.Annotations[key] = value
			changed = true
		}
	}
	return changed
}

func replicasNote(set *appsv1.ReplicaSet, annotation string) (int32, bool) {
	noted, err := strconv.ParseInt(set.Annotations[annotation], 10, 32)
	return int32(noted), err == nil
}
