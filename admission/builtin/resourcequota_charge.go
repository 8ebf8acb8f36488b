package builtin

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/apiserver/api/usage"
)

// quotaAttempts bounds how often a quota that others write is read again.
const quotaAttempts = 20

// charge takes from every quota, and gives back what it took when one has not
// enough.
func (p *resourceQuota) charge(ctx context.Context, a *admission.Attributes, quotas []*corev1.ResourceQuota, used corev1.ResourceList) error {
	for i, quota := range quotas {
		err := p.take(ctx, a, quota, used)
		if err == nil {
			continue
		}
		if !a.DryRun {
			p.giveBack(ctx, quotas[:i], used)
		}
		return err
	}
	return nil
}

// take writes the use of one quota, if it has room.
func (p *resourceQuota) take(ctx context.Context, a *admission.Attributes, quota *corev1.ResourceQuota, used corev1.ResourceList) error {
	for range quotaAttempts {
		requested := usage.Only(used, usage.Names(quota.Status.Hard))
		if isZero(requested) {
			return nil
		}
		if err := exceeded(a, quota, requested); err != nil {
			return p.sure(ctx, a, quota, requested, err)
		}
		if a.DryRun {
			return nil
		}
		err := p.write(ctx, quota, requested)
		if !apierrors.IsConflict(err) {
			return err
		}
		if quota, err = p.client.CoreV1().ResourceQuotas(a.Namespace).Get(ctx, quota.Name, metav1.GetOptions{}); err != nil {
			if apierrors.IsNotFound(err) {
				return nil
			}
			return err
		}
	}
	return apierrors.NewConflict(corev1.Resource("resourcequotas"), quota.Name, errors.New("the quota is written too often by others; try again"))
}

// sure asks the server itself before a request is refused: the cache may not
// know yet what has become free.
func (p *resourceQuota) sure(ctx context.Context, a *admission.Attributes, quota *corev1.ResourceQuota, requested corev1.ResourceList, refusal error) error {
	live, err := p.client.CoreV1().ResourceQuotas(a.Namespace).Get(ctx, quota.Name, metav1.GetOptions{})
	if err != nil || live.ResourceVersion == quota.ResourceVersion {
		return refusal
	}
	if err := exceeded(a, live, requested); err != nil || a.DryRun {
		return err
	}
	return p.write(ctx, live, requested)
}

func (p *resourceQuota) write(ctx context.Context, quota *corev1.ResourceQuota, more corev1.ResourceList) error {
	changed := quota.DeepCopy()
	changed.Status.Used = usage.Add(quota.Status.Used, more)
	_, err := p.client.CoreV1().ResourceQuotas(quota.Namespace).UpdateStatus(ctx, changed, metav1.UpdateOptions{})
	return err
}

// giveBack is best effort: the controller counts again in any case.
func (p *resourceQuota) giveBack(ctx context.Context, quotas []*corev1.ResourceQuota, used corev1.ResourceList) {
	for _, quota := range quotas {
		for range quotaAttempts {
			live, err := p.client.CoreV1().ResourceQuotas(quota.Namespace).Get(ctx, quota.Name, metav1.GetOptions{})
			if err != nil {
				break
			}
			less := corev1.ResourceList{}
			for name, amount := range usage.Only(used, usage.Names(live.Status.Hard)) {
				amount.Neg()
				less[name] = amount
			}
			if err := p.write(ctx, live, less); !apierrors.IsConflict(err) {
				break
			}
		}
	}
}

// exceeded is the refusal when a quota has no room.
func exceeded(a *admission.Attributes, quota *corev1.ResourceQuota, requested corev1.ResourceList) error {
	var over []corev1.ResourceName
	sum := usage.Add(quota.Status.Used, requested)
	for _, name := range usage.Names(requested) {
		hard, now := quota.Status.Hard[name], sum[name]
		if now.Cmp(hard) > 0 {
			over = append(over, name)
		}
	}
	if len(over) == 0 {
		return nil
	}
	return admission.Forbidden(a, fmt.Errorf("exceeded quota: %s, requested: %s, used: %s, limited: %s",
		quota.Name, amounts(requested, over), amounts(quota.Status.Used, over), amounts(quota.Status.Hard, over)))
}

func amounts(list corev1.ResourceList, names []corev1.ResourceName) string {
	parts := make([]string, len(names))
	for i, name := range names {
		amount := list[name]
		parts[i] = fmt.Sprintf("%s=%s", name, amount.String())
	}
	return strings.Join(parts, ",")
}

func isZero(list corev1.ResourceList) bool {
	for _, amount := range list {
		if !amount.IsZero() {
			return false
		}
	}
	return true
}
