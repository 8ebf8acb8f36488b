package main

import (
	"context"
	"slices"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/admission/builtin"
	"github.com/yare-io/yare/apiserver/authn"
	"github.com/yare-io/yare/apiserver/authn/serviceaccount"
	"github.com/yare-io/yare/apiserver/authz"
	"github.com/yare-io/yare/apiserver/authz/node"
	"github.com/yare-io/yare/apiserver/authz/rbac"
	rbacbootstrap "github.com/yare-io/yare/apiserver/authz/rbac/bootstrap"
	"github.com/yare-io/yare/apiserver/authz/rbac/escalation"
)

// nodeRestriction keeps nodes to their own objects. Kubernetes has it off by
// default and every installer turns it on; here it comes with the Node mode.
const nodeRestriction = "NodeRestriction"

// publicPaths are all that is answered without credentials.
var publicPaths = []string{"/healthz", "/livez", "/readyz", "/version", "/version/"}

// gate is who may pass into the server, and with what.
type gate struct {
	authenticator *authn.Authenticator
	authorizer    *authz.Authorizer
	admission     []admission.Plugin
	requests      *serviceaccount.Requests
	discovery     *serviceaccount.Discovery
	policy        *rbacbootstrap.Policy
	policies      *policies
	// synced report whether the authorizers know all that was there at the
	// start.
	synced []cache.InformerSynced
}

// newGate builds the gate. It reads objects through client, and through
// informers that the caller starts.
func newGate(options *apiServerOptions, t *trust, client kubernetes.Interface, factory informers.SharedInformerFactory) (*gate, error) {
	g := &gate{}
	var err error
	if g.authenticator, err = newAuthenticator(options, t, client, factory); err != nil {
		return nil, err
	}
	if g.policy, err = rbacbootstrap.Load(rbacbootstrap.DefaultGates); err != nil {
		return nil, err
	}
	roles := rbac.New()
	if err := g.follow(roles.Follow(factory)); err != nil {
		return nil, err
	}
	if err := g.authorize(options, roles, factory); err != nil {
		return nil, err
	}
	enable := options.enablePlugins
	if slices.Contains(options.authorizationModes, string(authz.Node)) && !slices.Contains(options.disablePlugins, nodeRestriction) {
		enable = append(slices.Clone(enable), nodeRestriction)
	}
	g.admission, err = builtin.Plugins(builtin.Deps{Client: client, Informers: factory, Authorizer: g.authorizer}, enable, options.disablePlugins)
	if err != nil {
		return nil, err
	}
	// Nobody gives what they do not hold: not a plugin that can be turned off.
	g.admission = append(g.admission, escalation.New(roles, g.authorizer))
	g.requests = &serviceaccount.Requests{
		Issuer: t.tokenIssuer, Audiences: options.tokenAudiences(), MaxLifetime: options.maxTokenLifetime, Extend: true,
	}
	g.discovery, err = serviceaccount.NewDiscovery(options.issuer, "", t.tokenKeys)
	return g, err
}

// reviewToken says who a token is from, for those who ask by TokenReview.
func (g *gate) reviewToken(ctx context.Context, review *authenticationv1.TokenReview) error {
	return authn.ReviewToken(ctx, g.authenticator.Tokens(), g.requests.Audiences, review)
}

func (o *apiServerOptions) tokenAudiences() []string {
	if len(o.audiences) > 0 {
		return o.audiences
	}
	return []string{o.issuer}
}

func newAuthenticator(options *apiServerOptions, t *trust, client kubernetes.Interface, factory informers.SharedInformerFactory) (*authn.Authenticator, error) {
	verifier, err := serviceaccount.NewVerifier(serviceaccount.VerifierConfig{
		Issuers: []string{options.issuer}, Keys: t.tokenKeys, Audiences: options.tokenAudiences(),
		Getter: serviceaccount.NewCachedGetter(client, factory),
	})
	if err != nil {
		return nil, err
	}
	config := authn.Config{
		ClientCA:        t.clientCA,
		TokenFile:       options.tokenFile,
		ServiceAccounts: verifier,
		Anonymous:       &authn.Anonymous{Paths: publicPaths},
	}
	if t.requestHeaderCA != nil {
		config.RequestHeader = &authn.RequestHeader{CA: t.requestHeaderCA, AllowedNames: t.requestHeaderNames}
	}
	if options.bootstrapTokens {
		config.BootstrapSecrets = func(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
			return client.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
		}
	}
	return authn.New(config)
}

// follow notes when an authorizer that follows objects knows them all.
func (g *gate) follow(synced cache.InformerSynced, err error) error {
	g.synced = append(g.synced, synced)
	return err
}

// authorize puts the modes that the flags name in order.
func (g *gate) authorize(options *apiServerOptions, roles *rbac.Authorizer, factory informers.SharedInformerFactory) error {
	config := authz.Config{Authorizers: map[authz.Mode]authorizer.Authorizer{authz.RBAC: roles}}
	for _, name := range options.authorizationModes {
		mode := authz.Mode(name)
		config.Modes = append(config.Modes, mode)
		if mode == authz.Node {
			nodes := node.New(g.policy.NodeRules())
			if err := g.follow(nodes.Follow(factory)); err != nil {
				return err
			}
			config.Authorizers[mode] = nodes
		}
	}
	var err error
	g.authorizer, err = authz.New(config)
	return err
}
