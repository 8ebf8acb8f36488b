package authn

import (
	"context"
	"crypto/sha256"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
)

// staticTokens maps the hash of each token to its user, so that the time of a
// look-up tells nothing about the tokens.
type staticTokens map[[sha256.Size]byte]*user.DefaultInfo

func loadTokenFile(path string) (staticTokens, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return parseTokens(file)
}

// parseTokens reads lines of token,name,uid[,"group,group"].
func parseTokens(source io.Reader) (staticTokens, error) {
	tokens := staticTokens{}
	reader := csv.NewReader(source)
	reader.FieldsPerRecord = -1
	for {
		record, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return tokens, nil
		}
		if err != nil {
			return nil, err
		}
		line, _ := reader.FieldPos(0)
		if len(record) < 3 {
			return nil, fmt.Errorf("line %d: need token, user name and user uid, got %d columns", line, len(record))
		}
		if record[0] == "" {
			return nil, fmt.Errorf("line %d: empty token", line)
		}
		info := &user.DefaultInfo{Name: record[1], UID: record[2]}
		if len(record) > 3 {
			for _, group := range strings.Split(record[3], ",") {
				if group = strings.TrimSpace(group); group != "" {
					info.Groups = append(info.Groups, group)
				}
			}
		}
		tokens[sha256.Sum256([]byte(record[0]))] = info
	}
}

func (t staticTokens) AuthenticateToken(_ context.Context, token string) (*authenticator.Response, bool, error) {
	info, ok := t[sha256.Sum256([]byte(token))]
	if !ok {
		return nil, false, nil
	}
	return &authenticator.Response{User: info}, true, nil
}
