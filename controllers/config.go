// Package controllers runs the controllers of a cluster: it chooses them, elects
// a leader, gives each its identity, and shares informers among them. What a
// controller does is in its own package; this one knows only their names.
package controllers

import (
	"crypto/x509"
	"log/slog"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/controllers/accounttokens"
	"github.com/yare-io/yare/controllers/certificates"
	"github.com/yare-io/yare/controllers/etcdmembers"
)

// ManagerIdentity is the name under which Clients is asked for the clients of
// the manager itself: informers and the leader lease.
const ManagerIdentity = "kube-controller-manager"

// Clients makes API clients that act under an identity: ManagerIdentity, or the
// name of a controller's service account in kube-system, such as
// "deployment-controller".
type Clients interface {
	Kubernetes(identity string) (kubernetes.Interface, error)
	Metadata(identity string) (metadata.Interface, error)
}

// Config says which controllers run, and how. The zero value of every field but
// Clients is sensible.
type Config struct {
	// Clients is required. NewClients makes one from rest.Configs.
	Clients Clients
	// Informers, if set, are shared with other components of the process, and
	// shut down by whoever made them. They need LeaderElection to be nil, as a
	// new term begins with new ones.
	Informers informers.SharedInformerFactory
	// Controllers chooses as kube-controller-manager --controllers does: a name
	// turns one on, "-name" off, "*" all that are on by default. Old names
	// ("nodelifecycle") work too. Empty means "*".
	Controllers []string
	// ConcurrentSyncs overrides, by controller name, how many objects are
	// reconciled at once.
	ConcurrentSyncs map[string]int
	// LeaderElection is nil where this is the only manager there can be.
	LeaderElection *LeaderElection
	// Log is slog.Default() if nil.
	Log *slog.Logger
	// Metrics is where work queue figures are registered; nil: nowhere.
	Metrics prometheus.Registerer
	// Clock is the real one if nil.
	Clock clock.WithTicker

	// RootCA is the PEM bundle published as kube-root-ca.crt in every
	// namespace. Empty: root-ca-certificate-publisher does not run.
	RootCA []byte
	// AccountTokens signs the tokens that are kept in secrets; nil:
	// serviceaccount-token-controller does not run.
	AccountTokens accounttokens.Issuer
	// UnusedTokenPatience is how long such a token may be unused before it is
	// marked, and again before it is deleted; 0 means a year.
	UnusedTokenPatience time.Duration
	// Signing holds the keys of csrsigning. Without any signer it does not run.
	Signing Signing
	// ApproveServing also approves serving certificates of kubelets, as long as
	// a node asks only for the names and addresses in its own status. Kubernetes
	// leaves that to an administrator. The service account certificate-controller
	// needs the verb approve on the signer kubernetes.io/kubelet-serving for it,
	// which is not in Kubernetes' role of that name.
	ApproveServing bool

	// EtcdMembers is the etcd in the servers where it has several members; nil:
	// etcd-member-controller does not run.
	EtcdMembers etcdmembers.Members

	// ClusterCIDRs (one for each IP family) make node-ipam hand out a podCIDR
	// per node. Empty: it does not run.
	ClusterCIDRs []netip.Prefix
	// ServiceCIDRs are kept free of podCIDRs.
	ServiceCIDRs []netip.Prefix
	// NodeMaskIPv4 and NodeMaskIPv6 are the lengths of a node's prefixes; 0
	// means 24 and 64.
	NodeMaskIPv4, NodeMaskIPv6 int

	// Node sets the patience of node-lifecycle and the rates of eviction.
	Node NodeLifecycle
	// TerminatedPodThreshold is how many ended pods pod-garbage-collector leaves
	// alone; 0 means 12500, negative: all.
	TerminatedPodThreshold int
	// GarbageResync is how often garbage-collector looks for new kinds; 0 means
	// 30 s.
	GarbageResync time.Duration
}

// LeaderElection describes the lease that only one manager holds at a time.
type LeaderElection struct {
	// Namespace and Name default to kube-system and kube-controller-manager.
	Namespace, Name string
	// Identity tells contenders apart; empty: host name and a random part.
	Identity string
	// LeaseDuration, RenewDeadline and RetryPeriod default to 15 s, 10 s and 2 s.
	LeaseDuration, RenewDeadline, RetryPeriod time.Duration
}

// NodeLifecycle are the node-lifecycle controller's patience and rates.
type NodeLifecycle struct {
	// MonitorPeriod is how often nodes are looked at; 0 means 5 s.
	MonitorPeriod time.Duration
	// GracePeriod is how long a node may be silent; 0 means 50 s.
	GracePeriod time.Duration
	// StartupGracePeriod is how long a node may be silent that has never
	// reported; 0 means 60 s.
	StartupGracePeriod time.Duration
	// EvictionRate is how many nodes of a healthy zone are tainted NoExecute
	// per second, SecondaryEvictionRate how many of one that is partly down; 0
	// means 0.1 and 0.01.
	EvictionRate, SecondaryEvictionRate float32
	// UnhealthyZoneThreshold is the share of nodes not ready at which a zone
	// counts as partly down; 0 means 0.55.
	UnhealthyZoneThreshold float32
	// LargeClusterSize is the number of nodes up to which a partly-down zone
	// evicts nothing; 0 means 50.
	LargeClusterSize int32
}

// Signing holds what csrsigning signs with.
type Signing struct {
	// Signers maps signer names, as "kubernetes.io/kubelet-serving", to their CA.
	Signers map[string]CA
	// Duration is the longest life of a certificate; 0 means one year.
	Duration time.Duration
}

// CA is a certificate and its key. It may change at any time: Pair is called
// for each signature.
type CA = certificates.CA

// StaticCA is a CA that never changes.
func StaticCA(certificate *x509.Certificate, key certificates.Signer) CA {
	return certificates.StaticCA(certificate, key)
}
