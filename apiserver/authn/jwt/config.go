// Package jwt authenticates JSON web tokens of issuers outside of the cluster:
// those of an AuthenticationConfiguration, or the one of the --oidc flags. It
// fetches the issuers' keys, verifies tokens, and maps claims to users.
package jwt

import (
	"fmt"
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/install"
	"k8s.io/apiserver/pkg/apis/apiserver/validation"
	authenticationcel "k8s.io/apiserver/pkg/authentication/cel"
	"k8s.io/utils/ptr"
)

// Parse reads an AuthenticationConfiguration; own are the issuers of this
// server, which a file cannot take over.
func Parse(data []byte, own []string) (*apiserver.AuthenticationConfiguration, error) {
	scheme := runtime.NewScheme()
	install.Install(scheme)
	decoded, err := runtime.Decode(serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDecoder(), data)
	if err != nil {
		return nil, err
	}
	config, ok := decoded.(*apiserver.AuthenticationConfiguration)
	if !ok {
		return nil, fmt.Errorf("it is a %T, and an AuthenticationConfiguration is needed", decoded)
	}
	errs := validation.ValidateAuthenticationConfiguration(authenticationcel.NewDefaultCompiler(), config, own)
	return config, errs.ToAggregate()
}

// Options are what the --oidc flags say.
type Options struct {
	IssuerURL, ClientID, CAFile   string
	UsernameClaim, UsernamePrefix string
	GroupsClaim, GroupsPrefix     string
	SigningAlgs                   []string
	RequiredClaims                map[string]string
}

// Configuration says the same as an AuthenticationConfiguration would.
func (o Options) Configuration(own []string) (*apiserver.AuthenticationConfiguration, error) {
	if o.ClientID == "" || o.IssuerURL == "" {
		return nil, fmt.Errorf("--oidc-issuer-url and --oidc-client-id must be specified together")
	}
	issuer := apiserver.JWTAuthenticator{
		Issuer:        apiserver.Issuer{URL: o.IssuerURL, Audiences: []string{o.ClientID}},
		ClaimMappings: apiserver.ClaimMappings{Username: apiserver.PrefixedClaimOrExpression{Claim: o.UsernameClaim, Prefix: ptr.To(o.prefix())}},
	}
	if o.GroupsClaim != "" {
		issuer.ClaimMappings.Groups = apiserver.PrefixedClaimOrExpression{Claim: o.GroupsClaim, Prefix: ptr.To(o.GroupsPrefix)}
	}
	for claim, value := range o.RequiredClaims {
		issuer.ClaimValidationRules = append(issuer.ClaimValidationRules, apiserver.ClaimValidationRule{Claim: claim, RequiredValue: value})
	}
	if o.CAFile != "" {
		authority, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, err
		}
		issuer.Issuer.CertificateAuthority = string(authority)
	}
	config := &apiserver.AuthenticationConfiguration{JWT: []apiserver.JWTAuthenticator{issuer}}
	errs := validation.ValidateAuthenticationConfiguration(authenticationcel.NewDefaultCompiler(), config, own)
	return config, errs.ToAggregate()
}

// prefix of user names: the issuer's URL unless the claim is email or the flag
// says otherwise; "-" is none.
func (o Options) prefix() string {
	switch {
	case o.UsernamePrefix == "-":
		return ""
	case o.UsernamePrefix == "" && o.UsernameClaim != "email":
		return strings.TrimSuffix(o.IssuerURL, "#") + "#"
	}
	return o.UsernamePrefix
}
