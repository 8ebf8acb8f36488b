// Package accounttokens fills secrets of the type
// kubernetes.io/service-account-token, which somebody made for a service
// account, and cleans up those that nobody uses. Tokens themselves are signed by
// whoever has the key.
package accounttokens

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	coreinformers "k8s.io/client-go/informers/core/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/yare-io/yare/controllers/worker"
)

// Issuer signs tokens that live as long as their secret.
type Issuer interface {
	IssueLegacy(account *corev1.ServiceAccount, secret *corev1.Secret) (string, error)
}

type controller struct {
	env      *worker.Env
	issuer   Issuer
	rootCA   []byte
	secrets  corelisters.SecretLister
	accounts corelisters.ServiceAccountLister
}

// reference is what an account says of a secret that is gone.
type reference struct{ namespace, account, secret string }

// New makes the controller that fills secrets. rootCA is put into them as
// ca.crt; empty: it is left out.
func New(env *worker.Env, issuer Issuer, rootCA []byte) (worker.Runner, error) {
	if issuer == nil {
		return nil, worker.NotConfigured("no key that signs service-account tokens")
	}
	secrets, err := tokenSecrets(env)
	if err != nil {
		return nil, err
	}
	accounts := env.Informers.Core().V1().ServiceAccounts()
	c := &controller{env: env, issuer: issuer, rootCA: rootCA, secrets: corelisters.NewSecretLister(secrets.GetIndexer()), accounts: accounts.Lister()}
	fill := worker.NewLoop(env, worker.Options[worker.Key]{Queue: "serviceaccount_tokens_secret", Workers: env.Workers, Reconcile: c.reconcile})
	forget := worker.NewLoop(env, worker.Options[reference]{Queue: "serviceaccount_tokens_service", Workers: env.Workers, Reconcile: c.forget})
	worker.Watch(fill, secrets, func(old, now *corev1.Secret) {
		if now == nil {
			forget.Add(reference{old.Namespace, old.Annotations[corev1.ServiceAccountNameKey], old.Name})
			return
		}
		fill.Add(worker.KeyOf(now))
	})
	worker.Watch(fill, accounts.Informer(), func(old, now *corev1.ServiceAccount) {
		account := worker.Latest(old, now)
		for _, secret := range c.of(account) {
			fill.Add(worker.KeyOf(secret))
		}
	})
	return worker.Together(worker.Informing(secrets), fill, forget), nil
}

// tokenSecrets sees only the secrets of this type: no copy of others is kept.
func tokenSecrets(env *worker.Env) (cache.SharedIndexInformer, error) {
	informer := coreinformers.NewFilteredSecretInformer(env.Reader, metav1.NamespaceAll, 0,
		cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc},
		func(options *metav1.ListOptions) {
			options.FieldSelector = fields.OneTermEqualSelector("type", string(corev1.SecretTypeServiceAccountToken)).String()
		})
	return informer, informer.SetTransform(worker.Slim)
}

// of are the secrets made for an account.
func (c *controller) of(account *corev1.ServiceAccount) []*corev1.Secret {
	all, err := c.secrets.Secrets(account.Namespace).List(everything)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(all), func(s *corev1.Secret) bool { return s.Annotations[corev1.ServiceAccountNameKey] != account.Name })
}

func (c *controller) reconcile(ctx context.Context, key worker.Key) error {
	secret, err := c.secrets.Secrets(key.Namespace).Get(key.Name)
	if apierrors.IsNotFound(err) || err == nil && secret.DeletionTimestamp != nil {
		return nil
	}
	if err != nil {
		return err
	}
	account, err := c.accountOf(ctx, secret)
	if err != nil {
		return err
	}
	if account == nil {
		return remove(ctx, c.env, secret)
	}
	wanted, err := c.filled(secret, account)
	if err != nil || wanted == nil {
		return err
	}
	_, err = c.env.Client.CoreV1().Secrets(secret.Namespace).Update(ctx, wanted, metav1.UpdateOptions{})
	switch {
	case apierrors.IsConflict(err): // the cache is behind: its next event comes
		return errors.Join(worker.ErrAgain, err)
	case apierrors.IsNotFound(err):
		return nil
	}
	return err
}

// accountOf returns the account that a secret is for, nil when it is gone or
// is another of the same name.
func (c *controller) accountOf(ctx context.Context, secret *corev1.Secret) (*corev1.ServiceAccount, error) {
	name, uid := secret.Annotations[corev1.ServiceAccountNameKey], types.UID(secret.Annotations[corev1.ServiceAccountUIDKey])
	account, err := c.accounts.ServiceAccounts(secret.Namespace).Get(name)
	if apierrors.IsNotFound(err) || err == nil && uid != "" && account.UID != uid {
		// The cache may be behind the secret's maker.
		account, err = c.env.Client.CoreV1().ServiceAccounts(secret.Namespace).Get(ctx, name, metav1.GetOptions{})
	}
	if apierrors.IsNotFound(err) || err == nil && uid != "" && account.UID != uid {
		return nil, nil
	}
	return account, err
}

// filled returns the secret with all that belongs into it, nil when nothing is
// missing.
func (c *controller) filled(secret *corev1.Secret, account *corev1.ServiceAccount) (*corev1.Secret, error) {
	data := map[string][]byte{corev1.ServiceAccountNamespaceKey: []byte(secret.Namespace)}
	if len(c.rootCA) > 0 {
		data[corev1.ServiceAccountRootCAKey] = c.rootCA
	}
	same := secret.Annotations[corev1.ServiceAccountUIDKey] == string(account.UID)
	for key, value := range data {
		same = same && bytes.Equal(secret.Data[key], value)
	}
	if len(secret.Data[corev1.ServiceAccountTokenKey]) > 0 && same {
		return nil, nil
	}
	wanted := secret.DeepCopy()
	if len(wanted.Data[corev1.ServiceAccountTokenKey]) == 0 {
		token, err := c.issuer.IssueLegacy(account, secret)
		if err != nil {
			return nil, err
		}
		data[corev1.ServiceAccountTokenKey] = []byte(token)
	}
	if wanted.Data == nil {
		wanted.Data = map[string][]byte{}
	}
	maps.Copy(wanted.Data, data)
	wanted.Annotations[corev1.ServiceAccountUIDKey] = string(account.UID)
	return wanted, nil
}

// forget takes a secret that is gone out of its account's list.
func (c *controller) forget(ctx context.Context, r reference) error {
	account, err := c.env.Client.CoreV1().ServiceAccounts(r.namespace).Get(ctx, r.account, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := c.env.Client.CoreV1().Secrets(r.namespace).Get(ctx, r.secret, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		return err // made anew
	}
	before := len(account.Secrets)
	account.Secrets = slices.DeleteFunc(account.Secrets, func(s corev1.ObjectReference) bool { return s.Name == r.secret })
	if len(account.Secrets) == before {
		return nil
	}
	_, err = c.env.Client.CoreV1().ServiceAccounts(r.namespace).Update(ctx, account, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// remove deletes the secret as it was seen.
func remove(ctx context.Context, env *worker.Env, secret *corev1.Secret) error {
	err := env.Client.CoreV1().Secrets(secret.Namespace).Delete(ctx, secret.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &secret.UID, ResourceVersion: &secret.ResourceVersion},
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}
