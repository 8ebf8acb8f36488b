package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/yare-io/yare/cmd/yare/pki"
	"github.com/yare-io/yare/kubelet/certificate"
)

const bootstrapTimeout = 2 * time.Minute

// agentOptions are what the flags of `yare agent` set.
type agentOptions struct {
	dataDir       string
	server        string
	token         string
	caHash        string
	clusterDNS    string
	clusterDomain string
	clusterCIDR   []string

	node nodeOptions
}

func (o *agentOptions) add(flags *pflag.FlagSet) {
	flags.StringVar(&o.dataDir, "data-dir", defaultDataDir, "where everything is kept")
	flags.StringVar(&o.server, "server", "", "address of the API server, as https://10.0.0.1:6443")
	flags.StringVar(&o.token, "token", "", "token to join with, from the file join in the server's data dir")
	flags.StringVar(&o.caHash, "ca-cert-hash", "", "hash of the server's authority, sha256:..., from the same file")
	flags.StringVar(&o.clusterDNS, "cluster-dns", "10.96.0.10", "address of the cluster's DNS")
	flags.StringVar(&o.clusterDomain, "cluster-domain", "cluster.local", "DNS domain of the cluster")
	flags.StringSliceVar(&o.clusterCIDR, "cluster-cidr", []string{"10.244.0.0/16"}, "range of pod addresses, one for each IP family")
	o.node.add(flags)
}

func (o *agentOptions) complete() error {
	if o.server == "" {
		return errors.New("--server is needed: the address of the API server, as https://10.0.0.1:6443")
	}
	dataDir, err := filepath.Abs(o.dataDir)
	if err != nil {
		return err
	}
	o.dataDir = dataDir
	return o.node.complete(dataDir)
}

func newAgentCommand() *cobra.Command {
	options, logs := &agentOptions{}, &logFlags{}
	command := &cobra.Command{
		Use: "agent", GroupID: "cluster", Args: cobra.NoArgs,
		Short: "Run a node that joins a server",
		Long: `Runs a node on this machine and joins it to a cluster. The first time, the token
and the hash of the server's authority are needed; the node then asks for
certificates of its own, and keeps them renewed.`,
		Example: `  yare agent --server https://10.0.0.1:6443 --token abcdef.0123456789abcdef --ca-cert-hash sha256:...`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			logger, err := logs.logger()
			if err != nil {
				return err
			}
			if err := options.complete(); err != nil {
				return err
			}
			return runAgent(cmd.Context(), options, logger)
		},
	}
	options.add(command.Flags())
	logs.add(command.Flags())
	return command
}

func runAgent(ctx context.Context, options *agentOptions, logger *slog.Logger) (err error) {
	for _, dir := range []string{options.dataDir, runDir(options.dataDir)} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return err
		}
	}
	unlock, err := lockDataDir(options.dataDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()

	progress := newProgress(os.Stdout)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	identity, err := joinCluster(ctx, options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, identity.managers.Wait()) }()
	progress.done("Joined %s as node %s", options.server, options.node.name)
	joined := make(chan struct{})
	close(joined)
	return runNode(ctx, nodeConfig{
		options: &options.node, logger: logger, progress: progress,
		client: identity.config(), ready: joined, clientCA: identity.roots, serving: identity.serving.GetCertificate,
		clusterDNS: options.clusterDNS, clusterDomain: options.clusterDomain, clusterCIDR: options.clusterCIDR,
	})
}

// nodeIdentity is what a joined node proves itself with: certificates that it
// asks the cluster for and that are renewed in time.
type nodeIdentity struct {
	options         *agentOptions
	roots           *x509.CertPool
	client, serving *certificate.Manager
	managers        *errgroup.Group
}

// joinCluster returns once the node has a client certificate; the managers of
// its certificates run until ctx ends.
func joinCluster(ctx context.Context, options *agentOptions) (*nodeIdentity, error) {
	id := &nodeIdentity{options: options, managers: &errgroup.Group{}}
	var err error
	if id.roots, err = id.authority(ctx); err != nil {
		return nil, err
	}
	config := certificate.Config{Dir: filepath.Join(options.dataDir, "pki"), NodeName: options.node.name, Client: id.joining}
	if id.client, err = certificate.NewClient(config); err != nil {
		return nil, err
	}
	config.Client = id.joined
	config.Names, config.IPs = []string{options.node.name}, []net.IP{net.ParseIP(options.node.ip)}
	if id.serving, err = certificate.NewServing(config); err != nil {
		return nil, err
	}
	id.managers.Go(func() error { id.client.Run(ctx); return nil })
	waiting, cancel := context.WithTimeout(ctx, bootstrapTimeout)
	defer cancel()
	if err := id.client.Await(waiting); err != nil {
		return nil, fmt.Errorf("join %s: %w: is the token still good, and does the server approve certificate requests?", options.server, err)
	}
	id.managers.Go(func() error { id.serving.Run(ctx); return nil })
	return id, nil
}

// authority is the one that the cluster's servers are vouched for by, found by
// its hash the first time.
func (id *nodeIdentity) authority(ctx context.Context) (*x509.CertPool, error) {
	file := filepath.Join(id.options.dataDir, "pki", "ca.crt")
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		data, err := fetchAuthority(ctx, id.options.server, id.options.caHash)
		if err != nil {
			return nil, err
		}
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return nil, err
		}
		if err := os.WriteFile(file, data, 0o644); err != nil {
			return nil, err
		}
	}
	return pki.LoadPool(file)
}

// joined asks as the node.
func (id *nodeIdentity) joined(*tls.Certificate) (kubernetes.Interface, error) {
	return kubernetes.NewForConfig(id.config())
}

// joining asks as the node once it has a certificate, before with the token.
func (id *nodeIdentity) joining(current *tls.Certificate) (kubernetes.Interface, error) {
	if current != nil {
		return id.joined(current)
	}
	if id.options.token == "" {
		return nil, errors.New("this node has not joined yet: --token is needed")
	}
	config := id.config()
	config.Transport = id.transport(nil)
	config.BearerToken = id.options.token
	return kubernetes.NewForConfig(config)
}

func (id *nodeIdentity) config() *rest.Config {
	return &rest.Config{
		Host:      id.options.server,
		UserAgent: "yare-agent",
		QPS:       -1, // the server's flow control decides
		Transport: id.transport(id.client.GetClientCertificate),
		ContentConfig: rest.ContentConfig{
			ContentType:        "application/vnd.kubernetes.protobuf",
			AcceptContentTypes: "application/vnd.kubernetes.protobuf,application/json",
		},
	}
}

func (id *nodeIdentity) transport(certificate func(*tls.CertificateRequestInfo) (*tls.Certificate, error)) http.RoundTripper {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second,
		ForceAttemptHTTP2:   true,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second},
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: id.roots, GetClientCertificate: certificate},
	}
}
