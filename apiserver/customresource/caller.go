package customresource

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/utils/lru"

	"github.com/yare-io/yare/apiserver/egress"
)

// Answers are bounded in bytes: the largest object that the store takes, and
// some times what was asked. A converted object says what the original says.
const (
	largestObject = 3 << 20
	growth        = 4
)

// keptClients is how many webhooks are kept connected.
const keptClients = 64

// Resolver returns the address (host:port) of a service's port.
type Resolver func(ctx context.Context, namespace, name string, port int32) (string, error)

// HTTPSCaller reaches webhooks over HTTPS, services by way of a Resolver, where
// its guard lets it. It follows no redirect.
type HTTPSCaller struct {
	resolve Resolver
	guard   egress.Guard
	clients *lru.Cache
}

// NewCaller returns a caller.
func NewCaller(resolve Resolver, guard egress.Guard) *HTTPSCaller {
	return &HTTPSCaller{resolve: resolve, guard: guard, clients: lru.NewWithEvictionFunc(keptClients, func(_ lru.Key, client any) {
		client.(*http.Client).CloseIdleConnections()
	})}
}

// Call implements Caller.
func (c *HTTPSCaller) Call(ctx context.Context, config *apiextensionsv1.WebhookClientConfig, body []byte) ([]byte, error) {
	target, err := targetOf(config)
	if err != nil {
		return nil, err
	}
	client, err := c.client(config, target)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", target, answer.Status)
	}
	limit := largestObject + growth*len(body)
	raw, err := io.ReadAll(io.LimitReader(answer.Body, int64(limit)+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the answer of %s: %w", target, err)
	case len(raw) > limit:
		return nil, fmt.Errorf("the answer of %s is longer than %d bytes", target, limit)
	}
	return raw, nil
}

// targetOf is the URL of a webhook; a service has the name that its
// certificate must be for.
func targetOf(config *apiextensionsv1.WebhookClientConfig) (*url.URL, error) {
	if config.URL != nil {
		target, err := url.Parse(*config.URL)
		if err != nil {
			return nil, err
		}
		// As client-go has it: no slash twice, none at the end.
		target.Path = path.Join("/", target.Path)
		return target, nil
	}
	service := config.Service
	if service == nil {
		return nil, errors.New("the webhook has neither a URL nor a service")
	}
	target := &url.URL{Scheme: "https", Host: service.Name + "." + service.Namespace + ".svc", Path: "/"}
	if service.Port != nil && *service.Port != 443 {
		target.Host = net.JoinHostPort(target.Host, strconv.Itoa(int(*service.Port)))
	}
	if service.Path != nil {
		target.Path = *service.Path
	}
	return target, nil
}

// client returns the client of a webhook, the same one while nothing about the
// webhook changes.
func (c *HTTPSCaller) client(config *apiextensionsv1.WebhookClientConfig, target *url.URL) (*http.Client, error) {
	sum := sha256.Sum256(config.CABundle)
	key := target.Host + string(sum[:])
	if client, ok := c.clients.Get(key); ok {
		return client.(*http.Client), nil
	}
	settings := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: target.Hostname()}
	if bundle := bytes.TrimSpace(config.CABundle); len(bundle) > 0 {
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM(bundle) {
			return nil, errors.New("the caBundle of the webhook has no certificate")
		}
	}
	dialer := c.guard.Dialer()
	dial := dialer.DialContext
	if service := config.Service; service != nil {
		dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			port := int32(443)
			if service.Port != nil {
				port = *service.Port
			}
			address, err := c.resolve(ctx, service.Namespace, service.Name, port)
			if err != nil {
				return nil, err
			}
			return dialer.DialContext(ctx, network, address)
		}
	}
	client := &http.Client{
		Transport:     &http.Transport{TLSClientConfig: settings, DialContext: dial, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 4, IdleConnTimeout: 90 * time.Second},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	c.clients.Add(key, client)
	return client, nil
}
