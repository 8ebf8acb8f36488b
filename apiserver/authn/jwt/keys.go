package jwt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"k8s.io/utils/clock"
)

const (
	// maxDocument bounds what an issuer may answer, in bytes.
	maxDocument = 1 << 20
	// fetchTimeout bounds one request to an issuer.
	fetchTimeout = 30 * time.Second
	// fetchPause is the least time between two fetches: whoever sends tokens of
	// unknown keys must not make the server flood an issuer.
	fetchPause = 10 * time.Second
)

// keys are those of one issuer, fetched when the first token of it comes and
// again when a token names a key that is not known. They are safe for
// concurrent use.
type keys struct {
	issuer, discovery string
	client            *http.Client
	clock             clock.PassiveClock

	mutex   sync.Mutex
	known   []jose.JSONWebKey
	fetched time.Time
	err     error
}

func newKeys(issuer, discovery, authority string, now clock.PassiveClock) (*keys, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if authority != "" {
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM([]byte(authority)) {
			return nil, errors.New("certificateAuthority holds no certificate")
		}
	}
	if discovery == "" {
		discovery = strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration"
	}
	return &keys{
		issuer: issuer, discovery: discovery, clock: now,
		client: &http.Client{Transport: transport, Timeout: fetchTimeout},
	}, nil
}

// find returns the keys a token may be signed with: the one it names, or all
// when it names none.
func (k *keys) find(ctx context.Context, id string) ([]jose.JSONWebKey, error) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	if found := named(k.known, id); len(found) > 0 {
		return found, nil
	}
	if !k.fetched.IsZero() && k.clock.Since(k.fetched) < fetchPause {
		return nil, errors.Join(fmt.Errorf("no key %q of the issuer is known", id), k.err)
	}
	k.fetched = k.clock.Now()
	fresh, err := k.fetch(ctx)
	if k.err = err; err != nil {
		return nil, fmt.Errorf("keys of %s: %w", k.issuer, err)
	}
	k.known = fresh
	if found := named(k.known, id); len(found) > 0 {
		return found, nil
	}
	return nil, fmt.Errorf("the issuer has no key %q", id)
}

func named(all []jose.JSONWebKey, id string) []jose.JSONWebKey {
	if id == "" {
		return all
	}
	var found []jose.JSONWebKey
	for _, key := range all {
		if key.KeyID == id {
			found = append(found, key)
		}
	}
	return found
}

func (k *keys) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	// The answer serves others too, so one client going away does not end it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
	defer cancel()
	var provider struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := k.get(ctx, k.discovery, &provider); err != nil {
		return nil, err
	}
	if provider.Issuer != k.issuer {
		return nil, fmt.Errorf("%s speaks for the issuer %q", k.discovery, provider.Issuer)
	}
	var set jose.JSONWebKeySet
	if err := k.get(ctx, provider.Keys, &set); err != nil {
		return nil, err
	}
	var usable []jose.JSONWebKey
	for _, key := range set.Keys {
		if key.IsPublic() && key.Valid() && (key.Use == "" || key.Use == "sig") {
			usable = append(usable, key)
		}
	}
	return usable, nil
}

func (k *keys) get(ctx context.Context, url string, into any) error {
	if !strings.HasPrefix(url, "https://") {
		return fmt.Errorf("%q is no https URL", url)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := k.client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered with %d", url, answer.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxDocument+1))
	if err != nil {
		return err
	}
	if len(data) > maxDocument {
		return fmt.Errorf("the answer of %s is larger than %d bytes", url, maxDocument)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("the answer of %s: %w", url, err)
	}
	return nil
}
