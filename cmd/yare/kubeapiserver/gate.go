package kubeapiserver

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/yare-io/yare/admission"
	"github.com/yare-io/yare/apiserver/authn"
	"github.com/yare-io/yare/apiserver/authn/jwt"
	"github.com/yare-io/yare/apiserver/authn/serviceaccount"
	"github.com/yare-io/yare/apiserver/authz"
	"github.com/yare-io/yare/apiserver/authz/node"
	"github.com/yare-io/yare/apiserver/authz/rbac"
	rbacbootstrap "github.com/yare-io/yare/apiserver/authz/rbac/bootstrap"
	"github.com/yare-io/yare/apiserver/authz/rbac/escalation"
	"github.com/yare-io/yare/apiserver/registry"
)

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
	// metrics are those of the gate's parts.
	metrics *prometheus.Registry
	// issuers are those outside of the cluster whose tokens are accepted; nil:
	// none are.
	issuers *jwt.Authenticator
	// modes are those that decide about access.
	modes []authz.Mode
	// following keep to configuration files while the server runs.
	following []func(context.Context)
	logger    *slog.Logger
}

// surroundings are what the gate stands in.
type surroundings struct {
	trust     *Trust
	client    kubernetes.Interface
	informers informers.SharedInformerFactory
	// pods finds pods without an informer.
	pods corelisters.PodLister
	// podEvents lists and watches pods.
	podEvents *cache.ListWatch
	// rows are the resources that are served, once they are.
	rows func() []*registry.Resource
	// objects are what is stored, nil until the server is there.
	objects func() registry.Objects
	// own says which addresses are the server's.
	own    func(netip.AddrPort) bool
	logger *slog.Logger
}

// newGate builds the gate. It reads objects through client, and through
// informers that the caller starts.
func newGate(options *Options, around surroundings) (*gate, error) {
	t, factory := around.trust, around.informers
	g := &gate{metrics: prometheus.NewRegistry(), logger: around.logger}
	var err error
	if g.authenticator, err = g.newAuthenticator(options, around); err != nil {
		return nil, err
	}
	if g.policy, err = rbacbootstrap.Load(rbacbootstrap.DefaultGates); err != nil {
		return nil, err
	}
	roles := rbac.New()
	if err := g.follow(roles.Follow(factory)); err != nil {
		return nil, err
	}
	if err := g.authorize(options, roles, around); err != nil {
		return nil, err
	}
	if g.admission, err = g.admissionPlugins(options, around, escalation.New(roles, g.authorizer)); err != nil {
		return nil, err
	}
	g.requests = &serviceaccount.Requests{
		Issuer: t.tokenIssuer, Audiences: options.tokenAudiences(), MaxLifetime: options.maxTokenLifetime, Extend: options.extendTokens,
	}
	g.discovery, err = serviceaccount.NewDiscovery(options.Issuer(), options.keysURL, t.tokenKeys)
	return g, err
}

// reviewToken says who a token is from, for those who ask by TokenReview.
func (g *gate) reviewToken(ctx context.Context, review *authenticationv1.TokenReview) error {
	return authn.ReviewToken(ctx, g.authenticator.Tokens(), g.requests.Audiences, review)
}

func (o *Options) tokenAudiences() []string {
	if len(o.audiences) > 0 {
		return o.audiences
	}
	return []string{o.Issuer()}
}

func (g *gate) newAuthenticator(options *Options, around surroundings) (*authn.Authenticator, error) {
	t, client := around.trust, around.client
	objects := serviceaccount.NewCachedGetter(client, around.informers, around.pods)
	verifier, err := serviceaccount.NewVerifier(serviceaccount.VerifierConfig{
		Issuers: options.Issuers, Keys: t.tokenKeys, Audiences: options.tokenAudiences(),
		Getter: objects, NoteUse: objects.Label,
	})
	if err != nil {
		return nil, err
	}
	config := authn.Config{
		ClientCA:        t.clientCA,
		RequestHeader:   t.proxies,
		TokenFile:       options.tokenFile,
		ServiceAccounts: verifier,
		Anonymous:       &authn.Anonymous{Paths: publicPaths},
	}
	if options.BootstrapTokens {
		config.BootstrapSecrets = func(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
			return client.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
		}
	}
	if err := g.identities(options, &config); err != nil {
		return nil, err
	}
	return authn.New(config)
}

// follow notes when an authorizer that follows objects knows them all.
func (g *gate) follow(synced cache.InformerSynced, err error) error {
	g.synced = append(g.synced, synced)
	return err
}

// authorize puts the modes that the flags or a file name in order.
func (g *gate) authorize(options *Options, roles *rbac.Authorizer, around surroundings) error {
	nodes := node.New(g.policy.NodeRules())
	builtin := map[authz.Mode]authorizer.Authorizer{authz.RBAC: roles, authz.Node: nodes}
	config, err := g.access(options, builtin)
	if err != nil {
		return err
	}
	// A file may bring the mode Node later.
	if options.auth.authorizationConfig != "" || slices.Contains(config.Modes, authz.Node) {
		if err := g.follow(nodes.Follow(around.informers, around.podEvents)); err != nil {
			return err
		}
	}
	g.modes, config.NodeCommandsByGet = config.Modes, options.auth.nodeCommandsByGet
	g.authorizer, err = authz.New(config)
	return err
}

// access says who decides.
func (g *gate) access(options *Options, builtin map[authz.Mode]authorizer.Authorizer) (authz.Config, error) {
	if options.auth.authorizationConfig != "" {
		return g.structuredAccess(&options.auth, builtin, g.logger)
	}
	config := authz.Config{Authorizers: builtin}
	for _, name := range options.authorizationModes {
		mode := authz.Mode(name)
		config.Modes = append(config.Modes, mode)
		if mode != webhookMode {
			continue
		}
		asking, err := options.auth.askAccess(g.logger)
		if err != nil {
			return config, err
		}
		config.Authorizers[webhookMode] = asking
	}
	return config, nil
}
