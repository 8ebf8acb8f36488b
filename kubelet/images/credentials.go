package images

import (
	"encoding/base64"
	"encoding/json"
	"path"
	"strings"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

type dockerEntry struct {
	Username      string `json:"username"`
	Password      string `json:"password"`
	Auth          string `json:"auth"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

// Credentials returns what the secrets hold for the image's registry, most specific entry of each secret first. Secrets
// that cannot be read are skipped.
func Credentials(secrets []*v1.Secret, image string) []*runtimeapi.AuthConfig {
	var found []*runtimeapi.AuthConfig
	for _, secret := range secrets {
		best, specific := (*runtimeapi.AuthConfig)(nil), -1
		for registry, entry := range entries(secret) {
			location := strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(registry, "https://"), "http://"), "/")
			location = strings.TrimSuffix(strings.TrimSuffix(location, "/v1"), "/v2")
			if matches(location, image) && len(location) > specific {
				best, specific = auth(location, entry), len(location)
			}
		}
		if best != nil {
			found = append(found, best)
		}
	}
	return found
}

func entries(secret *v1.Secret) map[string]dockerEntry {
	switch secret.Type {
	case v1.SecretTypeDockerConfigJson:
		var config struct {
			Auths map[string]dockerEntry `json:"auths"`
		}
		if json.Unmarshal(secret.Data[v1.DockerConfigJsonKey], &config) == nil {
			return config.Auths
		}
	case v1.SecretTypeDockercfg:
		var auths map[string]dockerEntry
		if json.Unmarshal(secret.Data[v1.DockerConfigKey], &auths) == nil {
			return auths
		}
	}
	return nil
}

func auth(location string, e dockerEntry) *runtimeapi.AuthConfig {
	if e.Auth != "" {
		if plain, err := base64.StdEncoding.DecodeString(e.Auth); err == nil {
			e.Username, e.Password, _ = strings.Cut(string(plain), ":")
		}
	}
	return &runtimeapi.AuthConfig{
		Username: e.Username, Password: strings.TrimRight(e.Password, "\x00"),
		IdentityToken: e.IdentityToken, RegistryToken: e.RegistryToken, ServerAddress: location,
	}
}

// matches compares host labels one by one (each may be a glob) and the path by prefix.
func matches(location, image string) bool {
	wantHost, wantPath, _ := strings.Cut(location, "/")
	host, rest := splitImage(image)
	if wantHost == "index.docker.io" || wantHost == "registry-1.docker.io" {
		wantHost = "docker.io"
	}
	want, got := strings.Split(wantHost, "."), strings.Split(host, ".")
	if len(want) != len(got) {
		return false
	}
	for i := range want {
		if ok, err := path.Match(want[i], got[i]); err != nil || !ok {
			return false
		}
	}
	return wantPath == "" || strings.HasPrefix(rest, wantPath)
}

func splitImage(image string) (host, rest string) {
	host, rest, ok := strings.Cut(image, "/")
	if !ok || (!strings.ContainsAny(host, ".:") && host != "localhost") {
		return "docker.io", image
	}
	return host, rest
}
