package serviceaccount

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/go-jose/go-jose/v4"
)

// Paths of the OpenID discovery documents.
const (
	ConfigurationPath = "/.well-known/openid-configuration"
	KeysPath          = "/openid/v1/jwks"
)

// Discovery lets others verify our tokens: the OpenID provider configuration
// and the public keys, both fixed documents.
type Discovery struct {
	configuration, keys []byte
}

// NewDiscovery describes an issuer. keysURL is where clients find the keys;
// empty means KeysPath below the issuer.
func NewDiscovery(issuer, keysURL string, keys *Keys) (*Discovery, error) {
	if keysURL == "" {
		keysURL = issuer + KeysPath
	}
	configuration, err := json.Marshal(struct {
		Issuer        string   `json:"issuer"`
		KeysURL       string   `json:"jwks_uri"`
		ResponseTypes []string `json:"response_types_supported"`
		SubjectTypes  []string `json:"subject_types_supported"`
		Algorithms    []string `json:"id_token_signing_alg_values_supported"`
	}{issuer, keysURL, []string{"id_token"}, []string{"public"}, keys.algorithms()})
	if err != nil {
		return nil, fmt.Errorf("encoding OpenID configuration: %w", err)
	}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: keys.jwks})
	if err != nil {
		return nil, fmt.Errorf("encoding key set: %w", err)
	}
	return &Discovery{configuration: configuration, keys: set}, nil
}

// ServeConfiguration answers ConfigurationPath.
func (d *Discovery) ServeConfiguration(w http.ResponseWriter, _ *http.Request) {
	serve(w, "application/json", d.configuration)
}

// ServeKeys answers KeysPath.
func (d *Discovery) ServeKeys(w http.ResponseWriter, _ *http.Request) {
	serve(w, "application/jwk-set+json", d.keys)
}

func serve(w http.ResponseWriter, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "public, max-age=3600")
	_, _ = w.Write(body) // the client is gone if this fails; nobody to tell
}
