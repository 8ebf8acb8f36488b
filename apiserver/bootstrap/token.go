package bootstrap

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	bootstrapapi "k8s.io/cluster-bootstrap/token/api"
	bootstraputil "k8s.io/cluster-bootstrap/token/util"
)

// EnsureToken makes a token usable for joining: it stores the secret that
// authentication looks for. Who has the token is in the groups too, each of
// which must begin with "system:bootstrappers:".
func EnsureToken(ctx context.Context, client kubernetes.Interface, token string, groups ...string) error {
	match := bootstraputil.BootstrapTokenRegexp.FindStringSubmatch(token)
	if len(match) != 3 {
		return fmt.Errorf("the join token must match %s", bootstrapapi.BootstrapTokenPattern)
	}
	name := bootstrapapi.BootstrapTokenSecretPrefix + match[1]
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: metav1.NamespaceSystem},
		Type:       corev1.SecretType(bootstrapapi.SecretTypeBootstrapToken),
		StringData: map[string]string{
			bootstrapapi.BootstrapTokenIDKey:               match[1],
			bootstrapapi.BootstrapTokenSecretKey:           match[2],
			bootstrapapi.BootstrapTokenUsageAuthentication: "true",
			bootstrapapi.BootstrapTokenDescriptionKey:      "lets others join this cluster",
		},
	}
	if len(groups) > 0 {
		secret.StringData[bootstrapapi.BootstrapTokenExtraGroupsKey] = strings.Join(groups, ",")
	}
	_, err := client.CoreV1().Secrets(metav1.NamespaceSystem).Create(ctx, secret, metav1.CreateOptions{})
	return created("secret "+name, err)
}
