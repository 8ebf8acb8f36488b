package proxy

import (
	"errors"
	"net/http"
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilproxy "k8s.io/apimachinery/pkg/util/proxy"
)

// failure keeps what went wrong before anything was written, for the server to
// answer with.
type failure struct{ err error }

// Error implements utilproxy.ErrorResponder.
func (f *failure) Error(_ http.ResponseWriter, _ *http.Request, err error) {
	if f.err == nil {
		f.err = asStatus(err)
	}
}

// asStatus makes an unreachable backend the backend's fault.
func asStatus(err error) error {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return err
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusBadGateway, Message: err.Error(),
	}}
}

// upgrade returns a handler that tunnels an upgraded connection to a location,
// byte for byte.
func upgrade(location *url.URL, transport http.RoundTripper, failed *failure) *utilproxy.UpgradeAwareHandler {
	handler := utilproxy.NewUpgradeAwareHandler(location, transport, false, true, failed)
	handler.RejectForwardingRedirects = true
	return handler
}

// forward proxies a request, upgraded or not, to a location.
func forward(w http.ResponseWriter, r *http.Request, location *url.URL, transport http.RoundTripper) error {
	failed := &failure{}
	handler := utilproxy.NewUpgradeAwareHandler(location, transport, true, false, failed)
	handler.ServeHTTP(w, r)
	return failed.err
}
