package hostile

import (
	"net/http"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/yare-io/yare/test/cluster"
)

// strangers are clients without a certificate, with tokens of no one.
func strangers(t *testing.T, node *cluster.Node) {
	client, err := rest.HTTPClientFor(rest.AnonymousClientConfig(node.Config()))
	if err != nil {
		t.Fatal(err)
	}
	stranger := &target{url: node.URL(), client: client}
	for name, token := range map[string]string{
		"of nobody":      strings.Repeat("x", 5000),
		"of nonsense":    "a.b.c",
		"without a key":  "eyJhbGciOiJub25lIn0.eyJzdWIiOiJzeXN0ZW06YWRtaW4ifQ.",
		"of binary":      "\xff\xfe",
		"of two commas":  "a,b,c",
		"of a bootstrap": "abcdef.0123456789abcdef",
		"with a tab":     "a\tb",
	} {
		t.Run("token "+name, func(t *testing.T) {
			stranger.endures(t, attack{
				method: http.MethodGet, path: victim, header: http.Header{"Authorization": {"Bearer " + token}}, code: http.StatusUnauthorized,
			})
		})
	}
	t.Run("nothing at all", func(t *testing.T) {
		stranger.endures(t, attack{method: http.MethodGet, path: victim, code: http.StatusUnauthorized})
	})
}
