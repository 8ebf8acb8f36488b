package bootstraptokens

import (
	"testing"
	"time"

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
	// Computed with openssl over {"alg":"HS256","kid":"abcdef"} and the content.
	if want := "eyJhbGciOiJIUzI1NiIsImtpZCI6ImFiY2RlZiJ9..psz1NayrXM3IaFzKZGsb5n_mBl7MjtlsZ1xE8MRmF_4"; after["jws-kubeconfig-abcdef"] != want {
		t.Errorf("the signature is %s, want %s", after["jws-kubeconfig-abcdef"], want)
	}
	again, err := signed(after, map[string]string{"abcdef": "0123456789abcdef"})
	if err != nil || again["jws-kubeconfig-abcdef"] != after["jws-kubeconfig-abcdef"] {
		t.Errorf("signing again changes the signature: %v", err)
	}
}
