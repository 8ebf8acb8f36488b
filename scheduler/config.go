package scheduler

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	schedconfig "k8s.io/kube-scheduler/config/v1"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/scheduler/plugins"
)

// DefaultSchedulerName is the profile of pods that name no scheduler.
const DefaultSchedulerName = "default-scheduler"

// Config sets a scheduler up. Only Client is required.
type Config struct {
	// Client reaches the API server, for everything the scheduler reads and writes.
	Client kubernetes.Interface
	// Informers, if set, are shared with other components of the process; they
	// MUST not filter pods or nodes. Whoever made the factory shuts it down.
	Informers informers.SharedInformerFactory
	// Profiles, backoffs and leader election, as kube-scheduler's --config
	// file has them; nil means one default profile and no leader election.
	// PercentageOfNodesToScore and Parallelism are accepted and not needed: every
	// node is looked at for every pod. Extenders are refused.
	Configuration *schedconfig.KubeSchedulerConfiguration
	// Plugins are available to profiles beside the built-in ones.
	Plugins plugins.Registry
	// Identity of this process in leader election; the host name and a random
	// suffix if empty.
	Identity string
	// Metrics, if set, is where the kube-scheduler metrics are registered.
	Metrics prometheus.Registerer
	// Logger defaults to slog.Default.
	Logger *slog.Logger
	// Clock defaults to the real one. It drives queue and timestamps, not
	// leader election.
	Clock clock.WithTicker
	// MaxBinds limits how many bindings and status updates are under way at once; 128 if 0.
	MaxBinds int
}

func (c *Config) complete() error {
	if c.Client == nil {
		return errors.New("scheduler needs a client")
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
	if c.MaxBinds == 0 {
		c.MaxBinds = 128
	}
	if c.Configuration == nil {
		c.Configuration = &schedconfig.KubeSchedulerConfiguration{}
	}
	if len(c.Configuration.Extenders) > 0 {
		return fmt.Errorf("extender %q: scheduler extenders are not supported", c.Configuration.Extenders[0].URLPrefix)
	}
	return nil
}

// backoff returns the queue's configured limits, 0 for the default.
func (c *Config) backoff() (initial, longest time.Duration, err error) {
	seconds := func(v *int64) time.Duration {
		if v == nil {
			return 0
		}
		return time.Duration(*v) * time.Second
	}
	initial, longest = seconds(c.Configuration.PodInitialBackoffSeconds), seconds(c.Configuration.PodMaxBackoffSeconds)
	if initial < 0 || longest < 0 || longest > 0 && longest < initial {
		return 0, 0, fmt.Errorf("podInitialBackoffSeconds %v and podMaxBackoffSeconds %v: must not be negative, nor the first above the second", initial, longest)
	}
	return initial, longest, nil
}
