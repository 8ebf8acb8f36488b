package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/rest"
	bootstraputil "k8s.io/cluster-bootstrap/token/util"

	"github.com/yare-io/yare/apiserver/authn/serviceaccount"
	"github.com/yare-io/yare/apiserver/bootstrap"
	"github.com/yare-io/yare/cmd/yare/clusterdns"
	"github.com/yare-io/yare/cmd/yare/controlplane"
	"github.com/yare-io/yare/cmd/yare/kubeapiserver"
	"github.com/yare-io/yare/cmd/yare/part"
	"github.com/yare-io/yare/cmd/yare/pki"
	"github.com/yare-io/yare/controllers"
	"github.com/yare-io/yare/scheduler"
)

func newServerCommand() *cobra.Command {
	options, logs := &serverOptions{}, &logFlags{}
	command := &cobra.Command{
		Use: "server", GroupID: "cluster", Args: cobra.NoArgs,
		Short: "Run a control plane and a node on this machine",
		Long: `Runs a whole cluster in this process: API server on an embedded etcd, scheduler,
controllers and, unless --disable-agent is given, a node with its own containerd.

The cluster's keys are made at the first start. The administrator's kubeconfig is
written into the data dir. Ctrl-C stops the process; containers go on, and are
taken up again at the next start. "yare reset" removes them.`,
		Example: `  yare server
  yare server --data-dir /srv/yare --disable-agent
  yare server --etcd-servers https://10.0.0.5:2379 --etcd-cafile ca.crt --etcd-certfile c.crt --etcd-keyfile c.key
  yare server --cluster-init
  yare server --server https://10.0.0.1:6443 --token "$(ssh 10.0.0.1 cat /var/lib/yare/join-server)"`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			logger, err := logs.logger()
			if err != nil {
				return err
			}
			if err := options.complete(); err != nil {
				return err
			}
			s, err := newServer(cmd.Context(), options, logger)
			if s == nil || err != nil {
				return err
			}
			return s.run(cmd.Context())
		},
	}
	options.add(command.Flags())
	logs.add(command.Flags())
	return command
}

// server is a whole cluster in one process.
type server struct {
	options  *serverOptions
	logger   *slog.Logger
	progress *progress
	unlock   func() error
	keys     *pki.Cluster
	kubelet  *pki.KeyPair // what the node on this machine serves with
	api      *kubeapiserver.Server
	// peers is nil for a server that is alone.
	peers *peers
	// etcdEnded has why the embedded etcd ended by itself.
	etcdEnded chan error
}

// newServer opens what the server needs. It is nil when all there was to do is
// done.
func newServer(ctx context.Context, options *serverOptions, logger *slog.Logger) (_ *server, err error) {
	s := &server{options: options, logger: logger, progress: newProgress(os.Stdout), etcdEnded: make(chan error, 1)}
	for _, dir := range []string{options.dataDir, runDir(options.dataDir)} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return nil, err
		}
	}
	if s.unlock, err = lockDataDir(options.dataDir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.unlock())
		}
	}()
	if options.servers.reset {
		if err := resetCluster(ctx, options, logger); err != nil {
			return nil, err
		}
		s.progress.done("The embedded etcd is a cluster of one. Start this server without --cluster-reset; on each other one remove %s and join again", options.api.Embedded.Dir)
		return nil, s.unlock()
	}
	var joined *controlplane.Shared
	if options.servers.server != "" {
		if joined, err = options.join(ctx); err != nil {
			return nil, err
		}
	}
	hosts, err := options.hosts()
	if err != nil {
		return nil, err
	}
	if s.keys, err = pki.LoadCluster(filepath.Join(options.dataDir, "pki"), hosts); err != nil {
		return nil, err
	}
	if s.kubelet, err = s.keys.Issue(pki.Profile{
		Name: "kubelet", User: "system:node:" + options.node.name, Groups: []string{"system:nodes"},
		Hosts: []string{options.node.name, options.node.ip},
	}); err != nil {
		return nil, err
	}
	if s.peers, err = options.share(s.keys, joined); err != nil {
		return nil, err
	}
	options.api.Embedded.Ended = func(err error) { s.etcdEnded <- err }
	trust, err := kubeapiserver.ClusterTrust(s.keys, options.api.Issuer())
	if err != nil {
		return nil, err
	}
	if err := pki.WriteKubeconfig(options.kubeconfig, s.url(), "admin", s.keys.CA, s.keys.Admin); err != nil {
		return nil, err
	}
	s.api, err = kubeapiserver.New(ctx, &options.api, trust, logger)
	return s, err
}

