package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
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
	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/certificate"
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
	identity, err := joinCluster(ctx, options)
	if err != nil {
		return err
	}
	defer identity.stop()
	progress.done("Joined %s as node %s", options.server, options.node.name)
	joined := make(chan struct{})
	close(joined)
	return runNode(ctx, nodeConfig{
		options: &options.node, logger: logger, progress: progress,
		client: identity.config(), ready: joined, clientCA: identity.roots, serving: identity.serving,
		clusterDNS: options.clusterDNS, clusterDomain: options.clusterDomain, clusterCIDR: options.clusterCIDR,
	})
}

// nodeIdentity is what a joined node proves itself with: certificates that it
// asked the cluster for and that are renewed in time.
type nodeIdentity struct {
	options *agentOptions
	roots   *x509.CertPool
	client  certificate.Manager
	server  certificate.Manager
}

func joinCluster(ctx context.Context, options *agentOptions) (*nodeIdentity, error) {
	id := &nodeIdentity{options: options}
	var err error
	if id.roots, err = id.authority(ctx); err != nil {
		return nil, err
	}
	subject := pkix.Name{CommonName: "system:node:" + options.node.name, Organization: []string{"system:nodes"}}
	id.client, err = id.manage("kubelet-client", certificatesv1.KubeAPIServerClientKubeletSignerName,
		&x509.CertificateRequest{Subject: subject}, certificatesv1.UsageClientAuth, id.joining)
	if err != nil {
		return nil, err
	}
	id.server, err = id.manage("kubelet-server", certificatesv1.KubeletServingSignerName, &x509.CertificateRequest{
		Subject: subject, DNSNames: []string{options.node.name}, IPAddresses: []net.IP{net.ParseIP(options.node.ip)},
	}, certificatesv1.UsageServerAuth, id.joined)
	if err != nil {
		return nil, err
	}
	id.client.Start()
	if err := id.await(ctx); err != nil {
		id.client.Stop()
		return nil, fmt.Errorf("join %s: %w", options.server, err)
	}
	id.server.Start()
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
	return certPool(file)
}

// manage keeps one certificate in the data dir and, once started, renewed.
func (id *nodeIdentity) manage(name, signer string, template *x509.CertificateRequest, usage certificatesv1.KeyUsage, clients certificate.ClientsetFunc) (certificate.Manager, error) {
	dir := filepath.Join(id.options.dataDir, "pki")
	store, err := certificate.NewFileStore(name, dir, dir, "", "")
	if err != nil {
		return nil, err
	}
	manager, err := certificate.NewManager(&certificate.Config{
		Name:             name,
		ClientsetFn:      clients,
		Template:         template,
		SignerName:       signer,
		Usages:           []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, usage},
		CertificateStore: store,
	})
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", name, err)
	}
	return manager, nil
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
		Transport: id.transport(func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if current := id.client.Current(); current != nil {
				return current, nil
			}
			return &tls.Certificate{}, nil
		}),
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

// serving has the form that tls.Config wants of a server.
func (id *nodeIdentity) serving(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if current := id.server.Current(); current != nil {
		return current, nil
	}
	return nil, errors.New("this node has no serving certificate yet")
}

// await waits for the first client certificate.
func (id *nodeIdentity) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootstrapTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for id.client.Current() == nil {
		select {
		case <-ctx.Done():
			return errors.New("no certificate was issued: is the token still good, and does the server approve certificate requests?")
		case <-tick.C:
		}
	}
	return nil
}

func (id *nodeIdentity) stop() {
	id.client.Stop()
	id.server.Stop()
}
