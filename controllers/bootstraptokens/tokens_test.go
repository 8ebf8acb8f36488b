package bootstraptokens

import (
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func token(expiration string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "bootstrap-token-abcdef"},
		Data: map[string][]byte{
			"token-id": []byte("abcdef"), "token-secret": []byte("0123456789abcdef"),
			"usage-bootstrap-signing": []byte("true"), "expiration": []byte(expiration),
		},
	}
}

func TestOnlyValidTokensSign(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for expiration, want := range map[string]bool{"": true, "2026-01-01T13:00:00Z": true, "2026-01-01T12:00:00Z": false, "soon": false} {
		if _, _, ok := signingToken(token(expiration), now); ok != want {
			t.Errorf("a token that expires %q signs: %t", expiration, ok)
		}
	}
	other := token("")
	other.Name = "bootstrap-token-other"
	if _, _, ok := signingToken(other, now); ok {
		t.Error("a token signs whose name is not its id's")
	}
}

func TestSignaturesAreThoseOfThePresentTokens(t *testing.T) {
	data := map[string]string{"kubeconfig": "content", "jws-kubeconfig-gone00": "x"}
	after, err := signed(data, map[string]string{"abcdef": "0123456789abcdef"})
	if err != nil {
		t.Fatal(err)
	}
	if _, stale := after["jws-kubeconfig-gone00"]; stale || after["kubeconfig"] != "content" || len(after) != 2 {
		t.Errorf("data is %v", after)
	}
	jws, err := jose.ParseDetached(after["jws-kubeconfig-abcdef"], []byte("content"), []jose.SignatureAlgorithm{jose.HS256})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jws.Verify([]byte("0123456789abcdef")); err != nil || jws.Signatures[0].Header.KeyID != "abcdef" {
		t.Errorf("the signature does not hold: %v", err)
	}
	again, err := signed(after, map[string]string{"abcdef": "0123456789abcdef"})
	if err != nil || again["jws-kubeconfig-abcdef"] != after["jws-kubeconfig-abcdef"] {
		t.Errorf("signing again changes the signature: %v", err)
	}
}
