package controllers

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/oauth2"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/transport"
	"k8s.io/utils/ptr"
)

const (
	// tokenLife is what controllers' tokens are asked for, tokenLeeway how long
	// before its end a token is replaced.
	tokenLife    = time.Hour
	tokenLeeway  = 10 * time.Minute
	tokenTimeout = 30 * time.Second
)

// ServiceAccounts lets each controller act under its own service account in
// kube-system, with tokens that base asks for; the manager itself acts as base.
// It is what kube-controller-manager --use-service-account-credentials does.
// Accounts that are missing are created.
func ServiceAccounts(base *rest.Config) func(identity string) (*rest.Config, error) {
	return func(identity string) (*rest.Config, error) {
		if identity == ManagerIdentity {
			return base, nil
		}
		client, err := kubernetes.NewForConfig(base)
		if err != nil {
			return nil, err
		}
		tokens := transport.NewCachedTokenSource(&accountTokens{client: client, account: identity})
		config := rest.AnonymousClientConfig(base)
		config.UserAgent = ""
		config.Wrap(transport.ResettableTokenSourceWrapTransport(tokens))
		return config, nil
	}
}

// accountTokens asks for tokens of one service account.
type accountTokens struct {
	client  kubernetes.Interface
	account string
}

// Token implements oauth2.TokenSource.
func (a *accountTokens) Token() (*oauth2.Token, error) {
	ctx, cancel := context.WithTimeout(context.Background(), tokenTimeout)
	defer cancel()
	answer, err := a.request(ctx)
	if apierrors.IsNotFound(err) {
		if err = a.createAccount(ctx); err == nil {
			answer, err = a.request(ctx)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("token of service account %s/%s: %w", metav1.NamespaceSystem, a.account, err)
	}
	return &oauth2.Token{AccessToken: answer.Status.Token, Expiry: answer.Status.ExpirationTimestamp.Add(-tokenLeeway)}, nil
}

func (a *accountTokens) request(ctx context.Context) (*authenticationv1.TokenRequest, error) {
	return a.client.CoreV1().ServiceAccounts(metav1.NamespaceSystem).CreateToken(ctx, a.account, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To(int64(tokenLife.Seconds()))},
	}, metav1.CreateOptions{})
}

func (a *accountTokens) createAccount(ctx context.Context) error {
	_, err := a.client.CoreV1().ServiceAccounts(metav1.NamespaceSystem).Create(ctx, &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: a.account},
	}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}
