package pki

import (
	"context"
	"crypto"
	"crypto/x509"
	"path/filepath"

	"golang.org/x/sync/errgroup"
)

// Cluster is all that a control plane needs to trust and be trusted. The file
// names are those of kubeadm, so that its documents apply.
type Cluster struct {
	Dir string
	// CA vouches for servers, clients and kubelets; FrontProxyCA for proxies
	// that speak for others.
	CA, FrontProxyCA *Authority
	// APIServer serves; KubeletClient calls kubelets; FrontProxyClient calls
	// aggregated servers; Admin is whoever holds the kubeconfig.
	APIServer, KubeletClient, FrontProxyClient, Admin *KeyPair
	// ServiceAccountKey signs tokens.
	ServiceAccountKey crypto.Signer

	profiles map[*KeyPair]issued
}

type issued struct {
	by      *Authority
	profile Profile
}

// LoadCluster reads a cluster's keys from dir, makes what is missing, and
// replaces what is near its end. hosts are the names and addresses of the API
// server.
func LoadCluster(dir string, hosts []string) (*Cluster, error) {
	c := &Cluster{Dir: dir, profiles: map[*KeyPair]issued{}}
	var err error
	if c.CA, err = LoadAuthority(dir, "ca", "kubernetes"); err != nil {
		return nil, err
	}
	if c.FrontProxyCA, err = LoadAuthority(dir, "front-proxy-ca", "front-proxy-ca"); err != nil {
		return nil, err
	}
	if c.ServiceAccountKey, err = LoadSigningKey(dir, "sa"); err != nil {
		return nil, err
	}
	for _, want := range []struct {
		pair    **KeyPair
		by      *Authority
		profile Profile
	}{
		{&c.APIServer, c.CA, Profile{Name: "apiserver", User: "kube-apiserver", Hosts: hosts}},
		{&c.KubeletClient, c.CA, Profile{Name: "apiserver-kubelet-client", User: "kube-apiserver-kubelet-client", Groups: []string{"system:masters"}}},
		{&c.FrontProxyClient, c.FrontProxyCA, Profile{Name: "front-proxy-client", User: "front-proxy-client"}},
		{&c.Admin, c.CA, Profile{Name: "admin", User: "kubernetes-admin", Groups: []string{"system:masters"}}},
	} {
		if *want.pair, err = want.by.Ensure(dir, want.profile); err != nil {
			return nil, err
		}
		c.profiles[*want.pair] = issued{want.by, want.profile}
	}
	return c, nil
}

// Issue makes or renews a certificate of the cluster's main authority beside
// the others, and keeps it renewed with them.
func (c *Cluster) Issue(p Profile) (*KeyPair, error) {
	pair, err := c.CA.Ensure(c.Dir, p)
	if err != nil {
		return nil, err
	}
	c.profiles[pair] = issued{c.CA, p}
	return pair, nil
}

// Run keeps every certificate renewed until ctx ends.
func (c *Cluster) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for pair, from := range c.profiles {
		group.Go(func() error { return pair.Renew(ctx, from.by, from.profile) })
	}
	return group.Wait()
}

// CAFile is the certificate to verify servers and clients with.
func (c *Cluster) CAFile() string { return filepath.Join(c.Dir, "ca.crt") }

// CAPool returns the main authority as a pool.
func (c *Cluster) CAPool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.CA.Certificate)
	return pool
}