func (s *server) url() string {
	address, err := s.options.api.Advertised()
	if err != nil {
		return ""
	}
	return "https://" + netip.AddrPortFrom(address, s.options.api.SecurePort).String()
}

// run runs all parts until ctx ends or one of them fails.
func (s *server) run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, s.unlock()) }()
	group, ctx := errgroup.WithContext(ctx)
	// The API server outlives its clients, so that they can say goodbye.
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	clients, clientsCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.api.Run(serving) })
	group.Go(part.Named(ctx, "certificates", s.keys.Run))
	group.Go(part.Named(ctx, "etcd snapshots", func(ctx context.Context) error { return s.options.snapshots.run(ctx, s.options.dataDir, s.logger) }))
	group.Go(part.Named(ctx, "etcd", func(ctx context.Context) error {
		select {
		case err := <-s.etcdEnded:
			return err
		case <-ctx.Done():
			return nil
		}
	}))
	group.Go(func() error {
		defer stopServing()
		return s.runClients(clientsCtx, clients)
	})
	return group.Wait()
}

// runClients runs what uses the API, once it is ready.
func (s *server) runClients(ctx context.Context, group *errgroup.Group) error {
	if !s.options.disableAgent {
		group.Go(part.Named(ctx, "node", s.runNode))
	}
	group.Go(part.Named(ctx, "start", func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return nil
		case <-s.api.Ready():
		}
		s.progress.done("API server ready at %s", s.url())
		return s.afterStart(ctx, group)
	}))
	return group.Wait()
}

func (s *server) afterStart(ctx context.Context, group *errgroup.Group) error {
	manager, err := s.controllers()
	if err != nil {
		return err
	}
	group.Go(part.Named(ctx, "controllers", manager.Run))
	group.Go(part.Named(ctx, "scheduler", s.runScheduler))
	if err := part.Persist(ctx, s.logger, "let nodes and servers join", s.letJoin); err != nil {
		return err
	}
	if err := part.Persist(ctx, s.logger, "deploy the cluster's DNS", s.deployDNS); err != nil {
		return err
	}
	s.progress.done("Controllers and scheduler running")
	if s.options.disableAgent {
		s.progress.next(s.options.kubeconfig)
	}
	return nil
}

// letJoin makes nodes able to join and, where this server is one of several,
// servers too.
func (s *server) letJoin(ctx context.Context) error {
	token, err := s.ensureToken(ctx)
	if err != nil || s.peers == nil {
		return err
	}
	return s.peers.publish(ctx, s.api.Client(), s.keys.Dir, token)
}

// identity tells this server from its peers in elections. It stays the same, so
// that a server that starts again goes on with the lease that it held.
func (s *server) identity() string {
	return s.options.node.name + "_" + strings.TrimPrefix(s.url(), "https://")
}

// informers are those of the API server, or nil where a part needs its own: one
// that is elected makes them anew for each term.
func (s *server) informers() informers.SharedInformerFactory {
	if s.peers != nil {
		return nil
	}
	return s.api.Informers()
}

