package jwt

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/go-jose/go-jose/v4"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/apiserver/reload"
)

// Authenticator authenticates tokens of several issuers, which may change while
// it is in use. It is safe for concurrent use.
type Authenticator struct {
	clock   clock.WithTicker
	own     []string
	algs    []jose.SignatureAlgorithm
	file    string
	data    []byte
	issuers atomic.Pointer[map[string]*issuer]
}

var _ authenticator.Token = (*Authenticator)(nil)

// New authenticates the issuers of a configuration. signing are the accepted
// signatures; nil means all that are safe.
func New(config *apiserver.AuthenticationConfiguration, signing []string, ticks clock.WithTicker) (*Authenticator, error) {
	a := &Authenticator{clock: ticks, algs: algorithms}
	if len(signing) > 0 {
		a.algs = nil
		for _, name := range signing {
			if !known(jose.SignatureAlgorithm(name)) {
				return nil, fmt.Errorf("unsupported signing alg: %q", name)
			}
			a.algs = append(a.algs, jose.SignatureAlgorithm(name))
		}
	}
	return a, a.set(config)
}

func known(alg jose.SignatureAlgorithm) bool {
	for _, a := range algorithms {
		if a == alg {
			return true
		}
	}
	return false
}

// Follow makes Run follow a file, whose content at the start was data; own are
// the issuers that are this server's.
func (a *Authenticator) Follow(file string, data []byte, own []string) {
	a.file, a.data, a.own = file, data, own
}

// Run follows the file until ctx ends. What it says of anonymous requests counts
// from the next start on.
func (a *Authenticator) Run(ctx context.Context, logger *slog.Logger) {
	if a.file == "" {
		return
	}
	reload.File(ctx, a.file, a.data, func(data []byte) error {
		config, err := Parse(data, a.own)
		if err != nil {
			return err
		}
		return a.set(config)
	}, a.clock, logger)
}

func (a *Authenticator) set(config *apiserver.AuthenticationConfiguration) error {
	issuers := map[string]*issuer{}
	for _, j := range config.JWT {
		i, err := newIssuer(j, a.algs, a.clock)
		if err != nil {
			return fmt.Errorf("issuer %s: %w", j.Issuer.URL, err)
		}
		issuers[j.Issuer.URL] = i
	}
	a.issuers.Store(&issuers)
	return nil
}

// AuthenticateToken implements authenticator.Token. Tokens of other issuers are
// nobody's here.
func (a *Authenticator) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	i := (*a.issuers.Load())[claimed(token)]
	if i == nil {
		return nil, false, nil
	}
	return i.AuthenticateToken(ctx, token)
}
