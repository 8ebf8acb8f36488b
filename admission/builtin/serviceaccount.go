package builtin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"

	"github.com/yare-io/yare/admission"
)

const (
	defaultServiceAccount = "default"
	tokenVolumePrefix     = "kube-api-access-"
	tokenMountPath        = "/var/run/secrets/kubernetes.io/serviceaccount"
	rootCAConfigMap       = "kube-root-ca.crt"
	tokenSeconds          = 3607

	// The default account of a new namespace is made a moment after it.
	accountAttempts = 10
	accountRetry    = 100 * time.Millisecond
)

// serviceAccount gives each pod an account, and the account's token in a
// volume.
type serviceAccount struct {
	plugin
	client   kubernetes.Interface
	accounts corelisters.ServiceAccountLister
	clock    clock.Clock
}

func newServiceAccount(deps Deps) (admission.Plugin, error) {
	return &serviceAccount{
		plugin:   on("ServiceAccount", admission.Create, admission.Update),
		client:   deps.Client,
		accounts: deps.Informers.Core().V1().ServiceAccounts().Lister(),
		clock:    deps.Clock,
	}, nil
}

// Admit sets the account, its token volume and its image pull secrets.
func (p *serviceAccount) Admit(ctx context.Context, a *admission.Attributes) error {
	return admission.Refusal(a, p.admit(ctx, a))
}

func (p *serviceAccount) admit(ctx context.Context, a *admission.Attributes) error {
	pod, ok := newPod(a)
	if !ok || isMirror(pod) {
		return nil
	}
	if pod.Spec.ServiceAccountName == "" {
		pod.Spec.ServiceAccountName = defaultServiceAccount
	}
	pod.Spec.DeprecatedServiceAccount = pod.Spec.ServiceAccountName
	account, err := p.account(ctx, a.Namespace, pod.Spec.ServiceAccountName)
	if err != nil {
		return err
	}
	if automounts(account, pod) {
		mountToken(pod)
	}
	if len(pod.Spec.ImagePullSecrets) == 0 {
		pod.Spec.ImagePullSecrets = slices.Clone(account.ImagePullSecrets)
	}
	return nil
}

// Validate checks that the account exists and may use the secrets it refers to.
func (p *serviceAccount) Validate(ctx context.Context, a *admission.Attributes) error {
	return admission.Refusal(a, p.validate(ctx, a))
}

func (p *serviceAccount) validate(ctx context.Context, a *admission.Attributes) error {
	if pod, ok := a.Object.(*corev1.Pod); ok && a.Operation == admission.Update && a.Is(corev1.Resource("pods"), "ephemeralcontainers") {
		return p.validateEphemeral(ctx, a, pod)
	}
	pod, ok := newPod(a)
	if !ok {
		return nil
	}
	if isMirror(pod) {
		return validateMirror(pod)
	}
	if pod.Spec.ServiceAccountName == "" {
		return fmt.Errorf("no service account specified for pod %s/%s", a.Namespace, pod.Name)
	}
	account, err := p.account(ctx, a.Namespace, pod.Spec.ServiceAccountName)
	if err != nil {
		return err
	}
	return limitSecrets(account, pod)
}

func (p *serviceAccount) validateEphemeral(ctx context.Context, a *admission.Attributes, pod *corev1.Pod) error {
	account, err := p.account(ctx, a.Namespace, pod.Spec.ServiceAccountName)
	if err != nil {
		return err
	}
	if !enforcesSecrets(account) {
		return nil
	}
	for _, container := range pod.Spec.EphemeralContainers {
		if name, ok := environmentSecret(container.Env, container.EnvFrom, mountable(account)); !ok {
			return fmt.Errorf("ephemeral container %s with secret.secretName=%q is not allowed because service account %s does not reference that secret",
				container.Name, name, account.Name)
		}
	}
	return nil
}

func (p *serviceAccount) account(ctx context.Context, namespace, name string) (*corev1.ServiceAccount, error) {
	if account, err := p.accounts.ServiceAccounts(namespace).Get(name); err == nil {
		return account, nil
	}
	attempts := 1
	if name == defaultServiceAccount {
		attempts = accountAttempts
	}
	for attempt := 1; ; attempt++ {
		account, err := p.client.CoreV1().ServiceAccounts(namespace).Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			return account, nil
		}
		if !apierrors.IsNotFound(err) || attempt == attempts {
			return nil, fmt.Errorf("error looking up service account %s/%s: %s", namespace, name, err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-p.clock.After(accountRetry):
		}
	}
}

// newPod is the pod that the request creates, if it creates one.
func newPod(a *admission.Attributes) (*corev1.Pod, bool) {
	if a.Operation != admission.Create || !a.Is(corev1.Resource("pods"), "") {
		return nil, false
	}
	pod, ok := a.Object.(*corev1.Pod)
	return pod, ok
}

// isMirror: the kubelet's copy of a static pod must stay as the kubelet has it.
func isMirror(pod *corev1.Pod) bool {
	_, ok := pod.Annotations[corev1.MirrorPodAnnotationKey]
	return ok
}

func validateMirror(pod *corev1.Pod) error {
	if pod.Spec.ServiceAccountName != "" {
		return errors.New("a mirror pod may not reference service accounts")
	}
	if len(podSecrets(pod)) > 0 {
		return errors.New("a mirror pod may not reference secrets")
	}
	for _, volume := range pod.Spec.Volumes {
		if volume.Projected == nil {
			continue
		}
		for _, source := range volume.Projected.Sources {
			if source.ServiceAccountToken != nil {
				return errors.New("a mirror pod may not use ServiceAccountToken volume projections")
			}
		}
	}
	return nil
}

func automounts(account *corev1.ServiceAccount, pod *corev1.Pod) bool {
	if pod.Spec.AutomountServiceAccountToken != nil {
		return *pod.Spec.AutomountServiceAccountToken
	}
	return ptr.Deref(account.AutomountServiceAccountToken, true)
}

// mountToken adds the token volume, and mounts it wherever nothing else is.
func mountToken(pod *corev1.Pod) {
	name := ""
	for _, volume := range pod.Spec.Volumes {
		if strings.HasPrefix(volume.Name, tokenVolumePrefix) {
			name = volume.Name
			break
		}
	}
	exists := name != ""
	if !exists {
		name = tokenVolumePrefix + rand.String(5)
	}
	needed := false
	for _, containers := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range containers {
			if mountTokenIn(&containers[i], name) {
				needed = true
			}
		}
	}
	if needed && !exists {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{
			Name: name, VolumeSource: corev1.VolumeSource{Projected: tokenVolume()},
		})
	}
}

func mountTokenIn(container *corev1.Container, volume string) bool {
	for _, mount := range container.VolumeMounts {
		if mount.MountPath == tokenMountPath {
			return false
		}
	}
	container.VolumeMounts = append(container.VolumeMounts, corev1.VolumeMount{
		Name: volume, ReadOnly: true, MountPath: tokenMountPath,
	})
	return true
}

// tokenVolume holds what a client in a pod needs: token, CA and namespace.
func tokenVolume() *corev1.ProjectedVolumeSource {
	return &corev1.ProjectedVolumeSource{
		DefaultMode: ptr.To[int32](0o644),
		Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: ptr.To[int64](tokenSeconds)}},
			{ConfigMap: &corev1.ConfigMapProjection{
				LocalObjectReference: corev1.LocalObjectReference{Name: rootCAConfigMap},
				Items:                []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}},
			}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{
				{Path: "namespace", FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.namespace"}},
			}}},
		},
	}
}
