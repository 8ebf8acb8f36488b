package main

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	schedulerconfig "k8s.io/kube-scheduler/config/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/yare-io/yare/scheduler"
)

func newSchedulerCommand() *cobra.Command {
	var kubeconfig, configFile string
	var leaderElect bool
	logs := &logFlags{}
	command := &cobra.Command{
		Use: "kube-scheduler", GroupID: "component", Args: cobra.NoArgs,
		Short: "Run the scheduler against an API server",
		Long:  "Runs the scheduler, which chooses a node for each pod that has none.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			logger, err := logs.logger()
			if err != nil {
				return err
			}
			configuration, err := readSchedulerConfiguration(configFile)
			if err != nil {
				return err
			}
			if configuration.LeaderElection.LeaderElect == nil || cmd.Flags().Changed("leader-elect") {
				configuration.LeaderElection.LeaderElect = &leaderElect
			}
			if kubeconfig == "" {
				kubeconfig = configuration.ClientConnection.Kubeconfig
			}
			config, err := kubeconfigFlag(kubeconfig)
			if err != nil {
				return err
			}
			s, err := newScheduler(config, nil, configuration, nil, logger)
			if err != nil {
				return err
			}
			return s.Run(cmd.Context())
		},
	}
	flags := command.Flags()
	flags.StringVar(&kubeconfig, "kubeconfig", "", "file that says how to reach the API server and as whom")
	flags.StringVar(&configFile, "config", "", "file with a KubeSchedulerConfiguration (kubescheduler.config.k8s.io/v1)")
	flags.BoolVar(&leaderElect, "leader-elect", true, "run only while holding the lease kube-system/kube-scheduler")
	logs.add(flags)
	return command
}

func readSchedulerConfiguration(file string) (*schedulerconfig.KubeSchedulerConfiguration, error) {
	configuration := &schedulerconfig.KubeSchedulerConfiguration{}
	if file == "" {
		return configuration, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if err := yaml.UnmarshalStrict(data, configuration); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if want := schedulerconfig.SchemeGroupVersion.WithKind("KubeSchedulerConfiguration"); configuration.GroupVersionKind() != want {
		return nil, fmt.Errorf("%s: is a %s, want a %s", file, configuration.GroupVersionKind(), want)
	}
	return configuration, nil
}

// newScheduler is what both the command alone and the whole server run.
func newScheduler(config *rest.Config, shared informers.SharedInformerFactory, configuration *schedulerconfig.KubeSchedulerConfiguration, metrics prometheus.Registerer, logger *slog.Logger) (*scheduler.Scheduler, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return scheduler.New(scheduler.Config{
		Client: client, Informers: shared, Configuration: configuration, Metrics: metrics, Logger: logger.With("component", "scheduler"),
	})
}

// alone is the configuration of a scheduler that has no rival.
func alone() *schedulerconfig.KubeSchedulerConfiguration {
	configuration := &schedulerconfig.KubeSchedulerConfiguration{}
	configuration.LeaderElection.LeaderElect = ptr.To(false)
	return configuration
}
