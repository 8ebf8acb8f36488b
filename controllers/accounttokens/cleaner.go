package accounttokens

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/yare-io/yare/controllers/worker"
)

const (
	// round is how often secrets are looked through.
	round = 24 * time.Hour
	// defaultPatience is how long a token may be unused.
	defaultPatience = 365 * 24 * time.Hour

	lastUsed     = "kubernetes.io/legacy-token-last-used"
	invalidSince = "kubernetes.io/legacy-token-invalid-since"
	// tracking is the config map in which API servers say since when they
	// note the use of tokens.
	tracking = "kube-apiserver-legacy-service-account-token-tracking"
)

var everything = labels.Everything()

type cleaner struct {
	env      *worker.Env
	patience time.Duration
	secrets  corelisters.SecretLister
	accounts corelisters.ServiceAccountLister
	pods     corelisters.PodLister
}

// NewCleaner makes the controller that marks tokens invalid which accounts got
// without anybody asking (before Kubernetes 1.24), no pod mounts and nobody has
// used for patience (zero: a year), and deletes them after as long again.
func NewCleaner(env *worker.Env, patience time.Duration) (worker.Runner, error) {
	if patience == 0 {
		patience = defaultPatience
	}
	secrets, err := tokenSecrets(env)
	if err != nil {
		return nil, err
	}
	core := env.Informers.Core().V1()
	c := &cleaner{
		env: env, patience: patience, secrets: corelisters.NewSecretLister(secrets.GetIndexer()),
		accounts: core.ServiceAccounts().Lister(), pods: core.Pods().Lister(),
	}
	rounds := worker.Periodically(env, round, c.clean, secrets, core.ServiceAccounts().Informer(), core.Pods().Informer())
	return worker.Together(worker.Informing(secrets), rounds), nil
}

func (c *cleaner) clean(ctx context.Context) error {
	since, err := c.trackedSince(ctx)
	if err != nil || since.IsZero() {
		return err
	}
	all, err := c.secrets.List(everything)
	if err != nil {
		return err
	}
	for _, secret := range all {
		if err := c.judge(ctx, secret, since); err != nil {
			return err
		}
	}
	return nil
}

// trackedSince is the day since which uses are noted, zero when none are.
func (c *cleaner) trackedSince(ctx context.Context) (time.Time, error) {
	found, err := c.env.Client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Get(ctx, tracking, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	return time.Parse(time.DateOnly, found.Data["since"])
}

func (c *cleaner) judge(ctx context.Context, secret *corev1.Secret, since time.Time) error {
	now := c.env.Clock.Now().UTC()
	if marked, err := time.Parse(time.DateOnly, secret.Labels[invalidSince]); err == nil && !c.usedAfter(secret, marked) {
		if now.After(marked.Add(c.patience)) {
			return remove(ctx, c.env, secret)
		}
		return nil
	}
	if c.usedAfter(secret, now.Add(-c.patience)) || since.Add(c.patience).After(now) || secret.CreationTimestamp.Add(c.patience).After(now) {
		return nil
	}
	if !c.unasked(secret) || c.mounted(secret) {
		return nil
	}
	return c.mark(ctx, secret, now)
}

// usedAfter reports whether a token was used on a day after another.
func (c *cleaner) usedAfter(secret *corev1.Secret, day time.Time) bool {
	used, err := time.Parse(time.DateOnly, secret.Labels[lastUsed])
	return err == nil && used.After(day)
}

// unasked: the account refers to the secret, as it does to those that were made
// for it without anybody asking.
func (c *cleaner) unasked(secret *corev1.Secret) bool {
	account, err := c.accounts.ServiceAccounts(secret.Namespace).Get(secret.Annotations[corev1.ServiceAccountNameKey])
	return err == nil && string(account.UID) == secret.Annotations[corev1.ServiceAccountUIDKey] &&
		slices.ContainsFunc(account.Secrets, func(s corev1.ObjectReference) bool { return s.Name == secret.Name })
}

func (c *cleaner) mounted(secret *corev1.Secret) bool {
	pods, err := c.pods.Pods(secret.Namespace).List(everything)
	return err != nil || slices.ContainsFunc(pods, func(p *corev1.Pod) bool {
		return slices.ContainsFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return v.Secret != nil && v.Secret.SecretName == secret.Name })
	})
}

func (c *cleaner) mark(ctx context.Context, secret *corev1.Secret, now time.Time) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"uid": secret.UID, "resourceVersion": secret.ResourceVersion, "labels": map[string]string{invalidSince: now.Format(time.DateOnly)},
	}})
	if err != nil {
		return err
	}
	_, err = c.env.Client.CoreV1().Secrets(secret.Namespace).Patch(ctx, secret.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}
