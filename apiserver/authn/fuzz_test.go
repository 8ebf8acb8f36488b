package authn

import (
	"strings"
	"testing"
)

func FuzzParseTokens(f *testing.F) {
	f.Add("one,alice,1,\"dev,ops\"\n")
	f.Add("a,b\n\"")
	f.Fuzz(func(t *testing.T, content string) {
		tokens, err := parseTokens(strings.NewReader(content))
		if err != nil && tokens != nil {
			t.Error("tokens of a broken file were kept")
		}
		if _, ok, _ := tokens.AuthenticateToken(t.Context(), ""); ok {
			t.Error("no token is a token")
		}
	})
}

func FuzzProtocolToken(f *testing.F) {
	f.Add("base64url.bearer.authorization.k8s.io.b25l, v5.channel.k8s.io")
	f.Add(",,")
	f.Fuzz(func(t *testing.T, header string) {
		token, others, err := protocolToken([]string{header})
		if err == nil && token != "" && len(others) == 0 {
			t.Error("a token without another protocol was taken")
		}
		for _, other := range others {
			if err == nil && strings.HasPrefix(other, protocolPrefix) {
				t.Errorf("the token would go further in %q", other)
			}
		}
	})
}

func FuzzBearerToken(f *testing.F) {
	f.Add("Bearer one")
	f.Fuzz(func(t *testing.T, header string) {
		if token, ok := bearerToken(header); ok && (token == "" || strings.ContainsAny(token, " ")) {
			t.Errorf("%q gave %q", header, token)
		}
	})
}
