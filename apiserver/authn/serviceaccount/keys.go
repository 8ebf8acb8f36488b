package serviceaccount

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// Keys are the public keys that tokens are verified with. A Keys is immutable;
// to rotate, give the Verifier a new one.
type Keys struct {
	jwks []jose.JSONWebKey
	byID map[string]jose.JSONWebKey
}

// NewKeys takes RSA and ECDSA public keys. Keys given twice count once.
func NewKeys(keys ...crypto.PublicKey) (*Keys, error) {
	k := &Keys{byID: map[string]jose.JSONWebKey{}}
	for _, key := range keys {
		jwk, err := publicJWK(key)
		if err != nil {
			return nil, err
		}
		if _, known := k.byID[jwk.KeyID]; known {
			continue
		}
		k.byID[jwk.KeyID] = jwk
		k.jwks = append(k.jwks, jwk)
	}
	return k, nil
}

// ParsePublicKeys reads all public keys of a PEM file: PUBLIC KEY, RSA PUBLIC
// KEY and CERTIFICATE blocks, and the public halves of private keys.
func ParsePublicKeys(data []byte) ([]crypto.PublicKey, error) {
	var keys []crypto.PublicKey
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		key, err := parseBlock(block)
		if err != nil {
			return nil, fmt.Errorf("PEM block %q: %w", block.Type, err)
		}
		switch key := key.(type) {
		case nil:
		case crypto.Signer:
			keys = append(keys, key.Public())
		default:
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("no public key found")
	}
	return keys, nil
}

// ParsePrivateKey reads the first RSA or ECDSA private key of a PEM file.
func ParsePrivateKey(data []byte) (crypto.Signer, error) {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		key, err := parseBlock(block)
		if err != nil {
			return nil, fmt.Errorf("PEM block %q: %w", block.Type, err)
		}
		if signer, ok := key.(crypto.Signer); ok {
			return signer, nil
		}
	}
	return nil, errors.New("no private key found")
}

// parseBlock returns a crypto.Signer for private keys, else a public key, or
// nil for blocks that hold no key.
func parseBlock(block *pem.Block) (any, error) {
	switch block.Type {
	case "RSA PRIVATE KEY":
		return x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		return x509.ParseECPrivateKey(block.Bytes)
	case "PRIVATE KEY":
		return x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "CERTIFICATE":
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return certificate.PublicKey, nil
	}
	return nil, nil
}

// candidates are the keys that may have signed a token with this key id: the
// one it names, or all when it names none or one of another scheme.
func (k *Keys) candidates(id string) []jose.JSONWebKey {
	if key, ok := k.byID[id]; ok {
		return []jose.JSONWebKey{key}
	}
	if id == "" {
		return k.jwks
	}
	return nil
}

func (k *Keys) algorithms() []string {
	var names []string
	for _, jwk := range k.jwks {
		if !slices.Contains(names, jwk.Algorithm) {
			names = append(names, jwk.Algorithm)
		}
	}
	return names
}

func publicJWK(key crypto.PublicKey) (jose.JSONWebKey, error) {
	algorithm, err := algorithmOf(key)
	if err != nil {
		return jose.JSONWebKey{}, err
	}
	id, err := keyID(key)
	if err != nil {
		return jose.JSONWebKey{}, err
	}
	return jose.JSONWebKey{Key: key, KeyID: id, Algorithm: string(algorithm), Use: "sig"}, nil
}

func algorithmOf(key crypto.PublicKey) (jose.SignatureAlgorithm, error) {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return jose.RS256, nil
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256():
			return jose.ES256, nil
		case elliptic.P384():
			return jose.ES384, nil
		case elliptic.P521():
			return jose.ES512, nil
		}
		return "", fmt.Errorf("unsupported elliptic curve %s", key.Curve.Params().Name)
	}
	return "", fmt.Errorf("unsupported key type %T, need RSA or ECDSA", key)
}

// keyID derives the id from the key itself, so that every server with the same
// key names it alike.
func keyID(key crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", fmt.Errorf("encoding public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}
