package builtin

import (
	"context"
	"errors"
	"fmt"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/yare-io/yare/admission"
	nodeauthz "github.com/yare-io/yare/apiserver/authz/node"
)

func (p *nodeRestriction) checkPod(ctx context.Context, a *admission.Attributes, node string) error {
	switch {
	case a.Subresource == "" && a.Operation == admission.Create:
		return p.checkMirrorPod(ctx, a, node)
	case a.Subresource == "" && a.Operation == admission.Delete:
		return p.checkPodDelete(ctx, a, node)
	case a.Subresource == "":
		return fmt.Errorf("unexpected operation %q, node %q can only create and delete mirror pods", a.Operation, node)
	case a.Subresource == "status" && a.Operation == admission.Update:
		return checkPodStatus(a, node)
	case a.Subresource == "eviction" && a.Operation == admission.Create:
		return p.checkEviction(ctx, a, node)
	}
	return fmt.Errorf("unexpected pod subresource %q, only 'status' and 'eviction' are allowed", a.Subresource)
}

// checkMirrorPod: a node tells of its static pods. Such a pod must refer to
// nothing, for the node would gain access to it.
func (p *nodeRestriction) checkMirrorPod(ctx context.Context, a *admission.Attributes, node string) error {
	pod, ok := a.Object.(*corev1.Pod)
	if !ok {
		return fmt.Errorf("unexpected type %T", a.Object)
	}
	if !isMirror(pod) {
		return fmt.Errorf("pod does not have %q annotation, node %q can only create mirror pods", corev1.MirrorPodAnnotationKey, node)
	}
	if pod.Spec.NodeName != node {
		return fmt.Errorf("node %q can only create pods with spec.nodeName set to itself", node)
	}
	if err := p.checkOwner(ctx, pod, node); err != nil {
		return err
	}
	return checkReferences(pod, node)
}

func (p *nodeRestriction) checkOwner(ctx context.Context, pod *corev1.Pod, node string) error {
	if len(pod.OwnerReferences) != 1 {
		return fmt.Errorf("node %q can only create pods with a single owner reference set to itself", node)
	}
	owner := pod.OwnerReferences[0]
	switch {
	case owner.APIVersion != "v1" || owner.Kind != "Node" || owner.Name != node:
		return fmt.Errorf("node %q can only create pods with an owner reference set to itself", node)
	case !ptr.Deref(owner.Controller, false):
		return fmt.Errorf("node %q can only create pods with a controller owner reference set to itself", node)
	case ptr.Deref(owner.BlockOwnerDeletion, false):
		return fmt.Errorf("node %q must not set blockOwnerDeletion on an owner reference", node)
	}
	self, err := p.client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if owner.UID != self.UID {
		return fmt.Errorf("node %s UID mismatch: expected %s got %s", node, owner.UID, self.UID)
	}
	return nil
}

func checkReferences(pod *corev1.Pod, node string) error {
	kinds := map[nodeauthz.Kind]string{
		nodeauthz.ServiceAccount: "a service account", nodeauthz.Secret: "secrets", nodeauthz.ConfigMap: "configmaps",
		nodeauthz.PersistentVolumeClaim: "persistentvolumeclaims", nodeauthz.ResourceClaim: "resourceclaims",
	}
	for _, ref := range nodeauthz.References(pod) {
		return fmt.Errorf("node %q can not create pods that reference %s", node, kinds[ref.Kind])
	}
	if len(pod.Spec.ResourceClaims) > 0 {
		return fmt.Errorf("node %q can not create pods that reference resourceclaims", node)
	}
	for _, volume := range pod.Spec.Volumes {
		if volume.Projected == nil {
			continue
		}
		for _, source := range volume.Projected.Sources {
			switch {
			case source.ServiceAccountToken != nil:
				return fmt.Errorf("node %q can not create pods that reference a service account", node)
			case source.ClusterTrustBundle != nil:
				return fmt.Errorf("node %q can not create pods that reference clustertrustbundles", node)
			case source.PodCertificate != nil:
				return fmt.Errorf("node %q can not create pods that reference podcertificates", node)
			}
		}
	}
	return nil
}

func (p *nodeRestriction) checkPodDelete(ctx context.Context, a *admission.Attributes, node string) error {
	pod, ok := a.OldObject.(*corev1.Pod)
	if !ok {
		var err error
		if pod, err = p.pod(ctx, a.Namespace, a.Name); err != nil {
			return err
		}
	}
	if pod.Spec.NodeName != node {
		return fmt.Errorf("node %q can only delete pods with spec.nodeName set to itself", node)
	}
	return nil
}

