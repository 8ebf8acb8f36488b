package bootstraptokens

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	coreinformers "k8s.io/client-go/informers/core/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/yare-io/yare/controllers/worker"
)

const (
	clusterInfo     = "cluster-info"
	kubeconfigKey   = "kubeconfig"
	signaturePrefix = "jws-kubeconfig-"
)

type signer struct {
	env     *worker.Env
	info    corelisters.ConfigMapLister
	secrets corelisters.SecretLister
}

// NewSigner makes the controller that signs kube-public/cluster-info.
func NewSigner(env *worker.Env) (worker.Runner, error) {
	secrets, err := tokenSecrets(env)
	if err != nil {
		return nil, err
	}
	info := coreinformers.NewFilteredConfigMapInformer(env.Reader, metav1.NamespacePublic, 0,
		cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc},
		func(options *metav1.ListOptions) {
			options.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, clusterInfo).String()
		})
	if err := info.SetTransform(worker.Slim); err != nil {
		return nil, err
	}
	s := &signer{env: env, info: corelisters.NewConfigMapLister(info.GetIndexer()), secrets: corelisters.NewSecretLister(secrets.GetIndexer())}
	loop := worker.NewLoop(env, worker.Options[string]{Queue: "bootstrap_signer_queue", Reconcile: s.reconcile})
	worker.Watch(loop, info, func(_, now *corev1.ConfigMap) {
		if now != nil {
			loop.Add(clusterInfo)
		}
	})
	worker.Watch(loop, secrets, func(_, _ *corev1.Secret) { loop.Add(clusterInfo) })
	return worker.Together(worker.Informing(info), worker.Informing(secrets), loop), nil
}

func (s *signer) reconcile(ctx context.Context, _ string) error {
	info, err := s.info.ConfigMaps(metav1.NamespacePublic).Get(clusterInfo)
	if apierrors.IsNotFound(err) || err == nil && info.Data[kubeconfigKey] == "" {
		return nil
	}
	if err != nil {
		return err
	}
	secrets, err := s.secrets.List(labels.Everything())
	if err != nil {
		return err
	}
	tokens := map[string]string{}
	for _, secret := range secrets {
		if id, key, ok := signingToken(secret, s.env.Clock.Now()); ok {
			tokens[id] = key
		}
	}
	data, err := signed(info.Data, tokens)
	if err != nil || maps.Equal(data, info.Data) {
		return err
	}
	updated := info.DeepCopy()
	updated.Data = data
	_, err = s.env.Client.CoreV1().ConfigMaps(info.Namespace).Update(ctx, updated, metav1.UpdateOptions{})
	return err
}

// signed returns the data with one signature of the kubeconfig for each token,
// and none of tokens that are gone.
func signed(data, tokens map[string]string) (map[string]string, error) {
	after := maps.Clone(data)
	maps.DeleteFunc(after, func(key, _ string) bool { return strings.HasPrefix(key, signaturePrefix) })
	for id, key := range tokens {
		signature, err := sign(data[kubeconfigKey], id, key)
		if err != nil {
			return nil, err
		}
		after[signaturePrefix+id] = signature
	}
	return after, nil
}

// sign returns a detached JWS of the content, by HMAC-SHA256 with the token's
// secret: shorter than today's libraries sign with, but what every client checks.
func sign(content, id, key string) (string, error) {
	header, err := json.Marshal(struct {
		Algorithm string `json:"alg"`
		KeyID     string `json:"kid"`
	}{"HS256", id})
	if err != nil {
		return "", fmt.Errorf("signing with token %s: %w", id, err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(encode(header) + "." + encode([]byte(content))))
	return encode(header) + ".." + encode(mac.Sum(nil)), nil
}
