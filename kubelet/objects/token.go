package objects

import (
	"context"
	"fmt"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"
)

// maxTokenAge is when a token is renewed even if it would live on.
const maxTokenAge = 24 * time.Hour

// Tokens gets tokens for pods, and renews each when 80 % of its life is over. It is safe for concurrent use.
type Tokens struct {
	client kubernetes.Interface
	clock  clock.PassiveClock

	mu     sync.Mutex
	tokens map[tokenKey]token
}

type tokenKey struct {
	pod               types.UID
	account, audience string
	lifetime          time.Duration
}

type token struct {
	value          string
	renew, expires time.Time
}

// NewTokens returns a source of tokens.
func NewTokens(client kubernetes.Interface, c clock.PassiveClock) *Tokens {
	return &Tokens{client: client, clock: c, tokens: map[tokenKey]token{}}
}

// Token returns a token of the pod's service account that is bound to the pod. If a renewal fails, the old token is returned for as
// long as it is valid.
func (t *Tokens) Token(ctx context.Context, pod *v1.Pod, audience string, lifetime time.Duration) (string, error) {
	key := tokenKey{pod.UID, pod.Spec.ServiceAccountName, audience, lifetime}
	t.mu.Lock()
	held, ok := t.tokens[key]
	t.mu.Unlock()
	now := t.clock.Now()
	if ok && now.Before(held.renew) {
		return held.value, nil
	}
	fresh, err := t.request(ctx, pod, audience, lifetime)
	if err != nil {
		if ok && now.Before(held.expires) {
			return held.value, nil
		}
		return "", err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tokens[key] = fresh
	return fresh.value, nil
}

// Forget drops the pod's tokens.
func (t *Tokens) Forget(uid types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key := range t.tokens {
		if key.pod == uid {
			delete(t.tokens, key)
		}
	}
}

func (t *Tokens) request(ctx context.Context, pod *v1.Pod, audience string, lifetime time.Duration) (token, error) {
	seconds := int64(lifetime.Seconds())
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: &seconds,
		BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
	}}
	if audience != "" {
		request.Spec.Audiences = []string{audience}
	}
	asked := t.clock.Now()
	answer, err := t.client.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(ctx, pod.Spec.ServiceAccountName, request, metav1.CreateOptions{})
	if err != nil {
		return token{}, err
	}
	if answer.Status.Token == "" {
		return token{}, fmt.Errorf("the answer for service account %q holds no token", pod.Spec.ServiceAccountName)
	}
	expires := answer.Status.ExpirationTimestamp.Time
	life := min(expires.Sub(asked)*8/10, maxTokenAge)
	return token{value: answer.Status.Token, renew: asked.Add(life), expires: expires}, nil
}
