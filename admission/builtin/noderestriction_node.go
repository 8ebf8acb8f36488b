package builtin

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/yare-io/yare/admission"
)

// kubeletLabels are labels of Kubernetes' own domains that a node sets itself.
var kubeletLabels = []string{
	corev1.LabelHostname, corev1.LabelOSStable, corev1.LabelArchStable, corev1.LabelInstanceTypeStable,
	corev1.LabelTopologyZone, corev1.LabelTopologyRegion,
	corev1.LabelFailureDomainBetaZone, corev1.LabelFailureDomainBetaRegion, corev1.LabelInstanceType,
	"beta.kubernetes.io/os", "beta.kubernetes.io/arch",
}

// kubeletLabelDomains are domains of which a node sets any label.
var kubeletLabelDomains = []string{"kubelet.kubernetes.io", "node.kubernetes.io"}

// checkNode: a node writes its own object, but not what keeps pods from it.
func checkNode(_ context.Context, a *admission.Attributes, node string) error {
	name := a.Name
	object, _ := a.Object.(*corev1.Node)
	if object != nil && a.Operation == admission.Create {
		name = object.Name
	}
	if name != node {
		return fmt.Errorf("node %q is not allowed to modify node %q", node, name)
	}
	if object == nil {
		return nil
	}
	old, _ := a.OldObject.(*corev1.Node)
	if old == nil {
		old = &corev1.Node{}
	}
	if object.Spec.ConfigSource != nil && !equality.Semantic.DeepEqual(object.Spec.ConfigSource, old.Spec.ConfigSource) {
		return fmt.Errorf("node %q is not allowed to create or change a configSource", node)
	}
	if a.Operation == admission.Update && !equality.Semantic.DeepEqual(object.Spec.Taints, old.Spec.Taints) {
		return fmt.Errorf("node %q is not allowed to modify taints", node)
	}
	if !equality.Semantic.DeepEqual(object.OwnerReferences, old.OwnerReferences) {
		return fmt.Errorf("node %q is not allowed to modify ownerReferences", node)
	}
	if labels := forbiddenLabels(object.Labels, old.Labels); len(labels) > 0 {
		return fmt.Errorf("is not allowed to modify labels: %s", strings.Join(labels, ", "))
	}
	return nil
}

// forbiddenLabels are those changed that a node must not change, sorted.
func forbiddenLabels(now, before map[string]string) []string {
	var forbidden []string
	all := maps.Clone(before)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, now)
	for key := range all {
		was, had := before[key]
		is, has := now[key]
		if (had != has || was != is) && !mayLabel(key) {
			forbidden = append(forbidden, key)
		}
	}
	slices.Sort(forbidden)
	return forbidden
}

func mayLabel(key string) bool {
	domain, _, prefixed := strings.Cut(key, "/")
	if !prefixed {
		return true
	}
	if inDomain(domain, "node-restriction.kubernetes.io") {
		return false
	}
	if !inDomain(domain, "kubernetes.io") && !inDomain(domain, "k8s.io") {
		return true
	}
	return slices.Contains(kubeletLabels, key) ||
		slices.ContainsFunc(kubeletLabelDomains, func(d string) bool { return inDomain(domain, d) })
}

func inDomain(domain, of string) bool {
	return domain == of || strings.HasSuffix(domain, "."+of)
}
