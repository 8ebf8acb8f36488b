package controllers

import (
	"github.com/yare-io/yare/controllers/accounttokens"
	"github.com/yare-io/yare/controllers/bootstraptokens"
	"github.com/yare-io/yare/controllers/certificates"
	"github.com/yare-io/yare/controllers/clusterroles"
	"github.com/yare-io/yare/controllers/deployment"
	"github.com/yare-io/yare/controllers/endpoints"
	"github.com/yare-io/yare/controllers/endpointslice"
	"github.com/yare-io/yare/controllers/endpointslicemirroring"
	"github.com/yare-io/yare/controllers/etcdmembers"
	"github.com/yare-io/yare/controllers/garbagecollector"
	"github.com/yare-io/yare/controllers/namespace"
	"github.com/yare-io/yare/controllers/nodeipam"
	"github.com/yare-io/yare/controllers/nodelifecycle"
	"github.com/yare-io/yare/controllers/podgc"
	"github.com/yare-io/yare/controllers/policystatus"
	"github.com/yare-io/yare/controllers/replicaset"
	"github.com/yare-io/yare/controllers/resourcequota"
	"github.com/yare-io/yare/controllers/rootca"
	"github.com/yare-io/yare/controllers/serviceaccount"
	"github.com/yare-io/yare/controllers/storageversionmigrator"
	"github.com/yare-io/yare/controllers/tainteviction"
	"github.com/yare-io/yare/controllers/worker"
)

// descriptor says of one controller how it is called and how it is made.
type descriptor struct {
	// name is the one of kube-controller-manager --controllers, alias the
	// shorter one used before.
	name, alias string
	// identity is its service account in kube-system.
	identity string
	// component is the source its events show.
	component    string
	offByDefault bool
	// workers is how many keys it reconciles at once unless told otherwise.
	workers int
	build   func(env *worker.Env, config *Config) (worker.Runner, error)
}

// plain adapts a constructor that needs no configuration.
func plain(build func(*worker.Env) (worker.Runner, error)) func(*worker.Env, *Config) (worker.Runner, error) {
	return func(env *worker.Env, _ *Config) (worker.Runner, error) { return build(env) }
}

var descriptors = []descriptor{
	{name: "deployment-controller", alias: "deployment", identity: "deployment-controller",
		component: "deployment-controller", workers: 5, build: plain(deployment.New)},
	{name: "replicaset-controller", alias: "replicaset", identity: "replicaset-controller",
		component: "replicaset-controller", workers: 5, build: plain(replicaset.New)},
	{name: "endpointslice-controller", alias: "endpointslice", identity: "endpointslice-controller",
		component: "endpoint-slice-controller", workers: 5, build: plain(endpointslice.New)},
	{name: "endpointslice-mirroring-controller", alias: "endpointslicemirroring", identity: "endpointslicemirroring-controller",
		component: "endpoint-slice-mirroring-controller", workers: 5, build: plain(endpointslicemirroring.New)},
	{name: "endpoints-controller", alias: "endpoint", identity: "endpoint-controller",
		component: "endpoint-controller", workers: 5, build: plain(endpoints.New)},
	{name: "resourcequota-controller", alias: "resourcequota", identity: "resourcequota-controller",
		component: "resourcequota-controller", workers: 5, build: plain(resourcequota.New)},
	{name: "namespace-controller", alias: "namespace", identity: "namespace-controller",
		component: "namespace-controller", workers: 10, build: plain(namespace.New)},
	{name: "serviceaccount-controller", alias: "serviceaccount", identity: "service-account-controller",
		component: "serviceaccount-controller", workers: 1, build: plain(serviceaccount.New)},
	{name: "serviceaccount-token-controller", alias: "serviceaccount-token", identity: ManagerIdentity,
		component: "serviceaccount-token-controller", workers: 5, build: buildAccountTokens},
	{name: "legacy-serviceaccount-token-cleaner-controller", alias: "legacy-service-account-token-cleaner", identity: "legacy-service-account-token-cleaner",
		component: "legacy-service-account-token-cleaner", workers: 1, build: buildTokenCleaner},
	{name: "root-ca-certificate-publisher-controller", alias: "root-ca-cert-publisher", identity: "root-ca-cert-publisher",
		component: "root-ca-cert-publisher", workers: 1, build: buildRootCA},
	{name: "garbage-collector-controller", alias: "garbagecollector", identity: "generic-garbage-collector",
		component: "garbage-collector-controller", workers: 20, build: buildGarbageCollector},
	{name: "certificatesigningrequest-approving-controller", alias: "csrapproving", identity: "certificate-controller",
		component: "csrapproving", workers: 1, build: buildApproving},
	{name: "certificatesigningrequest-signing-controller", alias: "csrsigning", identity: "certificate-controller",
		component: "csrsigning", workers: 5, build: buildSigning},
	{name: "certificatesigningrequest-cleaner-controller", alias: "csrcleaner", identity: "certificate-controller",
		component: "csrcleaner", workers: 1, build: plain(certificates.NewCleaner)},
	{name: "node-ipam-controller", alias: "nodeipam", identity: "node-controller",
		component: "cidrAllocator", workers: 1, build: buildNodeIPAM},
	{name: "node-lifecycle-controller", alias: "nodelifecycle", identity: "node-controller",
		component: "node-controller", workers: 8, build: buildNodeLifecycle},
	{name: "taint-eviction-controller", alias: "taint-eviction", identity: "node-controller",
		component: "taint-eviction-controller", workers: 8, build: plain(tainteviction.New)},
	{name: "etcd-member-controller", alias: "etcd-member", identity: ManagerIdentity,
		component: "etcd-member-controller", workers: 1, build: buildEtcdMembers},
	{name: "pod-garbage-collector-controller", alias: "podgc", identity: "pod-garbage-collector",
		component: "pod-garbage-collector-controller", workers: 1, build: buildPodGC},
	{name: "clusterrole-aggregation-controller", alias: "clusterrole-aggregation", identity: "clusterrole-aggregation-controller",
		component: "clusterrole-aggregation-controller", workers: 5, build: plain(clusterroles.New)},
	{name: "validatingadmissionpolicy-status-controller", alias: "validatingadmissionpolicy-status", identity: "validatingadmissionpolicy-status-controller",
		component: "validatingadmissionpolicy-status-controller", workers: 5, build: plain(policystatus.New)},
	{name: "bootstrap-signer-controller", alias: "bootstrapsigner", identity: "bootstrap-signer",
		component: "bootstrap-signer-controller", offByDefault: true, workers: 1, build: plain(bootstraptokens.NewSigner)},
	{name: "token-cleaner-controller", alias: "tokencleaner", identity: "token-cleaner",
		component: "token-cleaner-controller", offByDefault: true, workers: 1, build: plain(bootstraptokens.NewCleaner)},
	{name: "storage-version-migrator-controller", alias: "svm", identity: "storage-version-migrator-controller",
		component: "storage-version-migrator-controller", workers: 5, build: plain(storageversionmigrator.New)},
}

