package controlplane

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/yare-io/yare/cmd/yare/pki"
)

func newCluster(t *testing.T) (*pki.Cluster, Token) {
	t.Helper()
	keys, err := pki.LoadCluster(t.TempDir(), []string{"localhost"})
	if err != nil {
		t.Fatal(err)
	}
	token, err := NewToken(keys.CA.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	return keys, token
}

func TestTokenIsReadAsItWasWritten(t *testing.T) {
	keys, token := newCluster(t)
	read, err := ParseToken(token.String() + "\n")
	if err != nil || read != token {
		t.Fatalf("%v became %v, %v", token, read, err)
	}
	other, _ := newCluster(t)
	if !read.For(keys.CA.Certificate) || read.For(other.CA.Certificate) {
		t.Error("the token does not know its authority")
	}
	whole := token.String()
	for _, bad := range []string{"", token.Bootstrap, whole[:len(whole)-1], whole + ".x", strings.Replace(whole, ".", "", 1), strings.ToUpper(whole)} {
		if _, err := ParseToken(bad); !errors.Is(err, errToken) {
			t.Errorf("%q is taken for a token: %v", bad, err)
		}
	}
}

func TestKeysGoFromServerToServer(t *testing.T) {
	keys, _ := newCluster(t)
	if _, err := keys.Etcd([]string{"10.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	var shared Shared
	if err := shared.ReadKeys(keys.Dir); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "pki")
	if err := shared.WriteKeys(dir); err != nil {
		t.Fatal(err)
	}
	second, err := pki.LoadCluster(dir, []string{"localhost"})
	if err != nil {
		t.Fatal(err)
	}
	pairs, err := second.Etcd([]string{"10.0.0.2"})
	if err != nil {
		t.Fatal(err)
	}
	if !second.CA.Certificate.Equal(keys.CA.Certificate) || pairs.Peer.Certificate().Leaf.CheckSignatureFrom(pairs.CA.Certificate) != nil {
		t.Error("the second server has keys of its own")
	}
	if pairs.Client.Certificate().Leaf.CheckSignatureFrom(keys.CA.Certificate) == nil {
		t.Error("the cluster's main authority, which signs for anybody, vouches for clients of etcd")
	}
	for name := range shared.Keys {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
	shared.Keys["../evil"] = nil
	if err := shared.WriteKeys(t.TempDir()); err == nil {
		t.Error("a file of any name was written")
	}
}

func TestSecretOpensWithTheTokenOnly(t *testing.T) {
	_, token := newCluster(t)
	secret := &corev1.Secret{}
	if err := update(secret, token, []byte("keys"), Shared{Members: map[string]string{"a": "https://10.0.0.1:2379"}}); err != nil {
		t.Fatal(err)
	}
	sealed := secret.Data[sealedKey]
	if data, err := token.open(sealed); err != nil || string(data) != "keys" || strings.Contains(string(sealed), "keys") {
		t.Fatalf("sealed as %q, opened as %q %v", sealed, data, err)
	}
	if err := update(secret, token, []byte("keys"), Shared{}); err != nil || string(secret.Data[sealedKey]) != string(sealed) || len(secret.Data) != 3 {
		t.Errorf("nothing was to change: %v, %d entries", err, len(secret.Data))
	}
	_, foreign := newCluster(t)
	if _, err := foreign.open(sealed); err == nil {
		t.Error("another token opens it")
	}
	if err := update(secret, foreign, []byte("other"), Shared{}); !errors.Is(err, errOthers) {
		t.Errorf("another cluster's keys were replaced: %v", err)
	}
}

func TestSettingsMustAgree(t *testing.T) {
	shared := Shared{Settings: map[string]string{"--cluster-cidr": "10.244.0.0/16", "datastore": "x"}}
	if err := shared.Differs(map[string]string{"--cluster-cidr": "10.244.0.0/16", "datastore": "x"}); err != nil {
		t.Error(err)
	}
	if err := shared.Differs(map[string]string{"--cluster-cidr": "10.0.0.0/16", "datastore": "x"}); err == nil || !strings.Contains(err.Error(), "--cluster-cidr") {
		t.Errorf("got %v", err)
	}
}
