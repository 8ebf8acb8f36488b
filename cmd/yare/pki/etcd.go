package pki

// Etcd is what the members of the cluster's own etcd know each other by. Its
// authority vouches for nobody else: whoever is let in there may read all.
type Etcd struct {
	CA *Authority
	// Server is for clients, Peer for other members, Client for their servers.
	Server, Peer, Client *KeyPair
}

// Etcd reads the keys of a member that others reach at the hosts, or makes them,
// and keeps them renewed with the others.
func (c *Cluster) Etcd(hosts []string) (*Etcd, error) {
	ca, err := LoadAuthority(c.Dir, "etcd/ca", "etcd-ca")
	if err != nil {
		return nil, err
	}
	e := &Etcd{CA: ca}
	for pair, profile := range map[**KeyPair]Profile{
		&e.Server: {Name: "etcd/server", User: "etcd-server", Hosts: hosts},
		&e.Peer:   {Name: "etcd/peer", User: "etcd-peer", Hosts: hosts, Client: true},
		&e.Client: {Name: "apiserver-etcd-client", User: "kube-apiserver-etcd-client"},
	} {
		if *pair, err = ca.Ensure(c.Dir, profile); err != nil {
			return nil, err
		}
		c.profiles[*pair] = issued{ca, profile}
	}
	return e, nil
}
