package apiserver

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// continueToken says where a list goes on. It has the shape of Kubernetes'
// tokens, so that paging survives a change of server.
type continueToken struct {
	APIVersion string `json:"v"`
	// Revision of the list, or -1 to go on at the current one.
	Revision int64 `json:"rv"`
	// Start is the next key, relative to the list's folder.
	Start string `json:"start"`
}

const continueVersion = "meta.k8s.io/v1"

func encodeContinue(key, folder string, revision int64) (string, error) {
	start, ok := strings.CutPrefix(key, folder)
	if !ok {
		return "", fmt.Errorf("key %s is not below %s", key, folder)
	}
	raw, err := json.Marshal(continueToken{APIVersion: continueVersion, Revision: revision, Start: start})
	return base64.RawURLEncoding.EncodeToString(raw), err
}

// decodeContinue returns the key to go on from and the revision to read at. A
// token cannot lead out of the folder.
func decodeContinue(token, folder string) (from string, revision int64, err error) {
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return "", 0, fmt.Errorf("continue key is not valid: %w", err)
	}
	var t continueToken
	if err := json.Unmarshal(raw, &t); err != nil {
		return "", 0, fmt.Errorf("continue key is not valid: %w", err)
	}
	switch {
	case t.APIVersion != continueVersion:
		return "", 0, fmt.Errorf("continue key is not valid: server does not recognize this encoded version %q", t.APIVersion)
	case t.Revision == 0 || t.Revision < -1:
		return "", 0, errors.New("continue key is not valid: incorrect encoded start resourceVersion")
	case t.Start == "" || strings.HasPrefix(t.Start, "/") || strings.Contains("/"+t.Start+"/", "/../"):
		return "", 0, errors.New("continue key is not valid: encoded start key empty or invalid")
	}
	return folder + t.Start, t.Revision, nil
}
