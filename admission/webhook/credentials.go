package webhook

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/transport"
)

// Credentials are how the API server shows webhooks who it is. The zero value
// shows nothing.
type Credentials struct {
	users map[string]*clientcmdapi.AuthInfo
}

// LoadCredentials reads a kubeconfig whose users are named by the servers they
// are for: host:port, host (port 443), *.domain or *.
func LoadCredentials(file string) (Credentials, error) {
	config, err := clientcmd.LoadFromFile(file)
	if err != nil {
		return Credentials{}, err
	}
	if err := clientcmd.ResolveLocalPaths(config); err != nil {
		return Credentials{}, err
	}
	for name, info := range config.AuthInfos {
		if info.Exec != nil || info.AuthProvider != nil {
			return Credentials{}, fmt.Errorf("%s: user %q has an exec or auth provider plugin, which is not supported for webhooks", file, name)
		}
	}
	return Credentials{config.AuthInfos}, nil
}

// identity is what is shown to one server.
type identity struct {
	certificates []tls.Certificate
	authorities  []byte
	wrap         func(http.RoundTripper) http.RoundTripper
}

// For returns what is shown to a server.
func (c Credentials) For(host, port string) (identity, error) {
	out := identity{wrap: func(rt http.RoundTripper) http.RoundTripper { return rt }}
	info := c.find(host, port)
	if info == nil {
		return out, nil
	}
	if info.ClientCertificate != "" || len(info.ClientCertificateData) > 0 {
		certificate, err := keyPair(info)
		if err != nil {
			return out, err
		}
		out.certificates = []tls.Certificate{certificate}
	}
	headers := &transport.Config{
		BearerToken: info.Token, BearerTokenFile: info.TokenFile, Username: info.Username, Password: info.Password,
	}
	if !headers.HasBasicAuth() && !headers.HasTokenAuth() {
		return out, nil
	}
	if headers.HasBasicAuth() && headers.HasTokenAuth() {
		return out, errors.New("username/password or bearer token may be set, but not both")
	}
	out.wrap = func(rt http.RoundTripper) http.RoundTripper {
		if headers.HasBasicAuth() {
			return transport.NewBasicAuthRoundTripper(headers.Username, headers.Password, rt)
		}
		wrapped, err := transport.NewBearerAuthWithRefreshRoundTripper(headers.BearerToken, headers.BearerTokenFile, rt)
		if err != nil {
			return failing{err}
		}
		return wrapped
	}
	return out, nil
}

// find takes the most exact name.
func (c Credentials) find(host, port string) *clientcmdapi.AuthInfo {
	names := []string{host + ":" + port}
	if port == "443" {
		names = append(names, host)
	}
	for rest := host; ; {
		_, tail, more := strings.Cut(rest, ".")
		if !more {
			break
		}
		names, rest = append(names, "*."+tail+":"+port, "*."+tail), tail
	}
	for _, name := range append(names, "*") {
		if info := c.users[name]; info != nil {
			return info
		}
	}
	return nil
}

func keyPair(info *clientcmdapi.AuthInfo) (tls.Certificate, error) {
	certificate, err := dataOf(info.ClientCertificateData, info.ClientCertificate)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := dataOf(info.ClientKeyData, info.ClientKey)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(certificate, key)
}

func dataOf(data []byte, file string) ([]byte, error) {
	if len(data) > 0 {
		return data, nil
	}
	return os.ReadFile(file)
}

type failing struct{ err error }

func (f failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }
