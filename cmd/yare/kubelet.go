package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/kubernetes"
	kubeletconfig "k8s.io/kubelet/config/v1beta1"

	"github.com/yare-io/yare/cmd/yare/pki"
	"github.com/yare-io/yare/kubelet"
)

// kubeletOptions are what the flags of kubelet set.
type kubeletOptions struct {
	kubeconfig, configFile, rootDir   string
	hostname, nodeIP                  string
	clientCA, servingCert, servingKey string
	labels                            map[string]string
	taints                            []string
	runtimeEndpoint                   string
	healthPort                        int32
	healthAddress                     string
	eviction                          evictionOptions
}

func (o *kubeletOptions) add(flags *pflag.FlagSet) {
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "file that says how to reach the API server and as whom")
	flags.StringVar(&o.configFile, "config", "", "file with a KubeletConfiguration (kubelet.config.k8s.io/v1beta1)")
	flags.StringVar(&o.rootDir, "root-dir", "/var/lib/kubelet", "where the kubelet keeps its files")
	flags.StringVar(&o.hostname, "hostname-override", "", "name of this node (default: the host name)")
	flags.StringVar(&o.nodeIP, "node-ip", "", "address of this node (default: this machine's)")
	flags.StringVar(&o.clientCA, "client-ca-file", "", "authority that vouches for those who call this node")
	flags.StringVar(&o.servingCert, "tls-cert-file", "", "serving certificate")
	flags.StringVar(&o.servingKey, "tls-private-key-file", "", "its private key")
	flags.StringToStringVar(&o.labels, "node-labels", nil, "labels for this node")
	flags.StringSliceVar(&o.taints, "register-with-taints", nil, "taints for this node when it registers, as key=value:effect")
	flags.Int32Var(&o.healthPort, "healthz-port", 10248, "port of the health check, without TLS; 0 for none")
	flags.StringVar(&o.healthAddress, "healthz-bind-address", "127.0.0.1", "address of the health check")
	o.eviction.add(flags)
	flags.StringVar(&o.runtimeEndpoint, "container-runtime-endpoint", "", "CRI socket of the container runtime (default: of the configuration)")
}

func newKubeletCommand() *cobra.Command {
	options, logs := &kubeletOptions{}, &logFlags{}
	command := &cobra.Command{
		Use: "kubelet", GroupID: "component", Args: cobra.NoArgs,
		Short: "Run the agent of a node",
		Long:  "Runs the pods that are bound to this node, on a container runtime that speaks CRI.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return options.run(cmd.Context(), cmd.Flags(), logs)
		},
	}
	options.add(command.Flags())
	logs.add(command.Flags())
	return command
}

func (o *kubeletOptions) run(ctx context.Context, flags *pflag.FlagSet, logs *logFlags) error {
	logger, err := logs.logger()
	if err != nil {
		return err
	}
	settings := &kubeletconfig.KubeletConfiguration{}
	if err := readConfiguration(o.configFile, settings, kubeletconfig.SchemeGroupVersion.WithKind("KubeletConfiguration")); err != nil {
		return err
	}
	clientConfig, err := kubeconfigFlag(o.kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(clientConfig)
	if err != nil {
		return err
	}
	if err := o.override(flags, settings); err != nil {
		return err
	}
	kubelet.SetDefaults(settings)
	node := nodeConfig{logger: logger, options: &nodeOptions{name: o.hostname, ip: o.nodeIP, kubeletPort: settings.Port}}
	if err := node.options.complete(o.rootDir); err != nil {
		return err
	}
	if node.serving, node.clientCA, err = o.servingFiles(settings); err != nil {
		return err
	}
	taints, err := parseTaints(o.taints)
	if err != nil {
		return err
	}
	config := kubelet.Config{
		Client: client, NodeName: node.options.name, NodeIPs: []string{node.options.ip},
		RuntimeEndpoint: o.runtimeEndpoint, RootDir: o.rootDir, Settings: *settings,
		Labels: o.labels, Taints: taints, Logger: logger.With("component", "kubelet"),
	}
	if *settings.EnableServer {
		config.Server = node.kubeletServer(client)
	}
	agent, err := kubelet.New(config)
	if err != nil {
		return err
	}
	return agent.Run(ctx)
}

// override lets flags that were given win over the configuration file.
func (o *kubeletOptions) override(flags *pflag.FlagSet, settings *kubeletconfig.KubeletConfiguration) error {
	if flags.Changed("healthz-port") {
		settings.HealthzPort = &o.healthPort
	}
	if flags.Changed("healthz-bind-address") {
		settings.HealthzBindAddress = o.healthAddress
	}
	evictionHard, err := o.eviction.thresholds()
	if evictionHard != nil {
		settings.EvictionHard = evictionHard
	}
	return err
}

// servingFiles are what the node's own API is served with, from flags or else
// from the configuration.
func (o *kubeletOptions) servingFiles(settings *kubeletconfig.KubeletConfiguration) (func(*tls.ClientHelloInfo) (*tls.Certificate, error), *x509.CertPool, error) {
	if !*settings.EnableServer {
		return nil, nil, nil
	}
	certFile, keyFile, caFile := o.servingCert, o.servingKey, o.clientCA
	for flag, setting := range map[*string]string{
		&certFile: settings.TLSCertFile, &keyFile: settings.TLSPrivateKeyFile, &caFile: settings.Authentication.X509.ClientCAFile,
	} {
		if *flag == "" {
			*flag = setting
		}
	}
	if certFile == "" || keyFile == "" {
		return nil, nil, errors.New("--tls-cert-file and --tls-private-key-file are needed, or enableServer: false in the configuration")
	}
	pair, err := pki.LoadKeyPair(certFile, keyFile)
	if err != nil {
		return nil, nil, err
	}
	if caFile == "" {
		return pair.GetCertificate, nil, nil
	}
	pool, err := pki.LoadPool(caFile)
	return pair.GetCertificate, pool, err
}
