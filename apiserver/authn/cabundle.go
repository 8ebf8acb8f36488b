package authn

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"
)

// CABundle is a set of certificate authorities that may be replaced while it
// is in use. It is safe for concurrent use.
type CABundle struct {
	file    string
	current atomic.Pointer[caContent]
}

type caContent struct {
	pem  []byte
	pool *x509.CertPool
}

// NewCABundle parses PEM certificates, of which there must be one at least.
func NewCABundle(data []byte) (*CABundle, error) {
	b := &CABundle{}
	if err := b.Set(data); err != nil {
		return nil, err
	}
	return b, nil
}

// LoadCABundle reads a file; Run follows its changes.
func LoadCABundle(file string) (*CABundle, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading CA bundle: %w", err)
	}
	b, err := NewCABundle(data)
	if err != nil {
		return nil, fmt.Errorf("CA bundle %s: %w", file, err)
	}
	b.file = file
	return b, nil
}

// Set replaces the authorities. On error the old ones stay.
func (b *CABundle) Set(data []byte) error {
	pool := x509.NewCertPool()
	count := 0
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("parsing CA certificate: %w", err)
		}
		pool.AddCert(certificate)
		count++
	}
	if count == 0 {
		return errors.New("no CA certificate found")
	}
	b.current.Store(&caContent{pem: bytes.Clone(data), pool: pool})
	return nil
}

// PEM returns the certificates as they were given; do not change it.
func (b *CABundle) PEM() []byte { return b.current.Load().pem }

// Pool returns the current authorities, as tls.Config.ClientCAs wants them; do
// not change it.
func (b *CABundle) Pool() *x509.CertPool { return b.current.Load().pool }

// Run reads the file again every interval until ctx ends. A bad file is
// logged, and the last good content stays.
func (b *CABundle) Run(ctx context.Context, interval time.Duration, ticks clock.WithTicker, logger *slog.Logger) {
	ticker := ticks.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
			if err := b.reload(); err != nil {
				logger.Warn("CA bundle not reloaded", "file", b.file, "err", err)
			}
		}
	}
}

func (b *CABundle) reload() error {
	if b.file == "" {
		return nil
	}
	data, err := os.ReadFile(b.file)
	if err != nil {
		return err
	}
	if bytes.Equal(data, b.PEM()) {
		return nil
	}
	return b.Set(data)
}
