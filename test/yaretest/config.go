package yaretest

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"

	"k8s.io/client-go/rest"

	"github.com/yare-io/yare/cmd/yare/pki"
)

// configBy is a client's configuration with a certificate. The certificate is
// in the configuration itself: of one in a file, clients would watch the file
// for ever.
func (s *Server) configBy(pair *pki.KeyPair) (*rest.Config, error) {
	config := &rest.Config{Host: s.url(), QPS: -1} // the server's flow control decides
	config.CAData = s.keys.CA.PEM()
	var err error
	if config.CertData, err = os.ReadFile(pair.CertFile); err != nil {
		return nil, err
	}
	config.KeyData, err = os.ReadFile(pair.KeyFile)
	return config, err
}

func (s *Server) url() string { return "https://" + s.api.Addr().String() }

// fileName tells users apart in the names of files, whatever theirs are.
func fileName(name string, groups []string) string {
	sum := sha256.Sum256([]byte(name + "\x00" + strings.Join(groups, "\x00")))
	return hex.EncodeToString(sum[:8])
}
