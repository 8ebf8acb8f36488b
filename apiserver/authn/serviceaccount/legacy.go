package serviceaccount

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4/jwt"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	apiserviceaccount "k8s.io/apiserver/pkg/authentication/serviceaccount"
)

// LegacyIssuer is the iss claim of tokens that are kept in secrets of the type
// kubernetes.io/service-account-token. They never expire, and are good as long
// as their secret holds them.
const LegacyIssuer = "kubernetes/serviceaccount"

// Labels of such secrets, whose values are days.
const (
	labelLastUsed     = "kubernetes.io/legacy-token-last-used"
	labelInvalidSince = "kubernetes.io/legacy-token-invalid-since"
)

type legacyClaims struct {
	Namespace  string `json:"kubernetes.io/serviceaccount/namespace,omitempty"`
	Secret     string `json:"kubernetes.io/serviceaccount/secret.name,omitempty"`
	Account    string `json:"kubernetes.io/serviceaccount/service-account.name,omitempty"`
	AccountUID string `json:"kubernetes.io/serviceaccount/service-account.uid,omitempty"`
}

// IssueLegacy signs a token of an account to be kept in a secret, whatever the
// issuer's URL.
func (i *Issuer) IssueLegacy(account *corev1.ServiceAccount, secret *corev1.Secret) (string, error) {
	registered := jwt.Claims{Issuer: LegacyIssuer, Subject: apiserviceaccount.MakeUsername(account.Namespace, account.Name)}
	private := legacyClaims{Namespace: account.Namespace, Secret: secret.Name, Account: account.Name, AccountUID: string(account.UID)}
	value, err := jwt.Signed(i.signer).Claims(registered).Claims(private).Serialize()
	if err != nil {
		return "", fmt.Errorf("signing legacy service account token: %w", err)
	}
	return value, nil
}

// authenticateLegacy accepts a token that a secret holds.
func (v *Verifier) authenticateLegacy(ctx context.Context, value string) (*authenticator.Response, bool, error) {
	var registered jwt.Claims
	var private legacyClaims
	if err := v.verifySignature(value, &registered, &private); err != nil {
		return nil, false, err
	}
	if private.Secret == "" || private.AccountUID == "" || registered.Subject != apiserviceaccount.MakeUsername(private.Namespace, private.Account) {
		return nil, false, errors.New("legacy service account token lacks claims, or its subject and account differ")
	}
	audiences, err := v.checkAudiences(ctx, v.config.Audiences)
	if err != nil {
		return nil, false, err
	}
	secret, err := v.config.Getter.Secret(ctx, private.Namespace, private.Secret)
	if err := heldBy(secret, err, value); err != nil {
		return nil, false, err
	}
	account, err := v.config.Getter.ServiceAccount(ctx, private.Namespace, private.Account)
	if err := v.alive("service account", Ref{Name: private.Account, UID: private.AccountUID}, account, err); err != nil {
		return nil, false, err
	}
	if err := v.noteUse(ctx, secret); err != nil {
		return nil, false, err
	}
	info := &apiserviceaccount.ServiceAccountInfo{Namespace: private.Namespace, Name: private.Account, UID: private.AccountUID}
	return &authenticator.Response{User: info.UserInfo(), Audiences: audiences}, true, nil
}

// heldBy checks that a secret is there and holds the token.
func heldBy(secret *corev1.Secret, err error, value string) error {
	switch {
	case err != nil:
		return fmt.Errorf("secret of service account token: %w", err)
	case secret.DeletionTimestamp != nil:
		return errors.New("service account token has been invalidated: its secret is deleted")
	case secret.Type != corev1.SecretTypeServiceAccountToken || !bytes.Equal(secret.Data[corev1.ServiceAccountTokenKey], []byte(value)):
		return errors.New("token does not match server's copy")
	case secret.Labels[labelInvalidSince] != "":
		return fmt.Errorf("the token in secret %s/%s has been marked invalid. Use tokens from the TokenRequest API, or remove the label %q from the secret to allow use of this token for a time",
			secret.Namespace, secret.Name, labelInvalidSince)
	}
	return nil
}

// noteUse writes down, once a day, that a token has been used: those that are
// not are cleaned up in the end.
func (v *Verifier) noteUse(ctx context.Context, secret *corev1.Secret) error {
	today := v.config.Clock.Now().UTC().Format(time.DateOnly)
	if v.config.NoteUse == nil || secret.Labels[labelLastUsed] == today {
		return nil
	}
	if err := v.config.NoteUse(ctx, secret, map[string]string{labelLastUsed: today}); err != nil {
		return fmt.Errorf("noting the use of a service account token: %w", err)
	}
	return nil
}

// Label is a NoteUse that writes to the API.
func (g *CachedGetter) Label(ctx context.Context, secret *corev1.Secret, labels map[string]string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": secret.UID, "labels": labels}})
	if err != nil {
		return err
	}
	_, err = g.client.CoreV1().Secrets(secret.Namespace).Patch(ctx, secret.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}
