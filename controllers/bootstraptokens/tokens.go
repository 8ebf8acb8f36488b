// Package bootstraptokens looks after the tokens by which nodes join: it removes
// those that have expired, and signs the public cluster-info with those that
// may sign, so that a node can tell a true cluster from a false one. It reads
// no secret but those of type bootstrap.kubernetes.io/token in kube-system.
package bootstraptokens

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/yare-io/yare/controllers/worker"
)

const (
	secretType = "bootstrap.kubernetes.io/token"
	namePrefix = "bootstrap-token-"
)

// tokenSecrets makes an informer of the bootstrap tokens alone.
func tokenSecrets(env *worker.Env) (cache.SharedIndexInformer, error) {
	informer := coreinformers.NewFilteredSecretInformer(env.Reader, metav1.NamespaceSystem, 0,
		cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc},
		func(options *metav1.ListOptions) {
			options.FieldSelector = fields.OneTermEqualSelector("type", secretType).String()
		})
	return informer, informer.SetTransform(worker.Slim)
}

// expiry returns when the token ends; ok false if it never does. A time that
// cannot be read has passed.
func expiry(secret *corev1.Secret) (at time.Time, ok bool) {
	text := string(secret.Data["expiration"])
	if text == "" {
		return time.Time{}, false
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, true
	}
	return at, true
}

// signingToken returns the token's id and secret if it may sign now.
func signingToken(secret *corev1.Secret, now time.Time) (id, key string, ok bool) {
	id, key = string(secret.Data["token-id"]), string(secret.Data["token-secret"])
	at, expires := expiry(secret)
	if id == "" || key == "" || secret.Name != namePrefix+id || expires && !now.Before(at) {
		return "", "", false
	}
	return id, key, string(secret.Data["usage-bootstrap-signing"]) == "true"
}
