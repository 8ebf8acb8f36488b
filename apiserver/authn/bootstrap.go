package authn

import (
	"context"
	"crypto/subtle"
	"fmt"
	"regexp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/utils/clock"
)

// SecretGetter reads one secret; absence is a NotFound error.
type SecretGetter func(ctx context.Context, namespace, name string) (*corev1.Secret, error)

const (
	bootstrapSecretPrefix = "bootstrap-token-"
	bootstrapGroup        = "system:bootstrappers"
	bootstrapUserPrefix   = "system:bootstrap:"
)

var (
	bootstrapToken      = regexp.MustCompile(`\A([a-z0-9]{6})\.([a-z0-9]{16})\z`)
	bootstrapExtraGroup = regexp.MustCompile(`\Asystem:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]\z`)
)

// bootstrapTokens authenticates new nodes by the tokens kept in secrets of
// kube-system.
type bootstrapTokens struct {
	secrets SecretGetter
	clock   clock.PassiveClock
}

func (b *bootstrapTokens) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	match := bootstrapToken.FindStringSubmatch(token)
	if match == nil {
		return nil, false, nil
	}
	id, secretPart := match[1], match[2]
	secret, err := b.secrets(ctx, metav1.NamespaceSystem, bootstrapSecretPrefix+id)
	switch {
	case apierrors.IsNotFound(err):
		return nil, false, nil
	case err != nil:
		return nil, false, fmt.Errorf("bootstrap token %s: %w", id, err)
	}
	if !b.usable(secret, id) || subtle.ConstantTimeCompare(secret.Data["token-secret"], []byte(secretPart)) != 1 {
		return nil, false, nil
	}
	groups, err := bootstrapGroups(string(secret.Data["auth-extra-groups"]))
	if err != nil {
		return nil, false, fmt.Errorf("bootstrap token %s: %w", id, err)
	}
	return &authenticator.Response{User: &user.DefaultInfo{Name: bootstrapUserPrefix + id, Groups: groups}}, true, nil
}

// usable checks everything but the secret part.
func (b *bootstrapTokens) usable(secret *corev1.Secret, id string) bool {
	return secret.DeletionTimestamp == nil &&
		secret.Type == corev1.SecretTypeBootstrapToken &&
		string(secret.Data["token-id"]) == id &&
		string(secret.Data["usage-bootstrap-authentication"]) == "true" &&
		!b.expired(string(secret.Data["expiration"]))
}

// expired takes what it cannot read for the past.
func (b *bootstrapTokens) expired(expiration string) bool {
	if expiration == "" {
		return false
	}
	end, err := time.Parse(time.RFC3339, expiration)
	return err != nil || !b.clock.Now().Before(end)
}

func bootstrapGroups(extra string) ([]string, error) {
	groups := []string{bootstrapGroup}
	if extra == "" {
		return groups, nil
	}
	for _, group := range strings.Split(extra, ",") {
		if !bootstrapExtraGroup.MatchString(group) {
			return nil, fmt.Errorf("bootstrap group %q is invalid (must match %s)", group, bootstrapExtraGroup)
		}
		groups = append(groups, group)
	}
	return groups, nil
}