// runScheduler schedules, among peers while it is elected, until ctx ends.
func (s *server) runScheduler(ctx context.Context) error {
	config := s.api.ConfigFor(kubeapiserver.System("kube-scheduler"), "kube-scheduler")
	for {
		one, err := newScheduler(config, s.informers(), electing(s.peers != nil), s.identity(), s.api.Metrics(), s.logger)
		if err != nil {
			return err
		}
		if err := one.Run(ctx); !errors.Is(err, scheduler.ErrLeadershipLost) || ctx.Err() != nil {
			return err
		}
	}
}

// runNode runs the node on this machine, as the node that it is to the API.
func (s *server) runNode(ctx context.Context) error {
	dns, err := s.options.dnsAddress()
	if err != nil {
		return err
	}
	options := &s.options.node
	return runNode(ctx, nodeConfig{
		options: options, logger: s.logger, progress: s.progress,
		client: s.api.ConfigFor(kubeapiserver.System("node:"+options.name, "system:nodes"), "kubelet"), ready: s.api.Ready(),
		informers: s.api.Informers(),
		clientCA:  s.keys.CAPool(), serving: s.kubelet.GetCertificate,
		clusterDNS: dns.String(), clusterDomain: s.options.clusterDomain, clusterCIDR: s.options.controllers.clusterCIDR,
		whenReady: func() { s.progress.next(s.options.kubeconfig) },
	})
}

func (s *server) controllers() (*controllers.Manager, error) {
	ca := controllers.StaticCA(s.keys.CA.Certificate, s.keys.CA.Key)
	signing := signingBy(ca, 365*24*time.Hour)
	configFor := func(identity string) (*rest.Config, error) {
		info := kubeapiserver.System(identity)
		if identity != controllers.ManagerIdentity {
			info = kubeapiserver.ServiceAccount(identity)
		}
		return s.api.ConfigFor(info, "kube-controller-manager/"+identity), nil
	}
	tokens, err := serviceaccount.NewIssuer(serviceaccount.LegacyIssuer, s.keys.ServiceAccountKey, nil)
	if err != nil {
		return nil, err
	}
	if s.peers != nil {
		s.options.controllers.election = leaderElectionOptions{elect: true, identity: s.identity()}
		if s.peers.member != nil {
			config, err := memberConfig(s.options.dataDir)
			if err != nil {
				return nil, err
			}
			s.options.controllers.etcdMembers = &controlplane.Members{
				Client: s.api.Client(), Own: s.peers.member.Name, Etcd: config, TLS: memberTLS(s.options.dataDir),
			}
		}
	}
	return s.options.controllers.manager(configFor, s.informers(), authorities{signing, s.keys.CA.PEM(), tokens}, s.api.Metrics(), s.logger)
}

// ensureToken makes nodes able to join, and writes down how. It returns what they
// join with.
func (s *server) ensureToken(ctx context.Context) (string, error) {
	file := filepath.Join(s.options.dataDir, "join")
	token := s.options.token
	if token == "" {
		data, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if fields := strings.Fields(string(data)); len(fields) > 0 {
			token = fields[0]
		} else if token, err = bootstraputil.GenerateBootstrapToken(); err != nil {
			return "", err
		}
	}
	if err := bootstrap.EnsureToken(ctx, s.api.Client(), token); err != nil {
		return "", err
	}
	line := fmt.Sprintf("%s %s\n", token, certificateHash(s.keys.CA.Certificate))
	return token, os.WriteFile(file, []byte(line), 0o600)
}

func (s *server) deployDNS(ctx context.Context) error {
	if slices.Contains(s.options.disable, "coredns") {
		return nil
	}
	address, err := s.options.dnsAddress()
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(kubeapiserver.JSONOnly(s.api.ConfigFor(kubeapiserver.System("addons", user.SystemPrivilegedGroup), "yare-addons")))
	if err != nil {
		return err
	}
	return clusterdns.Apply(ctx, client, clusterdns.Options{
		ClusterIP: address, Domain: s.options.clusterDomain, Upstream: clusterdns.HasUpstream("/etc/resolv.conf"),
	})
}
