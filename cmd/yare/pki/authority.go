// Package pki makes and keeps the keys and certificates of a cluster: its
// authorities, what they issue, and the kubeconfig files that carry it. All
// private files have mode 0600. It knows no Kubernetes API.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"path/filepath"
	"time"
)

// Lifetimes. A certificate is replaced once a third of its life is left.
const (
	authorityLife = 10 * 365 * 24 * time.Hour
	leafLife      = 365 * 24 * time.Hour
	clockSkew     = 5 * time.Minute
)

// Authority issues certificates.
type Authority struct {
	Certificate *x509.Certificate
	Key         crypto.Signer
	// CertFile and KeyFile are where the two are kept.
	CertFile, KeyFile string
}

// PEM is the authority's certificate in PEM form.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate.Raw})
}

// LoadAuthority reads the authority of this name from dir, or makes it.
func LoadAuthority(dir, name, commonName string) (*Authority, error) {
	a := &Authority{CertFile: filepath.Join(dir, name+".crt"), KeyFile: filepath.Join(dir, name+".key")}
	certs, key, err := readPair(a.CertFile, a.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("certificate authority %s: %w", name, err)
	}
	if certs != nil {
		a.Certificate, a.Key = certs[0], key
		return a, nil
	}
	if err := a.create(commonName); err != nil {
		return nil, fmt.Errorf("certificate authority %s: %w", name, err)
	}
	return a, nil
}

func (a *Authority) create(commonName string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template, err := newTemplate(pkix.Name{CommonName: commonName}, authorityLife)
	if err != nil {
		return err
	}
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	if a.Certificate, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	a.Key = key
	return writePair(a.CertFile, a.KeyFile, key, a.Certificate)
}

// Profile says what a certificate is for.
type Profile struct {
	// Name of the files, without their ending.
	Name string
	// User and Groups become the common name and the organizations, which is
	// what authentication reads.
	User   string
	Groups []string
	// Hosts are the names and addresses a server answers to; with none, the
	// certificate is a client's only.
	Hosts []string
	// Client is set when a server's certificate is used as a client's too.
	Client bool
}

func (p Profile) usages() []x509.ExtKeyUsage {
	var usages []x509.ExtKeyUsage
	if len(p.Hosts) > 0 {
		usages = append(usages, x509.ExtKeyUsageServerAuth)
	}
	if len(p.Hosts) == 0 || p.Client {
		usages = append(usages, x509.ExtKeyUsageClientAuth)
	}
	return usages
}

// Ensure returns the pair of files in dir for a profile. It issues them anew
// when they are missing, were issued by another authority, are for other
// hosts or users, or are near their end.
func (a *Authority) Ensure(dir string, p Profile) (*KeyPair, error) {
	pair := &KeyPair{CertFile: filepath.Join(dir, p.Name+".crt"), KeyFile: filepath.Join(dir, p.Name+".key")}
	certs, _, err := readPair(pair.CertFile, pair.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", p.Name, err)
	}
	if certs == nil || !a.stillGood(certs[0], p, time.Now()) {
		if err := a.issue(pair, p); err != nil {
			return nil, fmt.Errorf("certificate %s: %w", p.Name, err)
		}
	}
	return pair, pair.load()
}

func (a *Authority) issue(pair *KeyPair, p Profile) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template, err := newTemplate(pkix.Name{CommonName: p.User, Organization: p.Groups}, leafLife)
	if err != nil {
		return err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = p.usages()
	template.DNSNames, template.IPAddresses = splitHosts(p.Hosts)
	if template.NotAfter.After(a.Certificate.NotAfter) {
		template.NotAfter = a.Certificate.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.Certificate, key.Public(), a.Key)
	if err != nil {
		return err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	if len(p.Hosts) > 0 {
		// A server shows its authority too, so that one who knows only the
		// authority's hash can find it.
		return writePair(pair.CertFile, pair.KeyFile, key, cert, a.Certificate)
	}
	return writePair(pair.CertFile, pair.KeyFile, key, cert)
}

// stillGood reports whether a certificate serves the profile for long enough.
func (a *Authority) stillGood(c *x509.Certificate, p Profile, now time.Time) bool {
	if c.CheckSignatureFrom(a.Certificate) != nil || c.Subject.CommonName != p.User || !sameSet(c.Subject.Organization, p.Groups) {
		return false
	}
	var usages []string
	for _, u := range c.ExtKeyUsage {
		usages = append(usages, fmt.Sprint(u))
	}
	var wanted []string
	for _, u := range p.usages() {
		wanted = append(wanted, fmt.Sprint(u))
	}
	return sameSet(usages, wanted) && sameSet(hostsOf(c), p.Hosts) && !nearEnd(c, now)
}

func nearEnd(c *x509.Certificate, now time.Time) bool {
	return now.After(renewalTime(c))
}

func renewalTime(c *x509.Certificate) time.Time {
	return c.NotAfter.Add(-c.NotAfter.Sub(c.NotBefore) / 3)
}

func newTemplate(subject pkix.Name, life time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	return &x509.Certificate{
		SerialNumber: serial, Subject: subject,
		NotBefore: now.Add(-clockSkew), NotAfter: now.Add(life),
	}, nil
}

func splitHosts(hosts []string) (names []string, addresses []net.IP) {
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			addresses = append(addresses, ip)
		} else {
			names = append(names, h)
		}
	}
	return names, addresses
}

func hostsOf(c *x509.Certificate) []string {
	hosts := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		hosts = append(hosts, ip.String())
	}
	return hosts
}

func sameSet(a, b []string) bool {
	in := func(set []string) map[string]bool {
		m := make(map[string]bool, len(set))
		for _, s := range set {
			m[s] = true
		}
		return m
	}
	x, y := in(a), in(b)
	if len(x) != len(y) {
		return false
	}
	for s := range x {
		if !y[s] {
			return false
		}
	}
	return true
}
