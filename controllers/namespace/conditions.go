package namespace

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// conditionText is how a deletion condition reads while all is well.
var conditionText = []struct {
	kind            corev1.NamespaceConditionType
	reason, message string
}{
	{corev1.NamespaceDeletionDiscoveryFailure, "ResourcesDiscovered", "All resources successfully discovered"},
	{corev1.NamespaceDeletionGVParsingFailure, "ParsedGroupVersions", "All legacy kube types successfully parsed"},
	{corev1.NamespaceDeletionContentFailure, "ContentDeleted", "All content successfully deleted, may be waiting on finalization"},
	{corev1.NamespaceContentRemaining, "ContentRemoved", "All content successfully removed"},
	{corev1.NamespaceFinalizersRemaining, "ContentHasNoFinalizers", "All content-preserving finalizers finished"},
}

// conditions returns the namespace's conditions after a pass with that outcome.
func conditions(before []corev1.NamespaceCondition, found *outcome, now time.Time) []corev1.NamespaceCondition {
	after := slices.Clone(before)
	for _, text := range conditionText {
		condition := corev1.NamespaceCondition{
			Type: text.kind, Status: corev1.ConditionFalse, Reason: text.reason, Message: text.message,
			LastTransitionTime: metav1.NewTime(now),
		}
		if reason, message := found.trouble(text.kind); reason != "" {
			condition.Status, condition.Reason, condition.Message = corev1.ConditionTrue, reason, message
		}
		after = merge(after, condition)
	}
	return after
}

// trouble says why the condition is true, reason "" if it is not.
func (o *outcome) trouble(kind corev1.NamespaceConditionType) (reason, message string) {
	switch {
	case kind == corev1.NamespaceDeletionDiscoveryFailure && o.discovery != nil:
		return "DiscoveryFailed", fmt.Sprintf("Discovery failed for some groups, %v", o.discovery)
	case kind == corev1.NamespaceDeletionGVParsingFailure && o.unparsed != nil:
		return "GroupVersionParsingFailed", fmt.Sprintf("Parsing of some group versions failed: %v", o.unparsed)
	case kind == corev1.NamespaceDeletionContentFailure && o.deletion != nil:
		return "ContentDeletionFailed", fmt.Sprintf("Failed to delete all resource types, %v", o.deletion)
	case kind == corev1.NamespaceContentRemaining && len(o.remaining) > 0:
		return "SomeResourcesRemain", "Some resources are remaining: " + o.remainingText()
	case kind == corev1.NamespaceFinalizersRemaining && len(o.finalizers) > 0:
		return "SomeFinalizersRemain", "Some content in the namespace has finalizers remaining: " + o.finalizersText()
	}
	return "", ""
}

func (o *outcome) remainingText() string {
	keys := slices.SortedFunc(maps.Keys(o.remaining), func(a, b schema.GroupVersionResource) int {
		return cmp.Or(strings.Compare(a.Group, b.Group), strings.Compare(a.Resource, b.Resource))
	})
	var parts []string
	for _, key := range keys {
		parts = append(parts, fmt.Sprintf("%s.%s has %d resource instances", key.Resource, key.Group, o.remaining[key]))
	}
	return strings.Join(parts, ", ")
}

func (o *outcome) finalizersText() string {
	var parts []string
	for _, finalizer := range slices.Sorted(maps.Keys(o.finalizers)) {
		parts = append(parts, fmt.Sprintf("%s in %d resource instances", finalizer, o.finalizers[finalizer]))
	}
	return strings.Join(parts, ", ")
}

// merge replaces the condition of its type if anything but its time differs.
func merge(conditions []corev1.NamespaceCondition, condition corev1.NamespaceCondition) []corev1.NamespaceCondition {
	at := slices.IndexFunc(conditions, func(c corev1.NamespaceCondition) bool { return c.Type == condition.Type })
	if at < 0 {
		return append(conditions, condition)
	}
	if c := conditions[at]; c.Status == condition.Status && c.Reason == condition.Reason && c.Message == condition.Message {
		return conditions
	}
	if conditions[at].Status == condition.Status {
		condition.LastTransitionTime = conditions[at].LastTransitionTime
	}
	conditions[at] = condition
	return conditions
}
