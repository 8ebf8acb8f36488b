package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/yare-io/yare/apiserver/bootstrap"
	"github.com/yare-io/yare/cmd/yare/controlplane"
	"github.com/yare-io/yare/cmd/yare/pki"
	"github.com/yare-io/yare/storage/etcd"
)

const (
	// serverTokenFile has the token that other servers join with.
	serverTokenFile = "join-server"
	// memberNameFile has the name of this server's member of etcd. It is there
	// when the embedded etcd has, or may get, other members.
	memberNameFile = "etcd-name"

	peerPort, clientPort = "2380", "2379"
	// joinTimeout is how long the server to join may take to start.
	joinTimeout = 30 * time.Second
)

// serversOptions are the flags by which several servers are one control plane.
type serversOptions struct {
	init    bool
	server  string
	reset   bool
	restore string
}

func (o *serversOptions) add(flags *pflag.FlagSet) {
	flags.BoolVar(&o.init, "cluster-init", false, "let other servers join: the embedded etcd becomes the first member of a cluster")
	flags.StringVar(&o.server, "server", "", "address of a server whose control plane to join, as https://10.0.0.1:6443; --token must be the one in its file join-server")
	flags.BoolVar(&o.reset, "cluster-reset", false, "make the embedded etcd a cluster of one with the data that is here, and end: for when most servers are lost")
	flags.StringVar(&o.restore, "cluster-reset-restore-path", "", "snapshot to take as the data on --cluster-reset")
}

func (o *serversOptions) check(embedded bool) error {
	switch {
	case o.init && o.server != "":
		return errors.New("--cluster-init begins a cluster and --server joins one: give one of them")
	case o.restore != "" && !o.reset:
		return errors.New("--cluster-reset-restore-path needs --cluster-reset")
	case (o.init || o.reset) && !embedded:
		return errors.New("--cluster-init and --cluster-reset are for the embedded etcd, which this server has not")
	}
	return nil
}

// resetCluster does what --cluster-reset says, on a data dir that is locked.
func resetCluster(ctx context.Context, o *serverOptions, logger *slog.Logger) error {
	config := o.api.Embedded
	if o.servers.restore != "" {
		return restoreSnapshot(os.Stdout, o.dataDir, o.servers.restore, revisionBump)
	}
	config.Logger = logger
	return etcd.ResetCluster(ctx, config)
}

// peers is how a server shares its control plane with others.
type peers struct {
	token    controlplane.Token
	settings map[string]string
	// member is this server's member of etcd; nil where the objects are elsewhere.
	member *etcd.Cluster
	// node is the one that this server runs, empty when it runs none.
	node string
}

// join fetches the keys of the cluster that --server names into a data dir that
// has none. It returns what the servers share, or nil when this server has
// joined before.
func (o *serverOptions) join(ctx context.Context) (*controlplane.Shared, error) {
	keys := filepath.Join(o.dataDir, "pki")
	joined, err := o.hasJoined(keys)
	if err != nil || joined {
		return nil, err
	}
	token, err := controlplane.ParseToken(o.token)
	if err != nil {
		return nil, fmt.Errorf("--token: %w", err)
	}
	shared, err := awaitShared(ctx, o.servers.server, token)
	if err != nil {
		return nil, fmt.Errorf("join %s: %w", o.servers.server, err)
	}
	if err := shared.Differs(o.sharedSettings()); err != nil {
		return nil, fmt.Errorf("join %s: %w", o.servers.server, err)
	}
	if authority, err := os.ReadFile(filepath.Join(keys, "ca.crt")); err == nil && string(authority) != string(shared.Keys["ca.crt"]) {
		return nil, fmt.Errorf("%s has the keys of another cluster: give --data-dir another place, or remove it", keys)
	}
	if err := shared.WriteKeys(keys); err != nil {
		return nil, err
	}
	o.token = shared.NodeToken
	return shared, os.WriteFile(filepath.Join(o.dataDir, serverTokenFile), []byte(token.String()+"\n"), 0o600)
}

// hasJoined tells whether the data dir is that of a server of the cluster.
func (o *serverOptions) hasJoined(keys string) (bool, error) {
	if o.api.Embedded.Dir != "" {
		there, err := etcd.HasData(o.api.Embedded.Dir)
		if err != nil || !there {
			return false, err
		}
		if _, err := os.Stat(filepath.Join(o.dataDir, memberNameFile)); errors.Is(err, fs.ErrNotExist) {
			return false, fmt.Errorf("%s has a cluster of its own: give --data-dir another place, or remove it", o.dataDir)
		}
	}
	for _, file := range []string{filepath.Join(keys, "ca.key"), filepath.Join(o.dataDir, serverTokenFile)} {
		if _, err := os.Stat(file); err != nil {
			return false, nil //nolint:nilerr // not there yet
		}
	}
	// What is kept is what counts from now on.
	o.token = ""
	return true, nil
}

// awaitShared reads what the servers share, again while the server that is asked
// may still be starting.
func awaitShared(ctx context.Context, server string, token controlplane.Token) (shared *controlplane.Shared, err error) {
	_ = wait.PollUntilContextTimeout(ctx, time.Second, joinTimeout, true, func(ctx context.Context) (bool, error) {
		shared, err = fetchShared(ctx, server, token)
		var unreachable *net.OpError
		again := errors.As(err, &unreachable) || apierrors.IsNotFound(err) || apierrors.IsForbidden(err) ||
			apierrors.IsUnauthorized(err) || apierrors.IsServiceUnavailable(err)
		return !again, nil
	})
	return shared, err
}

