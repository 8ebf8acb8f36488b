package kubeapiserver

import (
	"crypto"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/spf13/pflag"
	utilnet "k8s.io/apimachinery/pkg/util/net"

	"github.com/yare-io/yare/apiserver/allocation"
	"github.com/yare-io/yare/apiserver/authn"
	"github.com/yare-io/yare/apiserver/authn/serviceaccount"
	"github.com/yare-io/yare/cmd/yare/addresses"
	"github.com/yare-io/yare/storage/etcd"
)

// Options are what the flags of kube-apiserver set.
// Those that other parts of a process have to know are exported.
type Options struct {
	// flags are those that set the options, and what else the command has.
	flags       *pflag.FlagSet
	bindAddress string
	// SecurePort is what HTTPS is served on; 0: any free one.
	SecurePort uint16
	// AdvertiseAddress is empty for an address of this machine.
	AdvertiseAddress string
	certDir          string
	servingCert      string
	servingKey       string
	clientCA         string
	tokenFile        string
	// BootstrapTokens lets nodes in with the tokens kept in kube-system.
	BootstrapTokens bool

	requestHeaderCA string
	requestHeader   authn.RequestHeader

	proxyClientCert, proxyClientKey string

	// AllowPrivileged must be true where it is a flag.
	AllowPrivileged bool
	// StorageBackend is etcd3 or memory.
	StorageBackend string
	// Embedded is an etcd in this process, if it has a Dir. EtcdServers are those
	// of another etcd.
	Embedded    etcd.Config
	EtcdServers []string
	etcdTLS     etcd.TLS
	// compaction is how often an etcd is compacted; zero: by others only.
	compaction time.Duration
	// Datastore, where it has an endpoint, stands for all of the above.
	Datastore  Datastore
	encryption Encryption
	eventTTL   time.Duration

	// ServiceCIDR are the ranges of service addresses, one an IP family.
	ServiceCIDR []string
	// NodePortRange is that of the ports that services may open on every node.
	NodePortRange string

	// Issuers are accepted in service-account tokens; the first signs.
	Issuers          []string
	keysURL          string
	extendTokens     bool
	audiences        []string
	verifyKeys       []string
	signingKey       string
	maxTokenLifetime time.Duration

	kubeletClientCert, kubeletClientKey, kubeletCA string

	authorizationModes            []string
	enablePlugins, disablePlugins []string
	flow                          flowOptions
	audit                         auditOptions

	opa       OPAOptions
	admission admissionOptions
	egress    egressOptions
	auth      authOptions
}

// Add adds the flags that every server of this binary has.
func (o *Options) Add(flags *pflag.FlagSet) {
	o.flags = flags
	flags.StringVar(&o.bindAddress, "bind-address", "0.0.0.0", "address to listen on")
	flags.Uint16Var(&o.SecurePort, "secure-port", 6443, "port to serve HTTPS on")
	flags.StringVar(&o.AdvertiseAddress, "advertise-address", "", "address at which the cluster reaches this server (default: this machine's)")
	flags.StringSliceVar(&o.EtcdServers, "etcd-servers", nil, "URLs of an external etcd")
	flags.StringVar(&o.etcdTLS.CA, "etcd-cafile", "", "authority that vouches for etcd")
	flags.StringVar(&o.etcdTLS.Cert, "etcd-certfile", "", "client certificate for etcd")
	flags.StringVar(&o.etcdTLS.Key, "etcd-keyfile", "", "its private key")
	flags.DurationVar(&o.compaction, "etcd-compaction-interval", 5*time.Minute, "how often etcd is asked to give up old revisions; 0: never")
	o.Datastore.add(flags)
	o.encryption.add(flags)
	flags.StringVar(&o.StorageBackend, "storage-backend", "etcd3", "where objects are kept: etcd3 or memory (gone when the process ends)")
	flags.DurationVar(&o.eventTTL, "event-ttl", time.Hour, "how long events are kept")
	flags.StringSliceVar(&o.ServiceCIDR, "service-cluster-ip-range", []string{"10.96.0.0/12"}, "range of service addresses, one for each IP family")
	flags.StringVar(&o.NodePortRange, "service-node-port-range", "30000-32767", "ports that services may open on every node")
	flags.StringSliceVar(&o.authorizationModes, "authorization-mode", []string{"Node", "RBAC"}, "who decides what is allowed, in order: Node, RBAC, Webhook, AlwaysAllow, AlwaysDeny")
	flags.StringSliceVar(&o.enablePlugins, "enable-admission-plugins", nil, "admission plugins to run beside the default ones")
	flags.StringSliceVar(&o.disablePlugins, "disable-admission-plugins", nil, "default admission plugins not to run")
	flags.StringVar(&o.tokenFile, "token-auth-file", "", "CSV file with static tokens: token,user,uid,\"groups\"")
	flags.StringArrayVar(&o.Issuers, "service-account-issuer", []string{"https://kubernetes.default.svc.cluster.local"}, "issuer named in service-account tokens; given again: others whose tokens are accepted too")
	flags.StringVar(&o.keysURL, "service-account-jwks-uri", "", "where others find the keys that verify tokens (default: below the issuer)")
	flags.BoolVar(&o.extendTokens, "service-account-extend-token-expiration", true, "let the tokens of pods live for a year where clients may not read them again")
	flags.StringSliceVar(&o.audiences, "api-audiences", nil, "audiences of tokens for this server (default: the issuer)")
	flags.DurationVar(&o.maxTokenLifetime, "service-account-max-token-expiration", 0, "longest life of a requested token; 0 for no limit")
	o.flow.add(flags)
	o.audit.add(flags)
	o.opa.Add(flags)
	o.admission.add(flags)
	o.egress.add(flags)
	o.auth.add(flags)
}

