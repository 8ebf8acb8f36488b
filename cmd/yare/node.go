package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	kubeletconfig "k8s.io/kubelet/config/v1beta1"

	"github.com/yare-io/yare/cmd/yare/addresses"
	"github.com/yare-io/yare/cmd/yare/containerd"
	"github.com/yare-io/yare/cmd/yare/part"
	"github.com/yare-io/yare/kubelet"
	"github.com/yare-io/yare/kubelet/hollow"
	"github.com/yare-io/yare/kubelet/podnetwork"
	kubeletserver "github.com/yare-io/yare/kubelet/server"
	"github.com/yare-io/yare/kubelet/server/auth"
	"github.com/yare-io/yare/kubeproxy"
)

// pauseImage holds a pod's namespaces open; the build makes it.
const pauseImage = "yare.local/pause:v1"

// builtinImages are in no registry, so they must never be removed to make room.
var builtinImages = []string{pauseImage, "yare.local/coredns:v1", "yare.local/demo:v1", "yare.local/demo:v2"}

// nodeConfig is all that a node needs, be it in the server's process or alone.
type nodeConfig struct {
	options  *nodeOptions
	logger   *slog.Logger
	progress *progress
	// client reaches the API server as this node, once ready is closed.
	client *rest.Config
	ready  <-chan struct{}
	// informers, if set, are those of the process.
	informers informers.SharedInformerFactory
	// clientCA vouches for those who call the kubelet, serving is what it
	// proves itself with.
	clientCA *x509.CertPool
	serving  func(*tls.ClientHelloInfo) (*tls.Certificate, error)

	clusterDNS, clusterDomain string
	clusterCIDR               []string
	// whenReady, if set, is called once when the node is first Ready.
	whenReady func()
}

// runNode runs the parts of a node until ctx ends or one of them fails.
func runNode(ctx context.Context, c nodeConfig) (err error) {
	group, ctx := errgroup.WithContext(ctx)
	endpoint, stop, err := c.startRuntime(ctx, group)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	select {
	case <-ctx.Done():
		return group.Wait()
	case <-c.ready:
	}
	client, err := kubernetes.NewForConfig(c.client)
	if err != nil {
		return err
	}
	if err := c.startParts(ctx, group, client, endpoint); err != nil {
		return err
	}
	return group.Wait()
}

// startParts runs what a node consists of. A hollow one has no network.
func (c *nodeConfig) startParts(ctx context.Context, group *errgroup.Group, client kubernetes.Interface, endpoint string) error {
	node, err := c.kubelet(client, endpoint)
	if err != nil {
		return err
	}
	group.Go(part.Named(ctx, "kubelet", node.Run))
	group.Go(func() error { return c.reportReady(ctx, client) })
	if c.options.hollow {
		return nil
	}
	proxy, err := c.proxy(client)
	if err != nil {
		return err
	}
	network, err := c.podNetwork(client)
	if err != nil {
		return err
	}
	group.Go(part.Named(ctx, "pod network", network.Run))
	group.Go(part.Named(ctx, "kube-proxy", proxy.Run))
	return nil
}

// startRuntime brings the node's container runtime up, unless it has one.
func (c *nodeConfig) startRuntime(ctx context.Context, group *errgroup.Group) (endpoint string, stop func() error, err error) {
	if c.options.runtimeEndpoint != "" {
		return c.options.runtimeEndpoint, func() error { return nil }, nil
	}
	if c.options.hollow {
		return c.startHollow(ctx, group)
	}
	process, err := containerd.Start(ctx, c.options.containerd(c.logger))
	if err != nil {
		return "", nil, err
	}
	begin := time.Now()
	if err := process.ImportAll(ctx, c.options.imageDirs()...); err != nil {
		return "", nil, errors.Join(err, process.Stop())
	}
	c.progress.done("Container runtime ready (images imported in %.1fs)", time.Since(begin).Seconds())
	group.Go(part.Named(ctx, "container runtime", process.Wait))
	return process.Endpoint(), process.Stop, nil
}

// startHollow runs a container runtime that only pretends.
func (c *nodeConfig) startHollow(ctx context.Context, group *errgroup.Group) (endpoint string, stop func() error, err error) {
	socket := filepath.Join(runDir(c.options.dataDir), "hollow.sock")
	if err := os.RemoveAll(socket); err != nil {
		return "", nil, err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return "", nil, err
	}
	clusterCIDRs, err := addresses.ParsePrefixes("--cluster-cidr", c.clusterCIDR)
	if err != nil {
		return "", nil, errors.Join(err, listener.Close())
	}
	runtime := hollow.New(hollow.Config{PodCIDR: clusterCIDRs[0], Images: builtinImages, Logs: true})
	group.Go(part.Named(ctx, "hollow runtime", func(ctx context.Context) error { return runtime.Serve(ctx, listener) }))
	return "unix://" + socket, func() error { return nil }, nil
}

func (o *nodeOptions) containerd(logger *slog.Logger) containerd.Config {
	return containerd.Config{
		Root:       filepath.Join(o.dataDir, "containerd"),
		State:      runDir(o.dataDir),
		CNIConfDir: o.cniConfDir(), CNIBinDir: "/usr/lib/cni",
		SandboxImage: pauseImage, Logger: logger,
	}
}

func (o *nodeOptions) cniConfDir() string { return filepath.Join(o.dataDir, "cni") }

