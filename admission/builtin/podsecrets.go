package builtin

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/yare-io/yare/apiserver/authz/node"
)

// enforceSecretsAnnotation on a service account limits its pods to the secrets
// the account lists.
const enforceSecretsAnnotation = "kubernetes.io/enforce-mountable-secrets"

func enforcesSecrets(account *corev1.ServiceAccount) bool {
	return account.Annotations[enforceSecretsAnnotation] == "true"
}

func mountable(account *corev1.ServiceAccount) sets.Set[string] {
	names := sets.New[string]()
	for _, ref := range account.Secrets {
		names.Insert(ref.Name)
	}
	return names
}

// limitSecrets refuses a pod with secrets its account does not list, if the
// account wants that.
func limitSecrets(account *corev1.ServiceAccount, pod *corev1.Pod) error {
	if !enforcesSecrets(account) {
		return nil
	}
	allowed := mountable(account)
	for _, volume := range pod.Spec.Volumes {
		if volume.Secret != nil && !allowed.Has(volume.Secret.SecretName) {
			return fmt.Errorf("volume with secret.secretName=%q is not allowed because service account %s does not reference that secret",
				volume.Secret.SecretName, account.Name)
		}
	}
	for _, containers := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for _, container := range containers {
			if name, ok := environmentSecret(container.Env, container.EnvFrom, allowed); !ok {
				return fmt.Errorf("container %s with secret.secretName=%q is not allowed because service account %s does not reference that secret",
					container.Name, name, account.Name)
			}
		}
	}
	pulls := sets.New[string]()
	for _, ref := range account.ImagePullSecrets {
		pulls.Insert(ref.Name)
	}
	for i, ref := range pod.Spec.ImagePullSecrets {
		if !pulls.Has(ref.Name) {
			return fmt.Errorf(`imagePullSecrets[%d].name="%s" is not allowed because service account %s does not reference that imagePullSecret`,
				i, ref.Name, account.Name)
		}
	}
	return nil
}

// environmentSecret returns the first secret that is not allowed, and false.
func environmentSecret(env []corev1.EnvVar, from []corev1.EnvFromSource, allowed sets.Set[string]) (string, bool) {
	for _, name := range environmentSecrets(env, from) {
		if !allowed.Has(name) {
			return name, false
		}
	}
	return "", true
}

func environmentSecrets(env []corev1.EnvVar, from []corev1.EnvFromSource) []string {
	var names []string
	for _, v := range env {
		if v.ValueFrom != nil && v.ValueFrom.SecretKeyRef != nil {
			names = append(names, v.ValueFrom.SecretKeyRef.Name)
		}
	}
	for _, source := range from {
		if source.SecretRef != nil {
			names = append(names, source.SecretRef.Name)
		}
	}
	return names
}

// podSecrets are the names of all secrets a pod refers to.
func podSecrets(pod *corev1.Pod) []string {
	var names []string
	for _, ref := range node.References(pod) {
		if ref.Kind == node.Secret {
			names = append(names, ref.Name)
		}
	}
	return names
}
