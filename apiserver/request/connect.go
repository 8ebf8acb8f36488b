package request

import (
	"net/http"
	"net/url"

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

// Connector serves a subresource that is a stream or a proxy.
type Connector interface {
	// Options returns the options of a connection (a PodExecOptions), which
	// admission sees as the object of the request; nil when there are none.
	Options(Target) runtime.Object
	// Connect serves the connection until its end. An error means that nothing
	// has been written; the server answers with it.
	Connect(http.ResponseWriter, *http.Request, Target) error
}
