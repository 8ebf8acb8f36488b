package main

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	schedulerconfig "k8s.io/kube-scheduler/config/v1"
	"k8s.io/utils/ptr"

	"github.com/yare-io/yare/apiserver/health"
	"github.com/yare-io/yare/cmd/yare/part"
	"github.com/yare-io/yare/scheduler"
)

// schedulerOptions are what the flags of kube-scheduler set.
type schedulerOptions struct {
	kubeconfig, configFile string
	election               leaderElectionOptions
	port                   securePortOptions
}

func newSchedulerCommand() *cobra.Command {
	options, logs := &schedulerOptions{}, &logFlags{}
	command := &cobra.Command{
		Use: "kube-scheduler", GroupID: "component", Args: cobra.NoArgs,
		Short: "Run the scheduler against an API server",
		Long:  "Runs the scheduler, which chooses a node for each pod that has none.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			logger, err := logs.logger()
			if err != nil {
				return err
			}
			configuration := &schedulerconfig.KubeSchedulerConfiguration{}
			if err := readConfiguration(options.configFile, configuration, schedulerconfig.SchemeGroupVersion.WithKind("KubeSchedulerConfiguration")); err != nil {
				return err
			}
			options.election.complete(cmd.Flags(), &configuration.LeaderElection)
			return options.run(cmd.Context(), configuration, logger)
		},
	}
	flags := command.Flags()
	flags.StringVar(&options.kubeconfig, "kubeconfig", "", "file that says how to reach the API server and as whom")
	flags.StringVar(&options.configFile, "config", "", "file with a KubeSchedulerConfiguration (kubescheduler.config.k8s.io/v1)")
	options.election.add(flags, "kube-scheduler")
	options.port.add(flags, 10259)
	logs.add(flags)
	return command
}

func (o *schedulerOptions) run(ctx context.Context, configuration *schedulerconfig.KubeSchedulerConfiguration, logger *slog.Logger) error {
	if o.kubeconfig == "" {
		o.kubeconfig = configuration.ClientConnection.Kubeconfig
	}
	config, err := kubeconfigFlag(o.kubeconfig)
	if err != nil {
		return err
	}
	metrics := newMetrics()
	s, err := newScheduler(config, nil, configuration, "", metrics, logger)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	if err := o.port.serve(ctx, group, securePort{
		name: "kube-scheduler", kubeconfig: o.kubeconfig, metrics: metrics, logger: logger,
		checks:   []health.Check{leaseCheck(s.Check)},
		configz:  map[string]any{schedulerconfig.GroupName: configuration},
		handlers: map[string]http.Handler{"/debug/pending": s.Pending()},
	}); err != nil {
		return err
	}
	group.Go(part.Named(ctx, "scheduler", s.Run))
	return group.Wait()
}

// newScheduler is what both the command alone and the whole server run. An
// identity tells it from others in an election; without one it has a random one.
func newScheduler(config *rest.Config, shared informers.SharedInformerFactory, configuration *schedulerconfig.KubeSchedulerConfiguration, identity string, metrics prometheus.Registerer, logger *slog.Logger) (*scheduler.Scheduler, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return scheduler.New(scheduler.Config{
		Client: client, Informers: shared, Configuration: configuration, Identity: identity, Metrics: metrics, Logger: logger.With("component", "scheduler"),
	})
}

// electing is the configuration of a scheduler that has rivals, or has none.
func electing(elect bool) *schedulerconfig.KubeSchedulerConfiguration {
	configuration := &schedulerconfig.KubeSchedulerConfiguration{}
	configuration.LeaderElection.LeaderElect = ptr.To(elect)
	return configuration
}
