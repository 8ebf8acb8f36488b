package builtin

import (
	"context"
	"errors"
	"fmt"
	"slices"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/yare-io/yare/admission"
)

// checkToken: a node asks for tokens of accounts in the name of pods it runs,
// for the audiences those pods want.
func (p *nodeRestriction) checkToken(ctx context.Context, a *admission.Attributes, node string) error {
	request, ok := a.Object.(*authenticationv1.TokenRequest)
	if !ok || a.Operation != admission.Create || a.Subresource != "token" {
		return fmt.Errorf("node %q may only create tokens of service accounts", node)
	}
	ref := request.Spec.BoundObjectRef
	if ref == nil || ref.APIVersion != "v1" || ref.Kind != "Pod" || ref.Name == "" {
		return errors.New("node requested token not bound to a pod")
	}
	if ref.UID == "" {
		return errors.New("node requested token with a pod binding without a uid")
	}
	pod, err := p.pod(ctx, a.Namespace, ref.Name)
	if err != nil {
		return err
	}
	if ref.UID != pod.UID {
		return fmt.Errorf("the UID in the bound object reference (%s) does not match the UID in record. The object might have been deleted and then recreated", ref.UID)
	}
	if pod.Spec.NodeName != node {
		return errors.New("node requested token bound to a pod scheduled on a different node")
	}
	return p.checkAudience(ctx, a, pod, request.Spec.Audiences)
}

func (p *nodeRestriction) checkAudience(ctx context.Context, a *admission.Attributes, pod *corev1.Pod, audiences []string) error {
	if len(audiences) > 1 {
		return errors.New("node may only request 0 or 1 audiences")
	}
	audience := ""
	if len(audiences) == 1 {
		audience = audiences[0]
	}
	wanted, err := p.wantsAudience(ctx, pod, audience)
	if err != nil {
		return fmt.Errorf("error validating audience %q: %w", audience, err)
	}
	if wanted {
		return nil
	}
	decision, _, _ := p.authorizer.Authorize(ctx, authorizer.AttributesRecord{
		User: a.User, Verb: "request-serviceaccounts-token-audience", Namespace: a.Namespace, Name: a.Name,
		APIVersion: "v1", Resource: audience, ResourceRequest: true,
	})
	if decision == authorizer.DecisionAllow {
		return nil
	}
	return fmt.Errorf("audience %q not found in pod spec volume, %s is not authorized to request this service account token audience", audience, a.User.GetName())
}

// wantsAudience looks at the token volumes of the pod, and at the drivers of
// its other volumes.
func (p *nodeRestriction) wantsAudience(ctx context.Context, pod *corev1.Pod, audience string) (bool, error) {
	var drivers []string
	for i := range pod.Spec.Volumes {
		volume := &pod.Spec.Volumes[i]
		if volume.Projected != nil && projects(volume.Projected, audience) {
			return true, nil
		}
		driver, err := p.driver(ctx, pod, volume)
		if err != nil {
			return false, err
		}
		if driver != "" {
			drivers = append(drivers, driver)
		}
	}
	slices.Sort(drivers)
	for _, name := range slices.Compact(drivers) {
		driver, err := p.client.StorageV1().CSIDrivers().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(driver.Spec.TokenRequests, func(r storagev1.TokenRequest) bool { return r.Audience == audience }) {
			return true, nil
		}
	}
	return false, nil
}

func projects(volume *corev1.ProjectedVolumeSource, audience string) bool {
	return slices.ContainsFunc(volume.Sources, func(s corev1.VolumeProjection) bool {
		return s.ServiceAccountToken != nil && s.ServiceAccountToken.Audience == audience
	})
}

// driver is the CSI driver of a volume: its own, or that of the volume behind
// its claim.
func (p *nodeRestriction) driver(ctx context.Context, pod *corev1.Pod, volume *corev1.Volume) (string, error) {
	name := ""
	switch {
	case volume.CSI != nil:
		return volume.CSI.Driver, nil
	case volume.PersistentVolumeClaim != nil:
		name = volume.PersistentVolumeClaim.ClaimName
	case volume.Ephemeral != nil:
		name = pod.Name + "-" + volume.Name
	default:
		return "", nil
	}
	claim, err := p.client.CoreV1().PersistentVolumeClaims(pod.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil || claim.Spec.VolumeName == "" {
		return "", err
	}
	behind, err := p.client.CoreV1().PersistentVolumes().Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{})
	if err != nil || behind.Spec.CSI == nil {
		return "", err
	}
	return behind.Spec.CSI.Driver, nil
}
