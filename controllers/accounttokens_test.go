package controllers_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/yare-io/yare/apiserver/authn/serviceaccount"
	"github.com/yare-io/yare/controllers"
)

// tokenKey is a cluster's key for tokens, as both sides use it.
func tokenKey(t *testing.T, c *cluster) (*serviceaccount.Issuer, *serviceaccount.Verifier) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := serviceaccount.NewIssuer(serviceaccount.LegacyIssuer, key, nil)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := serviceaccount.NewKeys(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	factory := informers.NewSharedInformerFactory(c.client, 0)
	getter := serviceaccount.NewCachedGetter(c.client, factory, factory.Core().V1().Pods().Lister())
	verifier, err := serviceaccount.NewVerifier(serviceaccount.VerifierConfig{
		Issuers: []string{"https://cluster"}, Keys: keys, Audiences: []string{"https://cluster"}, Getter: getter, NoteUse: getter.Label,
	})
	if err != nil {
		t.Fatal(err)
	}
	return issuer, verifier
}

func (c *cluster) account(name string) *corev1.ServiceAccount {
	c.Helper()
	account, err := c.client.CoreV1().ServiceAccounts("default").Create(c.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		c.Fatal(err)
	}
	return account
}

func (c *cluster) tokenSecret(name, account string) {
	c.Helper()
	_, err := c.client.CoreV1().Secrets("default").Create(c.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{corev1.ServiceAccountNameKey: account}}, Type: corev1.SecretTypeServiceAccountToken,
	}, metav1.CreateOptions{})
	if err != nil {
		c.Fatal(err)
	}
}

// secret waits until one is as wanted.
func (c *cluster) secret(name, what string, holds func(*corev1.Secret) bool) *corev1.Secret {
	c.Helper()
	var found *corev1.Secret
	c.eventually(name+" "+what, func() (err error) {
		if found, err = c.client.CoreV1().Secrets("default").Get(c.Context(), name, metav1.GetOptions{}); err != nil {
			return err
		}
		if !holds(found) {
			return fmt.Errorf("it is %v %v", found.Labels, found.Annotations)
		}
		return nil
	})
	return found
}

func (c *cluster) gone(name string) {
	c.Helper()
	c.eventually("the secret "+name+" is gone", func() error {
		if _, err := c.client.CoreV1().Secrets("default").Get(c.Context(), name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return errors.Join(errors.New("it is there"), err)
		}
		return nil
	})
}

func TestSecretsGetTokens(t *testing.T) {
	c := newCluster(t)
	issuer, verifier := tokenKey(t, c)
	c.startManager(controllers.Config{Controllers: []string{"serviceaccount-token-controller"}, AccountTokens: issuer, RootCA: []byte("the authority")})
	account := c.account("robot")
	c.tokenSecret("robot-token", "robot")
	c.tokenSecret("orphan", "nobody")
	c.gone("orphan")
	secret := c.secret("robot-token", "holds a token", func(s *corev1.Secret) bool { return len(s.Data["token"]) > 0 })
	if string(secret.Data["ca.crt"]) != "the authority" || string(secret.Data["namespace"]) != "default" || secret.Annotations[corev1.ServiceAccountUIDKey] != string(account.UID) {
		t.Errorf("data %v, annotations %v", secret.Data, secret.Annotations)
	}
	token := string(secret.Data["token"])
	answer, ok, err := verifier.AuthenticateToken(t.Context(), token)
	if err != nil || !ok || answer.User.GetName() != "system:serviceaccount:default:robot" || answer.User.GetUID() != string(account.UID) {
		t.Fatalf("%+v, %v, %v", answer, ok, err)
	}
	today := time.Now().UTC().Format(time.DateOnly)
	secret = c.secret("robot-token", "was used", func(s *corev1.Secret) bool { return s.Labels["kubernetes.io/legacy-token-last-used"] == today })

	refused := func(words string) {
		t.Helper()
		if _, ok, err := verifier.AuthenticateToken(t.Context(), token); ok || err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%v, %v, want %q", ok, err, words)
		}
	}
	secret.Labels["kubernetes.io/legacy-token-invalid-since"] = today
	if secret, err = c.client.CoreV1().Secrets("default").Update(t.Context(), secret, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	refused("has been marked invalid")
	delete(secret.Labels, "kubernetes.io/legacy-token-invalid-since")
	secret.Data["token"] = []byte("another")
	if _, err = c.client.CoreV1().Secrets("default").Update(t.Context(), secret, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	refused("does not match server's copy")

	account.Secrets = []corev1.ObjectReference{{Name: "robot-token"}, {Name: "kept"}}
	if account, err = c.client.CoreV1().ServiceAccounts("default").Update(t.Context(), account, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := c.client.CoreV1().Secrets("default").Delete(t.Context(), "robot-token", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	refused("not found")
	c.eventually("the account forgets the secret", func() error {
		account, err = c.client.CoreV1().ServiceAccounts("default").Get(t.Context(), "robot", metav1.GetOptions{})
		if err == nil && (len(account.Secrets) != 1 || account.Secrets[0].Name != "kept") {
			return fmt.Errorf("it has %v", account.Secrets)
		}
		return err
	})
	c.tokenSecret("second", "robot")
	c.secret("second", "holds a token", func(s *corev1.Secret) bool { return len(s.Data["token"]) > 0 })
	if err := c.client.CoreV1().ServiceAccounts("default").Delete(t.Context(), "robot", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.gone("second")
}

func TestUnusedTokensAreCleanedUp(t *testing.T) {
	c := newCluster(t)
	issuer, _ := tokenKey(t, c)
	const year, day = 365 * 24 * time.Hour, 24 * time.Hour
	now := clocktesting.NewFakeClock(time.Now().Add(year + 2*day))
	account := c.account("robot")
	stop := c.startManager(controllers.Config{Controllers: []string{"serviceaccount-token-controller"}, AccountTokens: issuer})
	for _, name := range []string{"unasked", "asked"} {
		c.tokenSecret(name, "robot")
		c.secret(name, "holds a token", func(s *corev1.Secret) bool { return len(s.Data["token"]) > 0 })
	}
	stop()
	account.Secrets = []corev1.ObjectReference{{Name: "unasked"}}
	if _, err := c.client.CoreV1().ServiceAccounts("default").Update(t.Context(), account, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.startManager(controllers.Config{Controllers: []string{"legacy-serviceaccount-token-cleaner-controller"}, Clock: now, UnusedTokenPatience: year})
	c.secret("unasked", "is marked", func(s *corev1.Secret) bool {
		return s.Labels["kubernetes.io/legacy-token-invalid-since"] == now.Now().UTC().Format(time.DateOnly)
	})
	now.Step(year + 2*day)
	c.gone("unasked")
	c.secret("asked", "is left alone", func(s *corev1.Secret) bool { return s.Labels["kubernetes.io/legacy-token-invalid-since"] == "" })
}
