// Package controlplane lets a server join the control plane of others. What all
// of them share, the keys of the cluster above all, lies in a secret of
// kube-system, sealed with a key that only the join token has: whoever reads the
// store cannot use it.
package controlplane

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	bootstraputil "k8s.io/cluster-bootstrap/token/util"
)

// Token is what a server joins with: it authenticates it to the API, opens what
// the servers share, and says which authority to believe.
type Token struct {
	// Bootstrap is a bootstrap token of Kubernetes, as abcdef.0123456789abcdef.
	Bootstrap string
	key       [32]byte
	authority [sha256.Size]byte
}

var errToken = errors.New("this is no token for servers: it is in the file join-server of another server's data dir, and has four parts with dots between")

// NewToken makes a token for a cluster with an authority.
func NewToken(authority *x509.Certificate) (Token, error) {
	bootstrap, err := bootstraputil.GenerateBootstrapToken()
	if err != nil {
		return Token{}, err
	}
	t := Token{Bootstrap: bootstrap, authority: sha256.Sum256(authority.RawSubjectPublicKeyInfo)}
	_, err = rand.Read(t.key[:])
	return t, err
}

// ParseToken reads what String wrote.
func ParseToken(text string) (Token, error) {
	parts := strings.Split(strings.TrimSpace(text), ".")
	if len(parts) != 4 || !bootstraputil.IsValidBootstrapToken(parts[0]+"."+parts[1]) {
		return Token{}, errToken
	}
	t := Token{Bootstrap: parts[0] + "." + parts[1]}
	for i, to := range [][]byte{t.key[:], t.authority[:]} {
		data, err := base64.RawURLEncoding.DecodeString(parts[2+i])
		if err != nil || len(data) != len(to) {
			return Token{}, errToken
		}
		copy(to, data)
	}
	return t, nil
}

// String is the whole token, which is a secret.
func (t Token) String() string {
	return strings.Join([]string{t.Bootstrap, base64.RawURLEncoding.EncodeToString(t.key[:]), base64.RawURLEncoding.EncodeToString(t.authority[:])}, ".")
}

// AuthorityHash is the hash of the authority's public key, as kubeadm writes it.
func (t Token) AuthorityHash() string { return "sha256:" + hex.EncodeToString(t.authority[:]) }

// For tells whether the token is of a cluster with this authority.
func (t Token) For(authority *x509.Certificate) bool {
	return t.authority == sha256.Sum256(authority.RawSubjectPublicKeyInfo)
}

func (t Token) cipher() (cipher.AEAD, error) {
	block, err := aes.NewCipher(t.key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func (t Token) seal(data []byte) ([]byte, error) {
	aead, err := t.cipher()
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, nil, data, t.authority[:]), nil
}

func (t Token) open(sealed []byte) ([]byte, error) {
	aead, err := t.cipher()
	if err != nil {
		return nil, err
	}
	data, err := aead.Open(nil, nil, sealed, t.authority[:])
	if err != nil {
		return nil, fmt.Errorf("the token does not open what the servers share: %w", err)
	}
	return data, nil
}
