package request

import (
	"net/http"
	"net/url"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/conversion/queryparams"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/yare-io/yare/apiserver/registry"
)

// Target is the object that a stream or a proxied request is for.
type Target struct {
	// Objects reads what the way to the target depends on.
	Objects         registry.Objects
	Namespace, Name string
	Subresource     string
	// Path is what follows the subresource, undecoded, with its slash; empty
	// when there is nothing.
	Path  string
	Query url.Values
}

// Apply makes the target what a connector's options say, which admission may
// have changed.
func (t *Target) Apply(options runtime.Object) error {
	switch proxied := options.(type) {
	case *corev1.NodeProxyOptions:
		t.Path = proxied.Path
	case *corev1.PodProxyOptions:
		t.Path = proxied.Path
	case *corev1.ServiceProxyOptions:
		t.Path = proxied.Path
	default:
		query, err := queryparams.Convert(options)
		if err != nil {
			return err
		}
		t.Query = query
	}
	return nil
}

// Connector serves a subresource that is a stream or a proxy.
type Connector interface {
	// Options returns the options of a connection (a PodExecOptions), which
	// admission sees as the object of the request; nil when there are none.
	Options(Target) runtime.Object
	// Connect serves the connection until its end. An error means that nothing
	// has been written; the server answers with it.
	Connect(http.ResponseWriter, *http.Request, Target) error
}
