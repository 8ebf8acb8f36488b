package main

import (
	"context"
	"crypto"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/yare-io/yare/apiserver/authn/serviceaccount"
	"github.com/yare-io/yare/apiserver/health"
	"github.com/yare-io/yare/cmd/yare/addresses"
	"github.com/yare-io/yare/cmd/yare/part"
	"github.com/yare-io/yare/cmd/yare/pki"
	"github.com/yare-io/yare/controllers"
	"github.com/yare-io/yare/controllers/etcdmembers"
)

const ( // the signers of Kubernetes that one authority may stand behind
	signerClient        = "kubernetes.io/kube-apiserver-client"
	signerClientKubelet = "kubernetes.io/kube-apiserver-client-kubelet"
	signerServing       = "kubernetes.io/kubelet-serving"
	signerLegacy        = "kubernetes.io/legacy-unknown"
)

// controllerOptions are what the flags of kube-controller-manager set.
type controllerOptions struct {
	kubeconfig                 string
	controllers                []string
	election                   leaderElectionOptions
	port                       securePortOptions
	serviceAccounts            bool
	allocateNodeCIDRs          bool
	clusterCIDR, serviceCIDR   []string
	maskIPv4, maskIPv6         int
	signingCert, signingKey    string
	tokenKey                   string
	unusedTokens               time.Duration
	signingDuration            time.Duration
	rootCA                     string
	monitorPeriod, gracePeriod time.Duration
	terminatedPodThreshold     int
	approveServing             bool
	// etcdMembers is set where the servers have an etcd of several members.
	etcdMembers etcdmembers.Members
}

func (o *controllerOptions) add(flags *pflag.FlagSet) {
	flags.StringSliceVar(&o.controllers, "controllers", []string{"*"}, "controllers to run: a name, '-name' for all but it, '*' for those on by default")
	flags.BoolVar(&o.allocateNodeCIDRs, "allocate-node-cidrs", false, "give each node a range of pod addresses")
	flags.StringSliceVar(&o.clusterCIDR, "cluster-cidr", nil, "range of pod addresses, one for each IP family")
	flags.StringSliceVar(&o.serviceCIDR, "service-cluster-ip-range", nil, "range of service addresses, one for each IP family")
	flags.IntVar(&o.maskIPv4, "node-cidr-mask-size-ipv4", 24, "prefix length of a node's IPv4 pod range")
	flags.IntVar(&o.maskIPv6, "node-cidr-mask-size-ipv6", 64, "prefix length of a node's IPv6 pod range")
	flags.DurationVar(&o.monitorPeriod, "node-monitor-period", 5*time.Second, "how often nodes are looked at")
	flags.DurationVar(&o.gracePeriod, "node-monitor-grace-period", 50*time.Second, "how long a node may be silent before it counts as lost")
	flags.DurationVar(&o.unusedTokens, "legacy-service-account-token-clean-up-period", 365*24*time.Hour, "how long a service-account token that was made unasked may be unused before it is marked invalid, and then before it is deleted")
	flags.IntVar(&o.terminatedPodThreshold, "terminated-pod-gc-threshold", 12500, "how many ended pods are kept")
}

func (o *controllerOptions) addStandalone(flags *pflag.FlagSet) {
	o.add(flags)
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "file that says how to reach the API server and as whom")
	flags.BoolVar(&o.serviceAccounts, "use-service-account-credentials", false, "let each controller act under a service account of its own in kube-system")
	o.election.add(flags, "kube-controller-manager")
	o.port.add(flags, 10257)
	flags.StringVar(&o.signingCert, "cluster-signing-cert-file", "", "certificate of the authority that signs certificate requests")
	flags.StringVar(&o.signingKey, "cluster-signing-key-file", "", "its private key")
	flags.DurationVar(&o.signingDuration, "cluster-signing-duration", 365*24*time.Hour, "longest life of a signed certificate")
	flags.StringVar(&o.tokenKey, "service-account-private-key-file", "", "key that signs the service-account tokens kept in secrets")
	flags.StringVar(&o.rootCA, "root-ca-file", "", "authority published to pods as kube-root-ca.crt")
	flags.BoolVar(&o.approveServing, "approve-kubelet-serving", false, "approve kubelets' serving certificates for their node's own addresses (Yare only)")
}

func newControllerManagerCommand() *cobra.Command {
	options, logs := &controllerOptions{}, &logFlags{}
	command := &cobra.Command{
		Use: "kube-controller-manager", GroupID: "component", Args: cobra.NoArgs,
		Short: "Run the controllers against an API server",
		Long:  "Runs the controllers that keep the cluster as its objects say it should be.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			logger, err := logs.logger()
			if err != nil {
				return err
			}
			return options.run(cmd.Context(), logger)
		},
	}
	options.addStandalone(command.Flags())
	logs.add(command.Flags())
	return command
}

func (o *controllerOptions) run(ctx context.Context, logger *slog.Logger) error {
	config, err := kubeconfigFlag(o.kubeconfig)
	if err != nil {
		return err
	}
	configFor := func(string) (*rest.Config, error) { return config, nil }
	if o.serviceAccounts {
		configFor = controllers.ServiceAccounts(config)
	}
	metrics := newMetrics()
	manager, err := o.build(configFor, metrics, logger)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	if err := o.port.serve(ctx, group, securePort{
		name: "kube-controller-manager", kubeconfig: o.kubeconfig, metrics: metrics, logger: logger,
		checks: []health.Check{leaseCheck(manager.Check)}, configz: o.configz(),
	}); err != nil {
		return err
	}
	group.Go(part.Named(ctx, "controllers", manager.Run))
	return group.Wait()
}