func (c *nodeConfig) kubelet(client kubernetes.Interface, endpoint string) (*kubelet.Kubelet, error) {
	taints, err := parseTaints(c.options.taints)
	if err != nil {
		return nil, err
	}
	evictionHard, err := c.options.eviction.thresholds()
	if err != nil {
		return nil, err
	}
	settings := kubeletconfig.KubeletConfiguration{
		EvictionHard: evictionHard,
		ClusterDNS:   []string{c.clusterDNS}, ClusterDomain: c.clusterDomain,
		CgroupRoot: c.options.cgroupRoot, PodLogsDir: c.options.podLogDir, Port: c.options.kubeletPort, HealthzPort: &c.options.healthPort,
		StaticPodPath: filepath.Join(c.options.dataDir, "static-pods"),
	}
	return kubelet.New(kubelet.Config{
		Client:           client,
		NodeName:         c.options.name,
		NodeIPs:          []string{c.options.ip},
		RuntimeEndpoint:  endpoint,
		RootDir:          filepath.Join(c.options.dataDir, "kubelet"),
		ContainerLogsDir: c.options.containerLinks(),
		Settings:         settings,
		Labels:           c.options.labels,
		KeepImages:       builtinImages,
		WithoutHost:      c.options.hollow,
		Taints:           taints,
		Server:           c.kubeletServer(client),
		Logger:           c.logger.With("component", "kubelet"),
	})
}

// kubeletServer is the node's own HTTPS API, open to whom the API server lets
// in.
func (c *nodeConfig) kubeletServer(client kubernetes.Interface) *kubeletserver.Config {
	return &kubeletserver.Config{
		TLS: &tls.Config{MinVersion: tls.VersionTLS12, ClientAuth: tls.RequestClientCert, GetCertificate: c.serving},
		Authenticator: auth.NewAuthenticator(auth.Authenticators{
			ClientCAs: func() *x509.CertPool { return c.clientCA },
			Tokens:    client.AuthenticationV1().TokenReviews(),
		}),
		Authorizer: auth.NewAuthorizer(auth.Authorizers{Reviews: client.AuthorizationV1().SubjectAccessReviews()}),
	}
}

// proxy makes services work on this node.
func (c *nodeConfig) proxy(client kubernetes.Interface) (*kubeproxy.Proxy, error) {
	clusterCIDRs, err := addresses.ParsePrefixes("--cluster-cidr", c.clusterCIDR)
	if err != nil {
		return nil, err
	}
	return kubeproxy.New(kubeproxy.Config{
		Client: client, Informers: c.informers, NodeName: c.options.name, ClusterCIDRs: clusterCIDRs,
		HealthAddr: c.options.proxyHealth, MetricsAddr: c.options.proxyMetrics, Logger: c.logger.With("component", "kube-proxy"),
	})
}

// podNetwork connects pods with each other, on this node and across nodes.
func (c *nodeConfig) podNetwork(client kubernetes.Interface) (*podnetwork.Agent, error) {
	clusterCIDRs, err := addresses.ParsePrefixes("--cluster-cidr", c.clusterCIDR)
	if err != nil {
		return nil, err
	}
	config := c.options.podNetwork()
	config.Client, config.Informers = client, c.informers
	config.NodeName, config.ClusterCIDRs = c.options.name, clusterCIDRs
	config.Logger = c.logger.With("component", "pod-network")
	return podnetwork.New(config)
}

// podNetwork is where the network's files are, which is all that removing it
// takes.
func (o *nodeOptions) podNetwork() podnetwork.Config {
	return podnetwork.Config{CNIConfDir: o.cniConfDir(), IPAMDir: filepath.Join(o.dataDir, "cni-addresses")}
}

// reportReady tells the person at the terminal when the node is Ready.
func (c *nodeConfig) reportReady(ctx context.Context, client kubernetes.Interface) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		node, err := client.CoreV1().Nodes().Get(ctx, c.options.name, metav1.GetOptions{})
		if err == nil && isReady(node) {
			c.progress.done("Node %s ready", c.options.name)
			for _, pressure := range pressures(node) {
				c.progress.done("Node %s takes no new pods: it has %s. Free what it is short of.", c.options.name, pressure.Type)
			}
			if c.whenReady != nil {
				c.whenReady()
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func isReady(node *corev1.Node) bool {
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// pressures are the conditions for which a node is given no more pods.
func pressures(node *corev1.Node) []corev1.NodeCondition {
	return slices.DeleteFunc(slices.Clone(node.Status.Conditions), func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady || c.Type == corev1.NodeNetworkUnavailable || c.Status != corev1.ConditionTrue
	})
}

// parseTaints reads taints as key=value:effect or key:effect.
func parseTaints(texts []string) ([]corev1.Taint, error) {
	var taints []corev1.Taint
	for _, text := range texts {
		rest, effect, ok := strings.Cut(text, ":")
		key, value, _ := strings.Cut(rest, "=")
		switch corev1.TaintEffect(effect) {
		case corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute:
		default:
			ok = false
		}
		if !ok || key == "" {
			return nil, fmt.Errorf("--node-taints: %q is not of the form key=value:effect, with effect NoSchedule, PreferNoSchedule or NoExecute", text)
		}
		taints = append(taints, corev1.Taint{Key: key, Value: value, Effect: corev1.TaintEffect(effect)})
	}
	return taints, nil
}
