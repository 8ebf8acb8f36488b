package kubeapiserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/apiserver/authn"
	"github.com/yare-io/yare/apiserver/authn/jwt"
	"github.com/yare-io/yare/apiserver/authn/tokenwebhook"
	"github.com/yare-io/yare/apiserver/authz"
	authzwebhook "github.com/yare-io/yare/apiserver/authz/webhook"
	"github.com/yare-io/yare/apiserver/reload"
)

// authOptions are what flags say about identities and rights that come from
// outside of the cluster.
type authOptions struct {
	// flags know which of them were given.
	flags *pflag.FlagSet

	authenticationConfig string
	anonymous            bool
	oidc                 jwt.Options
	tokenWebhook         string
	tokenWebhookVersion  string
	tokenWebhookTTL      time.Duration

	authorizationConfig      string
	accessWebhook            string
	accessWebhookVersion     string
	allowedTTL, forbiddenTTL time.Duration
	nodeCommandsByGet        bool
}

func (o *authOptions) add(flags *pflag.FlagSet) {
	o.flags = flags
	flags.StringVar(&o.authenticationConfig, "authentication-config", "", "AuthenticationConfiguration with issuers of tokens and where anonymous requests are let in; it may change while the server runs")
	flags.BoolVar(&o.anonymous, "anonymous-auth", true, "let requests without credentials in as system:anonymous: everywhere if this is given, else for health and version alone; false: nowhere")
	flags.StringVar(&o.oidc.IssuerURL, "oidc-issuer-url", "", "issuer of OpenID tokens, an https URL")
	flags.StringVar(&o.oidc.ClientID, "oidc-client-id", "", "audience that OpenID tokens must be for")
	flags.StringVar(&o.oidc.CAFile, "oidc-ca-file", "", "authority that vouches for the issuer (default: the machine's)")
	flags.StringVar(&o.oidc.UsernameClaim, "oidc-username-claim", "sub", "claim that is the user's name")
	flags.StringVar(&o.oidc.UsernamePrefix, "oidc-username-prefix", "", "prefix of user names; - for none (default: the issuer's URL and #, unless the claim is email)")
	flags.StringVar(&o.oidc.GroupsClaim, "oidc-groups-claim", "", "claim that lists the user's groups")
	flags.StringVar(&o.oidc.GroupsPrefix, "oidc-groups-prefix", "", "prefix of groups")
	flags.StringSliceVar(&o.oidc.SigningAlgs, "oidc-signing-algs", []string{"RS256"}, "signatures that OpenID tokens may have")
	flags.StringToStringVar(&o.oidc.RequiredClaims, "oidc-required-claim", nil, "claim=value that OpenID tokens must have")
	flags.StringVar(&o.tokenWebhook, "authentication-token-webhook-config-file", "", "kubeconfig of a server to ask about tokens")
	flags.StringVar(&o.tokenWebhookVersion, "authentication-token-webhook-version", "v1", "version of TokenReview to ask with: v1")
	flags.DurationVar(&o.tokenWebhookTTL, "authentication-token-webhook-cache-ttl", 2*time.Minute, "how long what that server says of a token is remembered; 0: not at all")
	flags.StringVar(&o.authorizationConfig, "authorization-config", "", "AuthorizationConfiguration, in place of --authorization-mode; it may change while the server runs")
	flags.StringVar(&o.accessWebhook, "authorization-webhook-config-file", "", "kubeconfig of the server that decides in the mode Webhook")
	flags.StringVar(&o.accessWebhookVersion, "authorization-webhook-version", "v1", "version of SubjectAccessReview to ask with: v1")
	flags.DurationVar(&o.allowedTTL, "authorization-webhook-cache-authorized-ttl", 5*time.Minute, "how long what that server allows is remembered")
	flags.BoolVar(&o.nodeCommandsByGet, "allow-node-proxy-commands-by-get", false, "let commands be run on nodes through nodes/proxy with the right to get it alone, as Kubernetes does")
	flags.DurationVar(&o.forbiddenTTL, "authorization-webhook-cache-unauthorized-ttl", 30*time.Second, "how long what that server does not allow is remembered")
}

func (o *authOptions) given(names ...string) bool {
	for _, name := range names {
		if o.flags != nil && o.flags.Changed(name) {
			return true
		}
	}
	return false
}

// identities adds the tokens of outside issuers to an authenticator's
// configuration.
func (g *gate) identities(options *Options, config *authn.Config) error {
	o := &options.auth
	if o.given("anonymous-auth") {
		config.Anonymous = anonymous(&apiserver.AnonymousAuthConfig{Enabled: o.anonymous})
	}
	if o.tokenWebhookVersion != "" && o.tokenWebhookVersion != "v1" {
		return fmt.Errorf("--authentication-token-webhook-version %s is not supported, use v1", o.tokenWebhookVersion)
	}
	structured, err := o.issuers(options.Issuers)
	if err != nil {
		return err
	}
	if structured != nil {
		if g.issuers, err = jwt.New(structured.config, structured.algs, clock.RealClock{}); err != nil {
			return err
		}
		g.issuers.Follow(o.authenticationConfig, structured.data, options.Issuers)
		config.Tokens = append(config.Tokens, g.issuers)
		if said := structured.config.Anonymous; said != nil {
			if o.given("anonymous-auth") {
				return errors.New("--anonymous-auth and the field anonymous of --authentication-config exclude each other")
			}
			config.Anonymous = anonymous(said)
		}
	}
	if o.tokenWebhook == "" {
		return nil
	}
	asking, err := o.askTokens(options.tokenAudiences())
	if err != nil {
		return err
	}
	config.Tokens = append(config.Tokens, asking)
	return nil
}

