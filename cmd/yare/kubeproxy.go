package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"

	"github.com/yare-io/yare/cmd/yare/addresses"
	"github.com/yare-io/yare/kubeproxy"
)

func newKubeProxyCommand() *cobra.Command {
	var kubeconfig, hostname, mode, health, metrics string
	var clusterCIDR []string
	var masqueradeAll, cleanup bool
	logs := &logFlags{}
	command := &cobra.Command{
		Use: "kube-proxy", GroupID: "component", Args: cobra.NoArgs,
		Short: "Run the service proxy of a node",
		Long:  "Makes the addresses and ports of services work on this node, with nftables.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cleanup {
				return kubeproxy.Cleanup(cmd.Context())
			}
			if mode != "nftables" {
				return fmt.Errorf("--proxy-mode must be nftables, not %q", mode)
			}
			logger, err := logs.logger()
			if err != nil {
				return err
			}
			config, err := kubeconfigFlag(kubeconfig)
			if err != nil {
				return err
			}
			client, err := kubernetes.NewForConfig(config)
			if err != nil {
				return err
			}
			if hostname == "" {
				if hostname, err = os.Hostname(); err != nil {
					return err
				}
			}
			clusterCIDRs, err := addresses.ParsePrefixes("--cluster-cidr", clusterCIDR)
			if err != nil {
				return err
			}
			proxy, err := kubeproxy.New(kubeproxy.Config{
				Client: client, NodeName: strings.ToLower(hostname), ClusterCIDRs: clusterCIDRs, MasqueradeAll: masqueradeAll,
				HealthAddr: health, MetricsAddr: metrics, Logger: logger.With("component", "kube-proxy"),
			})
			if err != nil {
				return err
			}
			return proxy.Run(cmd.Context())
		},
	}
	flags := command.Flags()
	flags.StringVar(&kubeconfig, "kubeconfig", "", "file that says how to reach the API server and as whom")
	flags.StringVar(&hostname, "hostname-override", "", "name of this node (default: the host name)")
	flags.StringVar(&mode, "proxy-mode", "nftables", "how packets are redirected: nftables")
	flags.StringSliceVar(&clusterCIDR, "cluster-cidr", nil, "range of pod addresses, one for each IP family; traffic from elsewhere to services is masqueraded")
	flags.BoolVar(&masqueradeAll, "masquerade-all", false, "masquerade all traffic to services")
	flags.BoolVar(&cleanup, "cleanup", false, "remove all rules and exit")
	flags.StringVar(&health, "healthz-bind-address", "0.0.0.0:10256", "where health is served; empty for nowhere")
	flags.StringVar(&metrics, "metrics-bind-address", "127.0.0.1:10249", "where metrics are served; empty for nowhere")
	logs.add(flags)
	return command
}
