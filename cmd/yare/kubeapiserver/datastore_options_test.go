package kubeapiserver

import (
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/yare-io/yare/storage/etcd"
)

func TestDatastoreFilesBecomeParametersOfTheURL(t *testing.T) {
	got, err := withTLS("postgres://u:p%40ss@db/yare?pool_max_conns=4", etcd.TLS{CA: "/ca", Cert: "/c", Key: "/k"})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := url.Parse(got)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"sslrootcert": "/ca", "sslcert": "/c", "sslkey": "/k", "sslmode": "verify-full", "pool_max_conns": "4",
	} {
		if value := parsed.Query().Get(name); value != want {
			t.Errorf("%s is %q, want %q", name, value, want)
		}
	}
	if password, _ := parsed.User.Password(); password != "p@ss" {
		t.Errorf("the password became %q", password)
	}
}

func TestDatastoreErrorsDoNotTellThePassword(t *testing.T) {
	for _, endpoint := range []string{"mysql://u:secret@db", "postgres://u:secret@db:port/x?a=%zz"} {
		o := Datastore{Endpoint: endpoint, TLS: etcd.TLS{CA: "/ca"}}
		_, err := o.Open(t.Context(), slog.New(slog.DiscardHandler))
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
}

func TestOneDatastoreOnly(t *testing.T) {
	for _, o := range []Options{
		{StorageBackend: "etcd3", EtcdServers: []string{"http://127.0.0.1:1"}, Datastore: Datastore{Endpoint: "http://127.0.0.1:1"}},
		{StorageBackend: "memory", Datastore: Datastore{Endpoint: "http://127.0.0.1:1"}},
	} {
		if _, err := o.openStore(t.Context(), slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%+v was accepted", o.Datastore)
		}
	}
}

func TestCompactionIntervalIsTheFlags(t *testing.T) {
	for given, want := range map[string]time.Duration{"5m0s": 5 * time.Minute, "1m": time.Minute, "0": -1} {
		o := &Options{}
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		o.Add(flags)
		args := []string{"--etcd-servers=http://127.0.0.1:1", "--etcd-compaction-interval=" + given}
		if err := flags.Parse(args); err != nil {
			t.Fatal(err)
		}
		config, _, err := o.etcdConfig()
		if err != nil || config.CompactionInterval != want {
			t.Errorf("%s: %s %v", given, config.CompactionInterval, err)
		}
	}
}
