package bootstrap

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	bootstrapapi "k8s.io/cluster-bootstrap/token/api"
	bootstraputil "k8s.io/cluster-bootstrap/token/util"
)

// EnsureToken makes a token usable for joining nodes: it stores the secret
// that authentication looks for.
func EnsureToken(ctx context.Context, client kubernetes.Interface, token string) error {
	match := bootstraputil.BootstrapTokenRegexp.FindStringSubmatch(token)
	if len(match) != 3 {
		return fmt.Errorf("the join token must match %s", bootstrapapi.BootstrapTokenPattern)
	}
	name := bootstrapapi.BootstrapTokenSecretPrefix + match[1]
	_, err := client.CoreV1().Secrets(metav1.NamespaceSystem).Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: metav1.NamespaceSystem},
		Type:       corev1.SecretType(bootstrapapi.SecretTypeBootstrapToken),
		StringData: map[string]string{
			bootstrapapi.BootstrapTokenIDKey:               match[1],
			bootstrapapi.BootstrapTokenSecretKey:           match[2],
			bootstrapapi.BootstrapTokenUsageAuthentication: "true",
			bootstrapapi.BootstrapTokenDescriptionKey:      "lets nodes join this cluster",
		},
	}, metav1.CreateOptions{})
	return created("secret "+name, err)
}