// fetchShared reads what the servers share from one of them.
func fetchShared(ctx context.Context, server string, token controlplane.Token) (*controlplane.Shared, error) {
	authority, err := fetchAuthority(ctx, server, token.AuthorityHash())
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(&rest.Config{
		Host: server, BearerToken: token.Bootstrap, UserAgent: "yare-server", TLSClientConfig: rest.TLSClientConfig{CAData: authority},
	})
	if err != nil {
		return nil, err
	}
	return controlplane.Fetch(ctx, client, token)
}

// sharedSettings are those that must be the same on all servers.
func (o *serverOptions) sharedSettings() map[string]string {
	datastore := "the embedded etcd"
	if o.api.Embedded.Dir == "" {
		datastore = "outside of the servers"
	}
	return map[string]string{
		"--service-cluster-ip-range": strings.Join(o.api.ServiceCIDR, ","),
		"--cluster-cidr":             strings.Join(o.controllers.clusterCIDR, ","),
		"--cluster-domain":           o.clusterDomain,
		"--service-account-issuer":   o.api.Issuer(),
		"--service-node-port-range":  o.api.NodePortRange,
		"encryption at rest":         o.api.EncryptionAtRest(),
		"datastore":                  datastore,
	}
}

// share makes the server one of several, if it is to be. It returns nil for one
// that is alone.
func (o *serverOptions) share(keys *pki.Cluster, joined *controlplane.Shared) (*peers, error) {
	embedded := o.api.Embedded.Dir != ""
	name, err := o.memberName()
	if err != nil || embedded && name == "" || !embedded && o.api.StorageBackend == "memory" {
		return nil, err
	}
	p := &peers{settings: o.sharedSettings()}
	if !o.disableAgent {
		p.node = o.node.name
	}
	if p.token, err = o.serverToken(keys); err != nil {
		return nil, err
	}
	if !embedded {
		return p, nil
	}
	if there, err := etcd.HasData(o.api.Embedded.Dir); err != nil || !there && joined == nil && !o.servers.init {
		return nil, errors.Join(err, fmt.Errorf("%s has no data: give --server to join again, or --cluster-init to begin anew", o.api.Embedded.Dir))
	}
	address, err := o.api.Advertised()
	if err != nil {
		return nil, err
	}
	pairs, err := keys.Etcd([]string{address.String(), "127.0.0.1", "localhost"})
	if err != nil {
		return nil, err
	}
	files := func(pair *pki.KeyPair) etcd.TLS {
		return etcd.TLS{CA: pairs.CA.CertFile, Cert: pair.CertFile, Key: pair.KeyFile}
	}
	p.member = &etcd.Cluster{
		Name: name, PeerTLS: files(pairs.Peer), ClientTLS: files(pairs.Client),
		PeerURL: "https://" + net.JoinHostPort(address.String(), peerPort), ClientURL: "https://" + net.JoinHostPort(address.String(), clientPort),
	}
	if joined != nil {
		for _, other := range joined.Members {
			if other != p.member.ClientURL {
				p.member.Join = append(p.member.Join, other)
			}
		}
		if len(p.member.Join) == 0 {
			return nil, errors.New("the other servers have no member of etcd that could be joined")
		}
	}
	o.api.Embedded.Cluster, o.api.Embedded.ListenTLS = p.member, files(pairs.Server)
	return p, nil
}

// memberName is that of this server's member of etcd, empty where it is to have
// no others. A name is chosen once, and differs from any other node's.
func (o *serverOptions) memberName() (string, error) {
	file := filepath.Join(o.dataDir, memberNameFile)
	data, err := os.ReadFile(file)
	if err == nil {
		return strings.TrimSpace(string(data)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if o.api.Embedded.Dir == "" || !o.servers.init && o.servers.server == "" {
		return "", nil
	}
	suffix := make([]byte, 4)
	if _, err := rand.Read(suffix); err != nil {
		return "", err
	}
	name := o.node.name + "-" + hex.EncodeToString(suffix)
	return name, os.WriteFile(file, []byte(name+"\n"), 0o600)
}

// serverToken is what other servers join with: the one that is kept, or a new
// one.
func (o *serverOptions) serverToken(keys *pki.Cluster) (controlplane.Token, error) {
	file := filepath.Join(o.dataDir, serverTokenFile)
	data, err := os.ReadFile(file)
	if err == nil {
		token, err := controlplane.ParseToken(string(data))
		if err == nil && !token.For(keys.CA.Certificate) {
			err = errors.New("it is of a cluster with another authority")
		}
		if err != nil {
			return token, fmt.Errorf("%s: %w", file, err)
		}
		return token, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return controlplane.Token{}, err
	}
	token, err := controlplane.NewToken(keys.CA.Certificate)
	if err != nil {
		return token, err
	}
	return token, os.WriteFile(file, []byte(token.String()+"\n"), 0o600)
}

// publish lets other servers join, with the token that nodes join with.
func (p *peers) publish(ctx context.Context, client kubernetes.Interface, keys, nodeToken string) error {
	shared := controlplane.Shared{Settings: p.settings, NodeToken: nodeToken}
	if p.member != nil {
		shared.Members = map[string]string{p.member.Name: p.member.ClientURL}
		shared.Nodes = map[string]string{p.member.Name: p.node}
	}
	if err := shared.ReadKeys(keys); err != nil {
		return err
	}
	if err := controlplane.Publish(ctx, client, p.token, shared); err != nil {
		return err
	}
	return bootstrap.EnsureToken(ctx, client, p.token.Bootstrap, controlplane.Group)
}
