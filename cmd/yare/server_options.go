package main

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/spf13/pflag"

	"github.com/yare-io/yare/cmd/yare/addresses"
	"github.com/yare-io/yare/cmd/yare/kubeapiserver"
)

const defaultDataDir = "/var/lib/yare"

// serverOptions are what the flags of `yare server` set.
type serverOptions struct {
	dataDir       string
	kubeconfig    string
	disableAgent  bool
	disable       []string
	token         string
	tlsSANs       []string
	clusterDomain string

	api         kubeapiserver.Options
	controllers controllerOptions
	node        nodeOptions
	snapshots   snapshotOptions
	servers     serversOptions
}

// addons are the parts that --disable can leave out.
var addons = []string{"coredns"}

func (o *serverOptions) add(flags *pflag.FlagSet) {
	flags.StringVar(&o.dataDir, "data-dir", defaultDataDir, "where everything is kept")
	flags.StringVar(&o.kubeconfig, "write-kubeconfig", "", "where to write the administrator's kubeconfig (default: kubeconfig in the data dir)")
	flags.BoolVar(&o.disableAgent, "disable-agent", false, "run the control plane only, no node on this machine")
	flags.StringSliceVar(&o.disable, "disable", nil, fmt.Sprintf("what not to deploy, of %v", addons))
	flags.StringVar(&o.token, "token", "", "token with which nodes join, as abcdef.0123456789abcdef (default: a random one, kept); with --server, the token of that server's file join-server")
	kubeapiserver.Classify(flags, "token")
	flags.StringSliceVar(&o.tlsSANs, "tls-san", nil, "further names and addresses of the API server in its certificate")
	flags.StringVar(&o.clusterDomain, "cluster-domain", "cluster.local", "DNS domain of the cluster")
	o.api.Add(flags)
	o.snapshots.add(flags)
	o.servers.add(flags)
	flags.Int64Var(&o.api.Embedded.Quota, "etcd-quota-backend-bytes", 8<<30, "size of the embedded etcd at which it takes deletes only, until there is room again")
	// Both halves have these; one flag sets them.
	half := pflag.NewFlagSet("", pflag.ContinueOnError)
	o.controllers.add(half)
	half.VisitAll(func(flag *pflag.Flag) {
		if flags.Lookup(flag.Name) == nil && flag.Name != "allocate-node-cidrs" {
			flags.AddFlag(flag)
		}
	})
	flags.Lookup("cluster-cidr").DefValue = "[10.244.0.0/16]"
	o.controllers.clusterCIDR = []string{"10.244.0.0/16"}
	o.node.add(flags)
}

// complete derives what one flag says about several parts.
func (o *serverOptions) complete() error {
	if err := known("--disable", o.disable, addons); err != nil {
		return err
	}
	dataDir, err := filepath.Abs(o.dataDir)
	if err != nil {
		return err
	}
	o.dataDir = dataDir
	if o.kubeconfig == "" {
		o.kubeconfig = filepath.Join(dataDir, "kubeconfig")
	}
	if len(o.api.EtcdServers) == 0 && o.api.Datastore.Endpoint == "" && o.api.StorageBackend == "etcd3" {
		o.api.Embedded.Dir = filepath.Join(dataDir, "etcd")
		o.api.Embedded.Listen = []string{etcdSocket(dataDir)}
	}
	if err := o.snapshots.complete(dataDir, o.api.Embedded.Dir != ""); err != nil {
		return err
	}
	if err := o.servers.check(o.api.Embedded.Dir != ""); err != nil {
		return err
	}
	o.api.BootstrapTokens = true
	o.api.KeepPolicies(filepath.Join(dataDir, "opa"))
	o.controllers.serviceCIDR = o.api.ServiceCIDR
	o.controllers.allocateNodeCIDRs = true
	o.controllers.approveServing = true
	// Nodes join with tokens here, so expired ones are cleared away.
	o.controllers.controllers = append(o.controllers.controllers, "token-cleaner-controller")
	if o.api.AdvertiseAddress == "" && o.node.ip != "" {
		o.api.AdvertiseAddress = o.node.ip
	}
	return o.node.complete(dataDir)
}

// serviceAddress is the nth address of the service range.
func (o *serverOptions) serviceAddress(n int) (netip.Addr, error) {
	services, err := addresses.ParsePrefixes("--service-cluster-ip-range", o.api.ServiceCIDR)
	if err != nil {
		return netip.Addr{}, err
	}
	if len(services) == 0 {
		return netip.Addr{}, errors.New("--service-cluster-ip-range is needed")
	}
	return addresses.Nth(services[0], n)
}

// dnsAddress is where pods find the cluster's DNS: the tenth address, by custom.
func (o *serverOptions) dnsAddress() (netip.Addr, error) { return o.serviceAddress(10) }

// hosts are the names and addresses that the API server answers to.
func (o *serverOptions) hosts() ([]string, error) {
	advertised, err := o.api.Advertised()
	if err != nil {
		return nil, err
	}
	service, err := o.serviceAddress(1)
	if err != nil {
		return nil, err
	}
	hosts := []string{
		"localhost", "127.0.0.1", advertised.String(), service.String(), o.node.name,
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + o.clusterDomain,
	}
	return append(hosts, o.tlsSANs...), nil
}

// runDir is where sockets and what does not outlive a boot are kept.
func runDir(dataDir string) string {
	if dataDir == defaultDataDir {
		return "/run/yare"
	}
	return filepath.Join(dataDir, "run")
}

func known(flag string, names, all []string) error {
	for _, name := range names {
		if !slices.Contains(all, name) {
			return fmt.Errorf("%s: there is no %q, only %v", flag, name, all)
		}
	}
	return nil
}
