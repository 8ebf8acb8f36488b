package authn

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"unicode/utf8"

	"k8s.io/apiserver/pkg/authentication/authenticator"
)

var errBadToken = errors.New("invalid bearer token")

// bearer authenticates by the Authorization header, which it removes once it
// has been used, so that it goes no further.
type bearer struct{ tokens authenticator.Token }

func (b *bearer) AuthenticateRequest(request *http.Request) (*authenticator.Response, bool, error) {
	token, ok := bearerToken(request.Header.Get("Authorization"))
	if !ok {
		return nil, false, nil
	}
	response, ok, err := b.tokens.AuthenticateToken(request.Context(), token)
	if ok && err == nil {
		request.Header.Del("Authorization")
		return response, true, nil
	}
	if err == nil {
		err = errBadToken
	}
	return nil, false, err
}

// bearerToken knows the header's scheme in any case. What follows must be one
// word.
func bearerToken(header string) (string, bool) {
	scheme, token, found := strings.Cut(strings.TrimSpace(header), " ")
	if !found || !strings.EqualFold(scheme, "bearer") {
		return "", false
	}
	token = strings.TrimLeft(token, " ")
	if token, _, _ = strings.Cut(token, " "); token == "" {
		return "", false
	}
	return token, true
}

// protocolPrefix marks the WebSocket subprotocol that carries a token, for
// browsers, which cannot set the Authorization header.
const protocolPrefix = "base64url.bearer.authorization.k8s.io."

const protocolHeader = "Sec-Websocket-Protocol"

// webSocketBearer authenticates by a subprotocol, which it removes.
type webSocketBearer struct{ tokens authenticator.Token }

func (b *webSocketBearer) AuthenticateRequest(request *http.Request) (*authenticator.Response, bool, error) {
	if !isWebSocket(request) {
		return nil, false, nil
	}
	token, others, err := protocolToken(request.Header[protocolHeader])
	if err != nil || token == "" {
		return nil, false, err
	}
	response, ok, err := b.tokens.AuthenticateToken(request.Context(), token)
	if ok && err == nil {
		request.Header.Set(protocolHeader, strings.Join(others, ","))
		return response, true, nil
	}
	if err == nil {
		err = errBadToken
	}
	return nil, false, err
}

func isWebSocket(request *http.Request) bool {
	return strings.EqualFold(request.Header.Get("Upgrade"), "websocket") &&
		strings.Contains(strings.ToLower(request.Header.Get("Connection")), "upgrade")
}

// protocolToken finds the token among the subprotocols. There may be one at
// most, and something must remain for the server to choose.
func protocolToken(headers []string) (token string, others []string, err error) {
	for _, header := range headers {
		for _, protocol := range strings.Split(header, ",") {
			protocol = strings.TrimSpace(protocol)
			encoded, carries := strings.CutPrefix(protocol, protocolPrefix)
			if !carries {
				others = append(others, protocol)
				continue
			}
			if token != "" {
				return "", nil, errors.New("multiple base64.bearer.authorization tokens specified")
			}
			decoded, err := base64.RawURLEncoding.DecodeString(encoded)
			if err != nil || len(decoded) == 0 || !utf8.Valid(decoded) {
				return "", nil, errors.New("invalid base64.bearer.authorization token encoding")
			}
			token = string(decoded)
		}
	}
	if token != "" && len(others) == 0 {
		return "", nil, errors.New("missing additional subprotocol")
	}
	return token, others, nil
}
