package aggregation

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	apidiscoveryv2 "k8s.io/api/apidiscovery/v2"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/httpstream"
	utilproxy "k8s.io/apimachinery/pkg/util/proxy"
	genericrequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/transport"
)

// remote is another server, for one group and version.
type remote struct {
	service   *service
	location  url.URL
	transport *http.Transport
	// broken says why the server cannot be called, for instance that there is
	// no certificate in its bundle.
	broken error
	// found is what its discovery said last; nil: nothing yet.
	found  atomic.Pointer[findings]
	health health
}

// findings are what a look at another server brought.
type findings struct {
	available bool
	resources []apidiscoveryv2.APIResourceDiscovery
	// documents are the OpenAPI 3 documents of the group and version, by name.
	documents map[string]string
	// schema is its part of the OpenAPI 2 document; nil: it has none.
	schema *schema2
}

const dialTimeout = 10 * time.Second

func (a *Aggregator) newRemote(s *service) *remote {
	host := s.Spec.Service.Name + "." + s.Spec.Service.Namespace + ".svc"
	port := int32(443)
	if s.Spec.Service.Port != nil {
		port = *s.Spec.Service.Port
	}
	r := &remote{service: s, location: url.URL{Scheme: "https", Host: net.JoinHostPort(host, strconv.Itoa(int(port)))}}
	settings := &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: host, GetClientCertificate: a.config.ClientCertificate,
		InsecureSkipVerify: s.Spec.InsecureSkipTLSVerify, //nolint:gosec // the API service says so
	}
	if len(s.Spec.CABundle) > 0 {
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM(s.Spec.CABundle) {
			r.broken = apierrors.NewServiceUnavailable("the caBundle of the API service has no certificate")
		}
	}
	dialer := &net.Dialer{Timeout: dialTimeout}
	r.transport = &http.Transport{
		TLSClientConfig: settings, ForceAttemptHTTP2: true, TLSHandshakeTimeout: dialTimeout, IdleConnTimeout: 90 * time.Second, MaxIdleConnsPerHost: 25,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			address, err := a.config.Resolve(ctx, s.Spec.Service.Namespace, s.Spec.Service.Name, port)
			if err != nil {
				return nil, err
			}
			return dialer.DialContext(ctx, network, address)
		},
	}
	return r
}

// same reports whether an API service leads to this server by the same way.
func (r *remote) same(s *service) bool {
	return r.service.UID == s.UID && apiequality.Semantic.DeepEqual(r.service.Spec, s.Spec)
}

func (r *remote) close() { r.transport.CloseIdleConnections() }

// ServeHTTP passes a request on, as the user who sent it. What the client says
// of itself in headers that the other server would believe is dropped.
func (r *remote) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	if r.broken != nil {
		writeStatus(w, r.broken)
		return
	}
	who, ok := genericrequest.UserFrom(request.Context())
	if !ok {
		writeStatus(w, apierrors.NewInternalError(errNobody))
		return
	}
	location := r.location
	location.Path, location.RawPath, location.RawQuery = request.URL.Path, request.URL.RawPath, request.URL.RawQuery
	outgoing := request.Clone(request.Context())
	clean(outgoing.Header)
	outgoing.Host = location.Host
	if httpstream.IsUpgradeRequest(request) {
		transport.SetAuthProxyHeaders(outgoing, who.GetName(), who.GetUID(), who.GetGroups(), who.GetExtra())
		handler := utilproxy.NewUpgradeAwareHandler(&location, r.transport, true, true, responder{&r.health})
		handler.RejectForwardingRedirects = true
		handler.ServeHTTP(w, outgoing)
		return
	}
	as := transport.NewAuthProxyRoundTripper(who.GetName(), who.GetUID(), who.GetGroups(), who.GetExtra(), r.transport)
	handler := utilproxy.NewUpgradeAwareHandler(&location, as, true, false, responder{&r.health})
	handler.RejectForwardingRedirects = true
	handler.ServeHTTP(w, outgoing)
}

// clean takes away what says who a client is.
func clean(header http.Header) {
	header.Del("Authorization")
	for name := range header {
		lower := strings.ToLower(strings.ReplaceAll(name, "_", "-"))
		if strings.HasPrefix(lower, "x-remote-") || strings.HasPrefix(lower, "impersonate-") {
			delete(header, name)
		}
	}
}

// responder answers for a server that did not.
type responder struct{ health *health }

// Error implements utilproxy.ErrorResponder.
func (r responder) Error(w http.ResponseWriter, _ *http.Request, err error) {
	r.health.suspect()
	if status := apierrors.APIStatus(nil); asStatus(err, &status) {
		writeStatus(w, err)
		return
	}
	writeStatus(w, apierrors.NewServiceUnavailable("error trying to reach service: "+err.Error()))
}

func writeStatus(w http.ResponseWriter, err error) {
	var known apierrors.APIStatus
	if !asStatus(err, &known) {
		known = apierrors.NewInternalError(err)
	}
	status := known.Status()
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(status.Code))
	_ = json.NewEncoder(w).Encode(&status) // the client has gone: nobody to tell
}
