package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"sync"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/utils/ptr"
)

// maxAnswer bounds an answer: the largest object there can be, as a patch in
// base64, and some room.
const maxAnswer = 8 << 20

// endpoint is where a webhook is and how it is reached. Its client is made when
// it is first called. It is safe for concurrent use.
type endpoint struct {
	unusable error
	config   *admissionregistrationv1.WebhookClientConfig
	who      Credentials
	dialer   *net.Dialer
	services Resolver

	once   sync.Once
	client *http.Client
	target *url.URL
	err    error
}

func newEndpoint(config *admissionregistrationv1.WebhookClientConfig, who Credentials, dialer *net.Dialer, services Resolver) *endpoint {
	return &endpoint{config: config, who: who, dialer: dialer, services: services}
}

func (e *endpoint) close() {
	e.once.Do(func() { e.err = errors.New("the webhook's configuration is gone") })
	if e.client != nil {
		e.client.CloseIdleConnections()
	}
}

// post sends a document and returns the answer's, within ctx.
func (e *endpoint) post(ctx context.Context, document []byte, timeout time.Duration) ([]byte, error) {
	if e.unusable != nil {
		return nil, e.unusable
	}
	e.once.Do(func() { e.err = e.connect() })
	if e.err != nil {
		return nil, e.err
	}
	target := *e.target
	target.RawQuery = url.Values{"timeout": {timeout.String()}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(document))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json, */*")
	answer, err := e.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	return read(answer)
}

// read takes an answer in. What a server says beside 200 is not repeated: it
// may be a server that the author of the configuration cannot reach (CVE-2020-8561).
func read(answer *http.Response) ([]byte, error) {
	if code := answer.StatusCode; code >= 300 && code < 400 {
		return nil, fmt.Errorf("the server answered with a redirect (%d), and redirects are not followed", code)
	} else if code != http.StatusOK {
		return nil, fmt.Errorf("the server answered with %d %s", code, http.StatusText(code))
	}
	if kind, _, err := mime.ParseMediaType(answer.Header.Get("Content-Type")); err == nil && kind != "application/json" && kind != "text/plain" {
		return nil, fmt.Errorf("the server answered with %s instead of application/json", kind)
	}
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxAnswer {
		return nil, fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
	}
	return data, nil
}

// connect makes the client.
func (e *endpoint) connect() error {
	host, port, below, err := e.address()
	if err != nil {
		return err
	}
	e.target = &url.URL{Scheme: "https", Host: net.JoinHostPort(host, port), Path: below}
	who, err := e.who.For(host, port)
	if err != nil {
		return err
	}
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host, Certificates: who.certificates}
	if len(e.config.CABundle) > 0 || len(who.authorities) > 0 {
		tlsConfig.RootCAs = x509.NewCertPool()
		known := tlsConfig.RootCAs.AppendCertsFromPEM(e.config.CABundle)
		if !tlsConfig.RootCAs.AppendCertsFromPEM(who.authorities) && !known {
			return errors.New("caBundle holds no certificate")
		}
	}
	e.client = &http.Client{
		Transport: who.wrap(&http.Transport{
			DialContext: e.dial, TLSClientConfig: tlsConfig, TLSHandshakeTimeout: 10 * time.Second,
			MaxIdleConnsPerHost: 25, IdleConnTimeout: 90 * time.Second, MaxResponseHeaderBytes: 64 << 10,
			// Several backends behind one service share the load only if each
			// connection carries one request at a time.
			ForceAttemptHTTP2: false, Proxy: nil, DisableCompression: true,
		}),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return nil
}

// address is the name that the certificate must have, the port and the path:
// as client-go has it, with no slash twice and none at the end.
func (e *endpoint) address() (host, port, below string, err error) {
	if service := e.config.Service; service != nil {
		return service.Name + "." + service.Namespace + ".svc", strconv.Itoa(int(e.port())), path.Join("/", ptr.Deref(service.Path, "")), nil
	}
	if e.config.URL == nil {
		return "", "", "", errors.New("webhook configuration must have either service or URL")
	}
	u, err := url.Parse(*e.config.URL)
	if err != nil {
		return "", "", "", err
	}
	if u.Scheme != "https" {
		return "", "", "", fmt.Errorf("the URL's scheme is %q, and https is needed", u.Scheme)
	}
	if port = u.Port(); port == "" {
		port = "443"
	}
	return u.Hostname(), port, path.Join("/", u.Path), nil
}

func (e *endpoint) port() int32 { return ptr.Deref(e.config.Service.Port, 443) }

// dial resolves and checks where a connection goes, anew for every one.
func (e *endpoint) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if service := e.config.Service; service != nil {
		resolved, err := e.services.Resolve(service.Namespace, service.Name, e.port())
		if err != nil {
			return nil, err
		}
		address = resolved
	}
	return e.dialer.DialContext(ctx, network, address)
}