// askTokens makes the authenticator that asks a server outside of the cluster.
func (o *authOptions) askTokens(audiences []string) (authenticator.Token, error) {
	asking, err := tokenwebhook.New(o.tokenWebhook, audiences)
	if err != nil {
		return nil, fmt.Errorf("--authentication-token-webhook-config-file: %w", err)
	}
	if o.tokenWebhookTTL <= 0 {
		return asking, nil
	}
	return authn.Remember(asking, o.tokenWebhookTTL, clock.RealClock{})
}

// structured is an AuthenticationConfiguration, from a file or from flags.
type structured struct {
	config *apiserver.AuthenticationConfiguration
	data   []byte
	algs   []string
}

func (o *authOptions) issuers(own []string) (*structured, error) {
	oidc := o.given("oidc-issuer-url", "oidc-client-id", "oidc-ca-file", "oidc-username-claim", "oidc-username-prefix",
		"oidc-groups-claim", "oidc-groups-prefix", "oidc-signing-algs", "oidc-required-claim")
	switch {
	case o.authenticationConfig != "" && oidc:
		return nil, errors.New("--authentication-config and the --oidc flags exclude each other")
	case oidc:
		config, err := o.oidc.Configuration(own)
		return &structured{config: config, algs: o.oidc.SigningAlgs}, err
	case o.authenticationConfig == "":
		return nil, nil
	}
	data, err := os.ReadFile(o.authenticationConfig)
	if err != nil {
		return nil, err
	}
	config, err := jwt.Parse(data, own)
	if err != nil {
		return nil, fmt.Errorf("--authentication-config %s: %w", o.authenticationConfig, err)
	}
	return &structured{config: config, data: data}, nil
}

// anonymous is what a configuration says of requests without credentials.
func anonymous(said *apiserver.AnonymousAuthConfig) *authn.Anonymous {
	switch {
	case !said.Enabled:
		return nil
	case len(said.Conditions) == 0:
		return &authn.Anonymous{}
	}
	paths := []string{}
	for _, condition := range said.Conditions {
		paths = append(paths, condition.Path)
	}
	return &authn.Anonymous{Paths: paths}
}

// webhookMode is the mode that asks a server outside of the cluster.
const webhookMode authz.Mode = "Webhook"

// askAccess makes the authorizer of the mode Webhook.
func (o *authOptions) askAccess(logger *slog.Logger) (authorizer.Authorizer, error) {
	switch {
	case o.accessWebhook == "":
		return nil, errors.New("--authorization-mode=Webhook needs --authorization-webhook-config-file")
	case o.accessWebhookVersion != "v1":
		return nil, fmt.Errorf("--authorization-webhook-version %s is not supported, use v1", o.accessWebhookVersion)
	}
	return authzwebhook.New("webhook", apiserver.WebhookConfiguration{
		AuthorizedTTL: metav1.Duration{Duration: o.allowedTTL}, CacheAuthorizedRequests: o.allowedTTL > 0,
		UnauthorizedTTL: metav1.Duration{Duration: o.forbiddenTTL}, CacheUnauthorizedRequests: o.forbiddenTTL > 0,
		Timeout: metav1.Duration{Duration: 30 * time.Second}, SubjectAccessReviewVersion: "v1", FailurePolicy: apiserver.FailurePolicyNoOpinion,
		ConnectionInfo: apiserver.WebhookConnectionInfo{Type: apiserver.AuthorizationWebhookConnectionInfoTypeKubeConfigFile, KubeConfigFile: &o.accessWebhook},
	}, clock.RealClock{}, logger)
}

// structuredAccess reads --authorization-config, and follows it from then on.
func (g *gate) structuredAccess(o *authOptions, builtin map[authz.Mode]authorizer.Authorizer, logger *slog.Logger) (authz.Config, error) {
	if o.given("authorization-mode", "authorization-webhook-config-file") {
		return authz.Config{}, errors.New("--authorization-config and --authorization-mode exclude each other")
	}
	parse := func(data []byte) (authz.Config, error) {
		return authzwebhook.Parse(data, builtin, clock.RealClock{}, logger)
	}
	data, err := os.ReadFile(o.authorizationConfig)
	if err != nil {
		return authz.Config{}, err
	}
	config, err := parse(data)
	if err != nil {
		return authz.Config{}, fmt.Errorf("--authorization-config %s: %w", o.authorizationConfig, err)
	}
	g.following = append(g.following, func(ctx context.Context) {
		reload.File(ctx, o.authorizationConfig, data, func(data []byte) error {
			config, err := parse(data)
			if err != nil {
				return err
			}
			return g.authorizer.Set(config)
		}, clock.RealClock{}, logger)
	})
	return config, nil
}

// Run follows the configuration files until ctx ends.
func (g *gate) Run(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	for _, follow := range g.following {
		all.Go(func() { follow(ctx) })
	}
	if g.issuers != nil {
		all.Go(func() { g.issuers.Run(ctx, g.logger) })
	}
	<-ctx.Done()
	return nil
}