// configz is the configuration in effect, with the names of Kubernetes'
// KubeControllerManagerConfiguration.
func (o *controllerOptions) configz() map[string]any {
	return map[string]any{"kubecontrollermanager.config.k8s.io": map[string]any{
		"Generic": map[string]any{
			"Controllers": o.controllers,
			"LeaderElection": map[string]any{
				"LeaderElect": o.election.elect, "LeaseDuration": o.election.leaseDuration.String(), "RenewDeadline": o.election.renewDeadline.String(),
				"RetryPeriod": o.election.retry.String(), "ResourceLock": "leases", "ResourceName": o.election.name, "ResourceNamespace": o.election.namespace,
			},
		},
		"KubeCloudShared": map[string]any{
			"AllocateNodeCIDRs": o.allocateNodeCIDRs, "ClusterCIDR": strings.Join(o.clusterCIDR, ","),
			"UseServiceAccountCredentials": o.serviceAccounts, "NodeMonitorPeriod": o.monitorPeriod.String(),
		},
		"CSRSigningController":    map[string]any{"ClusterSigningCertFile": o.signingCert, "ClusterSigningDuration": o.signingDuration.String()},
		"NodeIPAMController":      map[string]any{"ServiceCIDR": strings.Join(o.serviceCIDR, ","), "NodeCIDRMaskSizeIPv4": o.maskIPv4, "NodeCIDRMaskSizeIPv6": o.maskIPv6},
		"NodeLifecycleController": map[string]any{"NodeMonitorGracePeriod": o.gracePeriod.String()},
		"PodGCController":         map[string]any{"TerminatedPodGCThreshold": o.terminatedPodThreshold},
		"SAController":            map[string]any{"RootCAFile": o.rootCA},
	}}
}

// build reads the files that the flags name.
func (o *controllerOptions) build(configFor func(string) (*rest.Config, error), metrics prometheus.Registerer, logger *slog.Logger) (*controllers.Manager, error) {
	var signing controllers.Signing
	if o.signingCert != "" || o.signingKey != "" {
		pair, err := pki.LoadKeyPair(o.signingCert, o.signingKey)
		if err != nil {
			return nil, fmt.Errorf("signing authority: %w", err)
		}
		certificate := pair.Certificate()
		signing = signingBy(controllers.StaticCA(certificate.Leaf, certificate.PrivateKey.(crypto.Signer)), o.signingDuration)
	}
	var rootCA []byte
	if o.rootCA != "" {
		var err error
		if rootCA, err = os.ReadFile(o.rootCA); err != nil {
			return nil, err
		}
	}
	tokens, err := o.tokens()
	if err != nil {
		return nil, err
	}
	return o.manager(configFor, nil, authorities{signing, rootCA, tokens}, metrics, logger)
}

// authorities are what controllers sign with, and what they publish.
type authorities struct {
	signing controllers.Signing
	rootCA  []byte
	// tokens signs those of service accounts that are kept in secrets.
	tokens *serviceaccount.Issuer
}

// tokens reads the key that signs tokens; without one there are none.
func (o *controllerOptions) tokens() (*serviceaccount.Issuer, error) {
	if o.tokenKey == "" {
		return nil, nil
	}
	data, err := os.ReadFile(o.tokenKey)
	if err != nil {
		return nil, err
	}
	key, err := serviceaccount.ParsePrivateKey(data)
	if err != nil {
		return nil, fmt.Errorf("--service-account-private-key-file %s: %w", o.tokenKey, err)
	}
	return serviceaccount.NewIssuer(serviceaccount.LegacyIssuer, key, nil)
}

// manager is what both the command alone and the whole server run.
func (o *controllerOptions) manager(configFor func(string) (*rest.Config, error), shared informers.SharedInformerFactory, with authorities, metrics prometheus.Registerer, logger *slog.Logger) (*controllers.Manager, error) {
	config := controllers.Config{
		Clients:                controllers.NewClients(configFor),
		Informers:              shared,
		Controllers:            o.controllers,
		Log:                    logger.With("component", "controllers"),
		Metrics:                metrics,
		RootCA:                 with.rootCA,
		Signing:                with.signing,
		UnusedTokenPatience:    o.unusedTokens,
		ApproveServing:         o.approveServing,
		EtcdMembers:            o.etcdMembers,
		NodeMaskIPv4:           o.maskIPv4,
		NodeMaskIPv6:           o.maskIPv6,
		Node:                   controllers.NodeLifecycle{MonitorPeriod: o.monitorPeriod, GracePeriod: o.gracePeriod},
		TerminatedPodThreshold: o.terminatedPodThreshold,
	}
	var err error
	if config.ServiceCIDRs, err = addresses.ParsePrefixes("--service-cluster-ip-range", o.serviceCIDR); err != nil {
		return nil, err
	}
	if o.allocateNodeCIDRs {
		if config.ClusterCIDRs, err = addresses.ParsePrefixes("--cluster-cidr", o.clusterCIDR); err != nil {
			return nil, err
		}
	}
	if with.tokens != nil {
		config.AccountTokens = with.tokens
	}
	config.LeaderElection = o.election.controllers()
	return controllers.New(config)
}

func signingBy(ca controllers.CA, duration time.Duration) controllers.Signing {
	return controllers.Signing{
		Signers:  map[string]controllers.CA{signerClient: ca, signerClientKubelet: ca, signerServing: ca, signerLegacy: ca},
		Duration: duration,
	}
}

// kubeconfigFlag reads the file a component's --kubeconfig names; without one
// it is in a pod and uses its service account.
func kubeconfigFlag(file string) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		return nil, fmt.Errorf("--kubeconfig: %w", err)
	}
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	config.QPS = -1 // the server's flow control decides
	return config, nil
}