// Issuer signs service-account tokens.
func (o *Options) Issuer() string { return o.Issuers[0] }

// AddStandalone adds the flags that name what `yare server` makes itself.
func (o *Options) AddStandalone(flags *pflag.FlagSet) {
	o.Add(flags)
	flags.BoolVar(&o.AllowPrivileged, "allow-privileged", true, "let pods have privileged containers; false is not supported: use pod security admission")
	flags.StringVar(&o.certDir, "cert-dir", "/var/run/kubernetes", "where a self-signed serving certificate is made when none is named")
	flags.StringVar(&o.servingCert, "tls-cert-file", "", "serving certificate")
	flags.StringVar(&o.servingKey, "tls-private-key-file", "", "its private key")
	flags.StringVar(&o.clientCA, "client-ca-file", "", "authority that vouches for client certificates")
	flags.BoolVar(&o.BootstrapTokens, "enable-bootstrap-token-auth", false, "let nodes in with the bootstrap tokens kept in kube-system")
	flags.StringVar(&o.requestHeaderCA, "requestheader-client-ca-file", "", "authority that vouches for authenticating proxies")
	flags.StringSliceVar(&o.requestHeader.AllowedNames, "requestheader-allowed-names", nil, "common names that such proxies may have (default: any)")
	flags.StringSliceVar(&o.requestHeader.UsernameHeaders, "requestheader-username-headers", nil, "headers in which such proxies name the user, most wanted first (default: X-Remote-User)")
	flags.StringSliceVar(&o.requestHeader.UIDHeaders, "requestheader-uid-headers", nil, "headers with the user's id (default: X-Remote-Uid)")
	flags.StringSliceVar(&o.requestHeader.GroupHeaders, "requestheader-group-headers", nil, "headers with the user's groups (default: X-Remote-Group)")
	flags.StringSliceVar(&o.requestHeader.ExtraHeaderPrefixes, "requestheader-extra-headers-prefix", nil, "what headers with more about the user begin with (default: X-Remote-Extra-)")
	flags.StringVar(&o.proxyClientCert, "proxy-client-cert-file", "", "client certificate for aggregated API servers")
	flags.StringVar(&o.proxyClientKey, "proxy-client-key-file", "", "its private key")
	flags.StringSliceVar(&o.verifyKeys, "service-account-key-file", nil, "keys that verify service-account tokens (default: the signing key)")
	flags.StringVar(&o.signingKey, "service-account-signing-key-file", "", "key that signs service-account tokens")
	flags.StringVar(&o.kubeletClientCert, "kubelet-client-certificate", "", "client certificate for kubelets")
	flags.StringVar(&o.kubeletClientKey, "kubelet-client-key", "", "its private key")
	flags.StringVar(&o.kubeletCA, "kubelet-certificate-authority", "", "authority that vouches for kubelets")
}

// etcdConfig says which etcd to open, and false for storage in memory.
func (o *Options) etcdConfig() (etcd.Config, bool, error) {
	switch {
	case o.StorageBackend == "memory" && len(o.EtcdServers) > 0:
		return etcd.Config{}, false, errors.New("--storage-backend=memory and --etcd-servers exclude each other")
	case o.StorageBackend == "memory":
		return etcd.Config{}, false, nil
	case o.StorageBackend != "etcd3":
		return etcd.Config{}, false, fmt.Errorf("--storage-backend must be etcd3 or memory, not %q", o.StorageBackend)
	case len(o.EtcdServers) > 0:
		return etcd.Config{Endpoints: o.EtcdServers, TLS: o.etcdTLS, CompactionInterval: o.compactionInterval()}, true, nil
	case o.Embedded.Dir == "":
		return etcd.Config{}, false, errors.New("--etcd-servers or --datastore-endpoint is needed, or --storage-backend=memory")
	}
	embedded := o.Embedded
	embedded.CompactionInterval = o.compactionInterval()
	return embedded, true, nil
}

// compactionInterval is that of the flag as the store takes it.
func (o *Options) compactionInterval() time.Duration {
	if o.compaction == 0 {
		return -1
	}
	return o.compaction
}

// Advertised is the address at which others reach this server.
func (o *Options) Advertised() (netip.Addr, error) {
	if o.AdvertiseAddress != "" {
		return netip.ParseAddr(o.AdvertiseAddress)
	}
	if bound, err := netip.ParseAddr(o.bindAddress); err == nil && !bound.IsUnspecified() {
		return bound, nil
	}
	return addresses.Host()
}

// keys reads the key that signs service-account tokens and those that verify
// them.
func (o *Options) keys() (crypto.Signer, *serviceaccount.Keys, error) {
	if o.signingKey == "" {
		return nil, nil, errors.New("--service-account-signing-key-file is needed")
	}
	data, err := os.ReadFile(o.signingKey)
	if err != nil {
		return nil, nil, err
	}
	signer, err := serviceaccount.ParsePrivateKey(data)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", o.signingKey, err)
	}
	public := []crypto.PublicKey{signer.Public()}
	for _, file := range o.verifyKeys {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, nil, err
		}
		more, err := serviceaccount.ParsePublicKeys(data)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", file, err)
		}
		public = append(public, more...)
	}
	keys, err := serviceaccount.NewKeys(public...)
	return signer, keys, err
}

// nodePorts reads --service-node-port-range, as 30000-32767.
func (o *Options) nodePorts() (allocation.PortRange, error) {
	ports, err := utilnet.ParsePortRange(o.NodePortRange)
	if err != nil {
		return allocation.PortRange{}, fmt.Errorf("--service-node-port-range: %w", err)
	}
	return allocation.PortRange{First: int32(ports.Base), Last: int32(ports.Base + ports.Size - 1)}, nil
}