func buildRootCA(env *worker.Env, config *Config) (worker.Runner, error) {
	return rootca.New(env, config.RootCA)
}

func buildAccountTokens(env *worker.Env, config *Config) (worker.Runner, error) {
	return accounttokens.New(env, config.AccountTokens, config.RootCA)
}

func buildTokenCleaner(env *worker.Env, config *Config) (worker.Runner, error) {
	return accounttokens.NewCleaner(env, config.UnusedTokenPatience)
}

func buildGarbageCollector(env *worker.Env, config *Config) (worker.Runner, error) {
	return garbagecollector.New(env, config.GarbageResync)
}

func buildApproving(env *worker.Env, config *Config) (worker.Runner, error) {
	return certificates.NewApproving(env, config.ApproveServing)
}

func buildSigning(env *worker.Env, config *Config) (worker.Runner, error) {
	return certificates.NewSigning(env, config.Signing.Signers, config.Signing.Duration)
}

func buildNodeIPAM(env *worker.Env, config *Config) (worker.Runner, error) {
	return nodeipam.New(env, nodeipam.Ranges{
		Cluster: config.ClusterCIDRs, Services: config.ServiceCIDRs,
		MaskIPv4: config.NodeMaskIPv4, MaskIPv6: config.NodeMaskIPv6,
	})
}

func buildNodeLifecycle(env *worker.Env, config *Config) (worker.Runner, error) {
	return nodelifecycle.New(env, nodelifecycle.Config{
		Period: config.Node.MonitorPeriod, Grace: config.Node.GracePeriod, Startup: config.Node.StartupGracePeriod,
		Rates: nodelifecycle.Rates{
			Eviction: config.Node.EvictionRate, Secondary: config.Node.SecondaryEvictionRate,
			Threshold: config.Node.UnhealthyZoneThreshold, LargeCluster: config.Node.LargeClusterSize,
		},
	})
}

func buildEtcdMembers(env *worker.Env, config *Config) (worker.Runner, error) {
	return etcdmembers.New(env, config.EtcdMembers)
}

func buildPodGC(env *worker.Env, config *Config) (worker.Runner, error) {
	return podgc.New(env, config.TerminatedPodThreshold)
}
