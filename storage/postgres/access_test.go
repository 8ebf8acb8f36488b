package postgres_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/yare-io/yare/storage/postgres"
	"github.com/yare-io/yare/storage/postgres/postgrestest"
)

// certify writes NAME.crt and NAME.key into a directory, signed by an authority
// that is written to ca.crt there.
func certify(t *testing.T, dir string, address net.IP, names ...string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	write := func(file, kind string, der []byte) {
		t.Helper()
		must(os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	der, err := x509.CreateCertificate(rand.Reader, authority, authority, &authorityKey.PublicKey, authorityKey)
	must(err)
	write("ca.crt", "CERTIFICATE", der)
	for i, name := range names {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(err)
		certificate := &x509.Certificate{
			SerialNumber: big.NewInt(int64(2 + i)), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
			IPAddresses: []net.IP{address}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}
		der, err := x509.CreateCertificate(rand.Reader, certificate, authority, &key.PublicKey, authorityKey)
		must(err)
		write(name+".crt", "CERTIFICATE", der)
		der, err = x509.MarshalECPrivateKey(key)
		must(err)
		write(name+".key", "EC PRIVATE KEY", der)
	}
}

// guarded is a server that lets roles in over TLS only: plain by its password,
// certified by its certificate. It returns its address and where the certificates
// are.
func guarded(t *testing.T, password string) (address net.IP, dir string) {
	t.Helper()
	address = net.IPv4(127, byte(os.Getpid()%200)+20, 250, 1)
	server := postgrestest.New(t, "listen_addresses="+address.String())
	dir = filepath.Join(server.Dir(), "data")
	certify(t, dir, address, "server", "certified")
	owner, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	ids := owner.Sys().(*syscall.Stat_t)
	hba := filepath.Join(dir, "pg_hba.conf")
	rules, err := os.ReadFile(hba)
	err = errors.Join(err,
		os.WriteFile(hba, append([]byte("hostssl all plain all scram-sha-256\nhostssl all certified all cert\nhostnossl all plain,certified all reject\n"), rules...), 0o600))
	for _, name := range []string{"server.crt", "server.key", "ca.crt"} {
		err = errors.Join(err, os.Chown(filepath.Join(dir, name), int(ids.Uid), int(ids.Gid)))
	}
	if err != nil {
		t.Fatal(err)
	}
	admin := direct(t, server.URL(""))
	execute(t, admin, `CREATE ROLE plain LOGIN PASSWORD '`+password+`'`, `CREATE SCHEMA AUTHORIZATION plain`,
		`CREATE ROLE certified LOGIN`, `CREATE SCHEMA AUTHORIZATION certified`,
		`ALTER SYSTEM SET ssl = on`, `ALTER SYSTEM SET ssl_ca_file = 'ca.crt'`, `SELECT pg_reload_conf()`)
	return address, dir
}

// TestURLsSayWhoAsksAndWhomTheyTrust has passwords, certificates and authorities
// in URLs as libpq takes them.
func TestURLsSayWhoAsksAndWhomTheyTrust(t *testing.T) {
	t.Parallel()
	const password = "p@ss/w:rd?"
	address, dir := guarded(t, password)
	other := t.TempDir()
	certify(t, other, address)
	passfile := filepath.Join(t.TempDir(), "pgpass")
	if err := os.WriteFile(passfile, []byte(fmt.Sprintf("*:*:*:plain:%s\n", strings.ReplaceAll(password, ":", `\:`))), 0o600); err != nil {
		t.Fatal(err)
	}
	at := func(user *url.Userinfo, parameters ...string) string {
		query := url.Values{"search_path": {user.Username()}}
		for i := 0; i < len(parameters); i += 2 {
			query.Set(parameters[i], parameters[i+1])
		}
		return (&url.URL{Scheme: "postgres", User: user, Host: address.String(), Path: "/postgres", RawQuery: query.Encode()}).String()
	}
	verified := []string{"sslmode", "verify-full", "sslrootcert", filepath.Join(dir, "ca.crt")}
	for name, c := range map[string]struct {
		url string
		ok  bool
	}{
		"password":             {at(url.UserPassword("plain", password), verified...), true},
		"password in a file":   {at(url.User("plain"), append(verified, "passfile", passfile)...), true},
		"wrong password":       {at(url.UserPassword("plain", "secret-typo"), verified...), false},
		"no password":          {at(url.User("plain"), append(verified, "passfile", filepath.Join(other, "none"))...), false},
		"no TLS":               {at(url.UserPassword("plain", password), "sslmode", "disable"), false},
		"an unknown authority": {at(url.UserPassword("plain", password), "sslmode", "verify-full", "sslrootcert", filepath.Join(other, "ca.crt")), false},
		"certificate": {at(url.User("certified"), append(verified,
			"sslcert", filepath.Join(dir, "certified.crt"), "sslkey", filepath.Join(dir, "certified.key"))...), true},
		"another's certificate": {at(url.User("certified"), append(verified,
			"sslcert", filepath.Join(dir, "server.crt"), "sslkey", filepath.Join(dir, "server.key"))...), false},
	} {
		t.Run(name, func(t *testing.T) {
			store, err := postgres.Open(t.Context(), postgres.Config{URL: c.url})
			if err == nil {
				defer store.Close()
				_, err = store.Create(t.Context(), "/"+name, nil, 0)
			}
			if (err == nil) != c.ok {
				t.Errorf("got %v", err)
			}
			if err != nil && (strings.Contains(err.Error(), "secret-typo") || strings.Contains(err.Error(), password)) {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}
