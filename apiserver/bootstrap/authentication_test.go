package bootstrap

import (
	"context"
	"maps"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	certutil "k8s.io/client-go/util/cert"

	"github.com/yare-io/yare/apiserver/authn"
)

func authority(t *testing.T, name string) *authn.CABundle {
	t.Helper()
	cert, _, err := certutil.GenerateSelfSignedCertKey(name, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := authn.NewCABundle(cert)
	if err != nil {
		t.Fatal(err)
	}
	return bundle
}

// TestAuthenticationConfigOfManyServers: servers with different authorities
// and proxies, one after the other, and the first one again.
func TestAuthenticationConfigOfManyServers(t *testing.T) {
	client := fake.NewClientset()
	publish := func(options Options) map[string]string {
		t.Helper()
		if err := ensureAuthenticationConfig(context.Background(), client, options); err != nil {
			t.Fatal(err)
		}
		found, err := client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Get(context.Background(), authenticationConfig, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return found.Data
	}
	clients, old, renewed := authority(t, "clients"), authority(t, "old"), authority(t, "new")

	if got := publish(Options{ClientCA: clients}); !maps.Equal(got, map[string]string{"client-ca-file": string(clients.PEM())}) {
		t.Errorf("without proxies: %v", got)
	}
	first := Options{ClientCA: clients, Proxies: &authn.RequestHeader{CA: old, AllowedNames: []string{"a"}}}
	publish(first)
	both := publish(Options{ClientCA: clients, Proxies: &authn.RequestHeader{CA: renewed, AllowedNames: []string{"b"}, UsernameHeaders: []string{"X-User"}}})
	want := map[string]string{
		"client-ca-file":                     string(clients.PEM()),
		"requestheader-client-ca-file":       string(old.PEM()) + string(renewed.PEM()),
		"requestheader-allowed-names":        `["a","b"]`,
		"requestheader-username-headers":     `["X-Remote-User","X-User"]`,
		"requestheader-uid-headers":          `["X-Remote-Uid"]`,
		"requestheader-group-headers":        `["X-Remote-Group"]`,
		"requestheader-extra-headers-prefix": `["X-Remote-Extra-"]`,
	}
	if !maps.Equal(both, want) {
		t.Errorf("got %v, want %v", both, want)
	}
	if again := publish(first); !maps.Equal(again, want) {
		t.Errorf("the first server again: %v", again)
	}
	if all := publish(Options{Proxies: &authn.RequestHeader{CA: old}}); all["requestheader-allowed-names"] != "[]" {
		t.Errorf("with a server that allows all names: %s", all["requestheader-allowed-names"])
	}
}
