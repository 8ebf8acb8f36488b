package authn

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/utils/clock"
)

// RequestHeader trusts a front proxy that shows a client certificate of its
// own CA, and takes the user from headers the proxy sets.
type RequestHeader struct {
	// CA verifies the proxy; never the CA of ordinary clients. Required.
	CA *CABundle
	// AllowedNames are the common names of proxies; empty: any that CA signed.
	AllowedNames []string
	// UsernameHeaders and the rest are header names, most wanted first.
	// Defaults: X-Remote-User, X-Remote-Uid, X-Remote-Group, X-Remote-Extra-.
	UsernameHeaders, UIDHeaders, GroupHeaders, ExtraHeaderPrefixes []string
}

type requestHeader struct {
	config RequestHeader
	clock  clock.PassiveClock
}

func newRequestHeader(config RequestHeader, now clock.PassiveClock) (*requestHeader, error) {
	if config.CA == nil {
		return nil, errors.New("front proxy authentication needs a CA")
	}
	return &requestHeader{config: config.WithDefaults(), clock: now}, nil
}

// WithDefaults names the headers that are not named.
func (c RequestHeader) WithDefaults() RequestHeader {
	for headers, fallback := range map[*[]string]string{
		&c.UsernameHeaders:     "X-Remote-User",
		&c.UIDHeaders:          "X-Remote-Uid",
		&c.GroupHeaders:        "X-Remote-Group",
		&c.ExtraHeaderPrefixes: "X-Remote-Extra-",
	} {
		if len(*headers) == 0 {
			*headers = []string{fallback}
		}
	}
	return c
}

func (h *requestHeader) AuthenticateRequest(request *http.Request) (*authenticator.Response, bool, error) {
	name := firstHeader(request.Header, h.config.UsernameHeaders)
	if name == "" || request.TLS == nil || len(request.TLS.PeerCertificates) == 0 {
		return nil, false, nil
	}
	chain := request.TLS.PeerCertificates
	if err := verifyClient(chain, h.config.CA, h.clock); err != nil {
		return nil, false, err
	}
	if len(h.config.AllowedNames) > 0 && !slices.Contains(h.config.AllowedNames, chain[0].Subject.CommonName) {
		return nil, false, errors.New("x509: subject with cn=" + chain[0].Subject.CommonName + " is not in the allowed list")
	}
	info := &user.DefaultInfo{
		Name:   name,
		UID:    firstHeader(request.Header, h.config.UIDHeaders),
		Groups: allHeaders(request.Header, h.config.GroupHeaders),
		Extra:  extraHeaders(request.Header, h.config.ExtraHeaderPrefixes),
	}
	h.strip(request.Header)
	return &authenticator.Response{User: info}, true, nil
}

// strip removes the identity, so that nothing behind mistakes it for news.
func (h *requestHeader) strip(headers http.Header) {
	for _, name := range slices.Concat(h.config.UsernameHeaders, h.config.UIDHeaders, h.config.GroupHeaders) {
		headers.Del(name)
	}
	for name := range headers {
		if _, ok := extraKey(name, h.config.ExtraHeaderPrefixes); ok {
			delete(headers, name)
		}
	}
}

func firstHeader(headers http.Header, names []string) string {
	for _, name := range names {
		if value := headers.Get(name); value != "" {
			return value
		}
	}
	return ""
}

func allHeaders(headers http.Header, names []string) []string {
	var values []string
	for _, name := range names {
		for _, value := range headers.Values(name) {
			if value != "" {
				values = append(values, value)
			}
		}
	}
	return values
}

func extraHeaders(headers http.Header, prefixes []string) map[string][]string {
	var extra map[string][]string
	for name, values := range headers {
		key, ok := extraKey(name, prefixes)
		if !ok {
			continue
		}
		if extra == nil {
			extra = map[string][]string{}
		}
		extra[key] = append(extra[key], values...)
	}
	return extra
}

// extraKey is the rest of a header name after a prefix: lower case, and
// unescaped where it is percent-encoded.
func extraKey(name string, prefixes []string) (string, bool) {
	for _, prefix := range prefixes {
		if len(name) <= len(prefix) || !strings.EqualFold(name[:len(prefix)], prefix) {
			continue
		}
		key := strings.ToLower(name[len(prefix):])
		if unescaped, err := url.PathUnescape(key); err == nil {
			key = unescaped
		}
		return key, true
	}
	return "", false
}
