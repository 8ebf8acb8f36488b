// Package proxy carries streams and proxied requests on to where they end: to
// kubelets (log, exec, attach, port-forward, nodes/proxy), to pods and to the
// endpoints of services. It finds the address in the API's own objects, dials,
// and copies bytes; what the bytes mean is settled between the two ends, except
// that WebSocket clients of newer protocols are translated to SPDY, which every
// kubelet speaks.
//
// No redirect is followed: a kubelet or pod must not send the server's
// credentials elsewhere.
package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/yare-io/yare/apiserver/egress"
	"github.com/yare-io/yare/apiserver/request"
)

// Config says how to reach what lies behind the server.
type Config struct {
	// KubeletTLS has the certificate that the server shows to kubelets, and the
	// CAs that it believes them by (or InsecureSkipVerify). Required.
	KubeletTLS *tls.Config
	// Guard says where pods, services and other ports of nodes may not be.
	// Kubelets may be on this machine, but not on its link.
	Guard egress.Guard
	// DialContext connects to kubelets, pods and services; nil: dialers that
	// keep to Guard.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
}

// Proxy has the handlers of all subresources that are streams or proxies. It
// is safe for concurrent use.
type Proxy struct {
	// kubelet authenticates as the server, unchecked does so without checking
	// whom it talks to, plain has no identity: it is for pods and services.
	kubelet, unchecked, plain *http.Transport
	guard                     egress.Guard
}

const (
	handshakeTimeout = 10 * time.Second
	idleTimeout      = 90 * time.Second
)

// New returns a proxy.
func New(config Config) (*Proxy, error) {
	if config.KubeletTLS == nil {
		return nil, errors.New("a proxy needs the TLS configuration for kubelets")
	}
	kubelets, others := config.DialContext, config.DialContext
	if config.DialContext == nil {
		kubelets, others = guardOfKubelets(config.Guard).Dialer().DialContext, config.Guard.Dialer().DialContext
	}
	unchecked := config.KubeletTLS.Clone()
	unchecked.InsecureSkipVerify = true
	unchecked.RootCAs = nil
	return &Proxy{
		guard:     config.Guard,
		kubelet:   transport(kubelets, config.KubeletTLS.Clone()),
		unchecked: transport(kubelets, unchecked),
		// Certificates of pods are their own affair, as in Kubernetes.
		plain: transport(others, &tls.Config{InsecureSkipVerify: true}), //nolint:gosec // see above
	}, nil
}

// guardOfKubelets lets a kubelet be on the server's own machine.
func guardOfKubelets(g egress.Guard) egress.Guard {
	g.Allow = append(slices.Clone(g.Allow), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"))
	return g
}

// transport speaks HTTP/1.1 only, for connections must be upgradable. It
// ignores proxies of the environment.
func transport(dial func(context.Context, string, string) (net.Conn, error), config *tls.Config) *http.Transport {
	config.NextProtos = []string{"http/1.1"}
	return &http.Transport{
		DialContext:         dial,
		TLSClientConfig:     config,
		TLSHandshakeTimeout: handshakeTimeout,
		IdleConnTimeout:     idleTimeout,
		MaxIdleConnsPerHost: 4,
		DisableCompression:  true,
	}
}

// Connectors returns the handlers by "resource/subresource".
func (p *Proxy) Connectors() map[string]request.Connector {
	return map[string]request.Connector{
		"pods/log":         podLog{p},
		"pods/exec":        podExec{p},
		"pods/attach":      podAttach{p},
		"pods/portforward": podPortForward{p},
		"pods/proxy":       podProxy{p},
		"nodes/proxy":      nodeProxy{p},
		"services/proxy":   serviceProxy{p},
	}
}

// Close drops idle connections.
func (p *Proxy) Close() {
	for _, t := range []*http.Transport{p.kubelet, p.unchecked, p.plain} {
		t.CloseIdleConnections()
	}
}
