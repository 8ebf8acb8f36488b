package bootstrap

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"

	"github.com/yare-io/yare/apiserver/authn"
)

const authenticationConfig = "extension-apiserver-authentication"

// ensureAuthenticationConfig publishes what an aggregated API server needs to
// authenticate its callers. What other API servers have published stays, as in
// Kubernetes: while authorities change, callers of both are believed.
func ensureAuthenticationConfig(ctx context.Context, client kubernetes.Interface, options Options) error {
	wanted, err := authenticationData(options.ClientCA, options.Proxies)
	if err != nil {
		return err
	}
	configs := client.CoreV1().ConfigMaps(metav1.NamespaceSystem)
	_, err = configs.Create(ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: authenticationConfig, Namespace: metav1.NamespaceSystem}, Data: wanted,
	}, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		return created("config map "+authenticationConfig, err)
	}
	err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		found, err := configs.Get(ctx, authenticationConfig, metav1.GetOptions{})
		if err != nil || !addTo(found, wanted) {
			return err
		}
		_, err = configs.Update(ctx, found, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("config map %s: %w", authenticationConfig, err)
	}
	return nil
}

// authenticationData is what one API server publishes.
func authenticationData(clients *authn.CABundle, proxies *authn.RequestHeader) (map[string]string, error) {
	data := map[string]string{}
	if clients != nil {
		data["client-ca-file"] = string(clients.PEM())
	}
	if proxies == nil {
		return data, nil
	}
	headers := proxies.WithDefaults()
	data["requestheader-client-ca-file"] = string(headers.CA.PEM())
	for key, names := range map[string][]string{
		"requestheader-allowed-names":        headers.AllowedNames,
		"requestheader-username-headers":     headers.UsernameHeaders,
		"requestheader-uid-headers":          headers.UIDHeaders,
		"requestheader-group-headers":        headers.GroupHeaders,
		"requestheader-extra-headers-prefix": headers.ExtraHeaderPrefixes,
	} {
		text, err := json.Marshal(append([]string{}, names...))
		if err != nil {
			return nil, err
		}
		data[key] = string(text)
	}
	return data, nil
}

// addTo adds to what is published, and reports whether that changed it.
func addTo(published *corev1.ConfigMap, wanted map[string]string) bool {
	before := maps.Clone(published.Data)
	if published.Data == nil {
		published.Data = map[string]string{}
	}
	for key, value := range wanted {
		old, there := published.Data[key]
		switch {
		case !there:
			published.Data[key] = value
		case key == "client-ca-file" || key == "requestheader-client-ca-file":
			published.Data[key] = joinCertificates(old, value)
		default:
			published.Data[key] = joinNames(old, value)
		}
	}
	return !maps.Equal(before, published.Data)
}

// joinCertificates adds those of one PEM bundle that another lacks.
func joinCertificates(to, from string) string {
	out := []byte(to)
	for block, rest := pem.Decode([]byte(from)); block != nil; block, rest = pem.Decode(rest) {
		text := pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes})
		if !bytes.Contains(out, bytes.TrimSpace(text)) {
			if len(out) > 0 && out[len(out)-1] != '\n' {
				out = append(out, '\n')
			}
			out = append(out, text...)
		}
	}
	return string(out)
}

// joinNames joins two JSON lists of strings. An empty one allows all names, and
// what is no list is replaced.
func joinNames(to, from string) string {
	var old, more []string
	if json.Unmarshal([]byte(to), &old) != nil || json.Unmarshal([]byte(from), &more) != nil {
		return from
	}
	if len(old) == 0 || len(more) == 0 {
		return "[]"
	}
	for _, name := range more {
		if !slices.Contains(old, name) {
			old = append(old, name)
		}
	}
	text, err := json.Marshal(old)
	if err != nil {
		return from
	}
	return string(text)
}
