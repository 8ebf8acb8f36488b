package bootstraptokens

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/yare-io/yare/controllers/worker"
)

// NewCleaner makes the controller that removes expired tokens.
func NewCleaner(env *worker.Env) (worker.Runner, error) {
	secrets, err := tokenSecrets(env)
	if err != nil {
		return nil, err
	}
	lister := corelisters.NewSecretLister(secrets.GetIndexer())
	var loop *worker.Loop[worker.Key]
	loop = worker.NewLoop(env, worker.Options[worker.Key]{Queue: "token_cleaner", Reconcile: func(ctx context.Context, key worker.Key) error {
		secret, err := lister.Secrets(key.Namespace).Get(key.Name)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		at, expires := expiry(secret)
		if left := at.Sub(env.Clock.Now()); !expires {
			return nil
		} else if left > 0 {
			loop.AddAfter(key, left)
			return nil
		}
		return remove(ctx, env, secret)
	}})
	worker.WatchKeys[*corev1.Secret](loop, secrets)
	return worker.Together(worker.Informing(secrets), loop), nil
}

func remove(ctx context.Context, env *worker.Env, secret *corev1.Secret) error {
	err := env.Client.CoreV1().Secrets(secret.Namespace).Delete(ctx, secret.Name, metav1.DeleteOptions{
		Preconditions: metav1.NewUIDPreconditions(string(secret.UID)),
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}