// pod trusts the cache for a pod that is there, since pods do not move.
func (p *nodeRestriction) pod(ctx context.Context, namespace, name string) (*corev1.Pod, error) {
	if pod, err := p.pods.Pods(namespace).Get(name); err == nil && pod.Spec.NodeName != "" {
		return pod, nil
	}
	return p.client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
}

// checkPodStatus: the status is the node's to write, and nothing that decides
// what the pod may reach.
func checkPodStatus(a *admission.Attributes, node string) error {
	pod, ok := a.Object.(*corev1.Pod)
	old, okOld := a.OldObject.(*corev1.Pod)
	if !ok || !okOld {
		return errors.New("unexpected type of pod")
	}
	switch {
	case old.Spec.NodeName != node:
		return fmt.Errorf("node %q can only update pod status for pods with spec.nodeName set to itself", node)
	case !equality.Semantic.DeepEqual(pod.Labels, old.Labels):
		return fmt.Errorf("node %q cannot update labels through pod status", node)
	case !equality.Semantic.DeepEqual(pod.Status.ResourceClaimStatuses, old.Status.ResourceClaimStatuses):
		return fmt.Errorf("node %q cannot update resource claim statuses", node)
	case !equality.Semantic.DeepEqual(pod.Status.ExtendedResourceClaimStatus, old.Status.ExtendedResourceClaimStatus):
		return fmt.Errorf("node %q cannot update extended resource claim statuses", node)
	}
	return nil
}

func (p *nodeRestriction) checkEviction(ctx context.Context, a *admission.Attributes, node string) error {
	name := a.Name
	if eviction, ok := a.Object.(*policyv1.Eviction); ok && name == "" {
		name = eviction.Name
	}
	if name == "" {
		return errors.New("could not determine pod from request data")
	}
	pod, err := p.pod(ctx, a.Namespace, name)
	if err != nil {
		return err
	}
	if pod.Spec.NodeName != node {
		return fmt.Errorf("node %s can only evict pods with spec.nodeName set to itself", node)
	}
	return nil
}

// checkPodCertificate: a node asks for certificates of pods it runs.
func (p *nodeRestriction) checkPodCertificate(ctx context.Context, a *admission.Attributes, node string) error {
	request, ok := a.Object.(*certificatesv1.PodCertificateRequest)
	if !ok || a.Operation != admission.Create {
		return fmt.Errorf("node %q can only create PodCertificateRequests", node)
	}
	if string(request.Spec.NodeName) != node {
		return fmt.Errorf("PodCertificateRequest.Spec.NodeName=%q, which is not the requesting node %q", request.Spec.NodeName, node)
	}
	pod, err := p.pod(ctx, a.Namespace, request.Spec.PodName)
	if err != nil {
		return err
	}
	switch {
	case pod.UID != request.Spec.PodUID:
		return errors.New("PodCertificateRequest for pod contains pod UID which differs from running pod")
	case isMirror(pod):
		return errors.New("pod is a mirror pod, which must not have certificates")
	case pod.Spec.NodeName != node:
		return fmt.Errorf("pod is not running on node %q", node)
	case pod.Spec.ServiceAccountName != request.Spec.ServiceAccountName:
		return errors.New("PodCertificateRequest is for another service account than the pod's")
	}
	return nil
}

func checkClaimStatus(a *admission.Attributes, node string) error {
	claim, ok := a.Object.(*corev1.PersistentVolumeClaim)
	old, okOld := a.OldObject.(*corev1.PersistentVolumeClaim)
	if !ok || !okOld {
		return errors.New("unexpected type of claim")
	}
	// A node reports on resizing and nothing else.
	claim, old = claim.DeepCopy(), old.DeepCopy()
	for _, c := range []*corev1.PersistentVolumeClaim{claim, old} {
		c.ManagedFields, c.ResourceVersion = nil, ""
		c.Status.Capacity, c.Status.Conditions = nil, nil
		c.Status.AllocatedResources, c.Status.AllocatedResourceStatuses = nil, nil
	}
	if !equality.Semantic.DeepEqual(claim, old) {
		return fmt.Errorf("node %q is not allowed to update fields other than status.quantity and status.conditions", node)
	}
	return nil
}
