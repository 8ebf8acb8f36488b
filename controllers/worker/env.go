package worker

import (
	"fmt"
	"log/slog"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
)

// Env is what a controller is given to work with. Every field is set.
type Env struct {
	// Client and Metadata act under the controller's own identity.
	Client   kubernetes.Interface
	Metadata metadata.Interface
	// Reader acts under the manager's identity, which may read everything: it
	// is for informers of a controller's own.
	Reader kubernetes.Interface
	// Informers are shared by all controllers. A controller asks for what it
	// needs while it is constructed; they are started afterwards.
	Informers informers.SharedInformerFactory
	// Events records events under the controller's component name.
	Events record.EventRecorder
	Log    *slog.Logger
	Clock  clock.WithTicker
	// Metrics receives the figures of work queues.
	Metrics workqueue.MetricsProvider
	// Workers is how many keys the controller's main queue reconciles at once.
	Workers int
}

// NotConfigured is returned by a controller's constructor when the
// configuration leaves out what it cannot do without: it is then not started.
type NotConfigured string

func (n NotConfigured) Error() string {
	return fmt.Sprintf("not configured: %s", string(n))
}
