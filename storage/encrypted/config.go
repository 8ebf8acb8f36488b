package encrypted

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	apiserverv1 "k8s.io/apiserver/pkg/apis/apiserver/v1"
	"sigs.k8s.io/yaml"
)

const (
	configKind    = "EncryptionConfiguration"
	configVersion = "apiserver.config.k8s.io/v1"
	// defaultKMSTimeout is that of Kubernetes.
	defaultKMSTimeout = 3 * time.Second
)

// parse reads a configuration and refuses what Kubernetes refuses.
func parse(data []byte) (*apiserverv1.EncryptionConfiguration, error) {
	config := &apiserverv1.EncryptionConfiguration{}
	if err := yaml.UnmarshalStrict(data, config); err != nil {
		return nil, err
	}
	if config.Kind != configKind || config.APIVersion != configVersion {
		return nil, fmt.Errorf("want kind %s of %s, not %q of %q", configKind, configVersion, config.Kind, config.APIVersion)
	}
	if len(config.Resources) == 0 {
		return nil, errors.New("resources: at least one entry is needed")
	}
	services := map[string]bool{}
	for i := range config.Resources {
		if err := check(&config.Resources[i], services); err != nil {
			return nil, fmt.Errorf("resources[%d]: %w", i, err)
		}
	}
	return config, nil
}

func check(entry *apiserverv1.ResourceConfiguration, services map[string]bool) error {
	if len(entry.Resources) == 0 {
		return errors.New("resources: name at least one")
	}
	if len(entry.Providers) == 0 {
		return errors.New("providers: name at least one")
	}
	for _, name := range entry.Resources {
		if err := checkResource(name, entry.Resources); err != nil {
			return err
		}
	}
	for i, p := range entry.Providers {
		if err := checkProvider(p, services); err != nil {
			return fmt.Errorf("providers[%d]: %w", i, err)
		}
	}
	return nil
}

// checkResource refuses a name that means nothing, and one that another in the
// same list covers already.
func checkResource(name string, all []string) error {
	resource := schema.ParseGroupResource(name)
	switch {
	case name == "*":
		return errors.New("resources: use '*.' for all of the core group or '*.*' for all")
	case name == "" || resource.Resource == "":
		return fmt.Errorf("resources: %q names no resource", name)
	case strings.ToLower(name) != name:
		return fmt.Errorf("resources: %q must be in lower case", name)
	case strings.Contains(resource.Group, "*") && name != "*.*":
		return fmt.Errorf("resources: %q: a wildcard group goes with a wildcard resource only", name)
	case strings.Contains(name, "/"):
		return fmt.Errorf("resources: %q: subresources are kept with their resource", name)
	case resource.Group == "extensions":
		return fmt.Errorf("resources: %q: nothing is stored in the group extensions", name)
	}
	seen := 0
	for _, other := range all {
		o := schema.ParseGroupResource(other)
		if other == name {
			seen++
			continue
		}
		if other == "*.*" || o.Resource == "*" && o.Group == resource.Group && resource.Resource != "*" {
			return fmt.Errorf("resources: %q is covered by %q", name, other)
		}
	}
	if seen > 1 {
		return fmt.Errorf("resources: %q is there twice", name)
	}
	return nil
}

func checkProvider(p apiserverv1.ProviderConfiguration, services map[string]bool) error {
	kinds := 0
	for _, given := range []bool{p.AESGCM != nil, p.AESCBC != nil, p.Secretbox != nil, p.Identity != nil, p.KMS != nil} {
		if given {
			kinds++
		}
	}
	switch {
	case kinds != 1:
		return fmt.Errorf("want one of identity, aesgcm, aescbc, secretbox and kms, got %d", kinds)
	case p.KMS != nil:
		return checkService(p.KMS, services)
	case p.AESGCM != nil:
		return checkKeys("aesgcm", p.AESGCM.Keys, 16, 24, 32)
	case p.AESCBC != nil:
		return checkKeys("aescbc", p.AESCBC.Keys, 16, 24, 32)
	case p.Secretbox != nil:
		return checkKeys("secretbox", p.Secretbox.Keys, 32)
	}
	return nil
}

func checkKeys(kind string, keys []apiserverv1.Key, sizes ...int) error {
	if len(keys) == 0 {
		return fmt.Errorf("%s: name at least one key", kind)
	}
	names := map[string]bool{}
	for _, key := range keys {
		if key.Name == "" || strings.Contains(key.Name, ":") || names[key.Name] {
			return fmt.Errorf("%s: the name of a key must be unique and without a colon, not %q", kind, key.Name)
		}
		names[key.Name] = true
		secret, err := secretOf(key)
		if err != nil {
			return fmt.Errorf("%s: key %q: %w", kind, key.Name, err)
		}
		if !slices.Contains(sizes, len(secret)) {
			return fmt.Errorf("%s: key %q has %d bytes, want one of %v", kind, key.Name, len(secret), sizes)
		}
	}
	return nil
}

// checkService also fills in what is left to defaults. A service may be named
// for several resources, but not under two meanings.
func checkService(k *apiserverv1.KMSConfiguration, services map[string]bool) error {
	if k.Timeout == nil {
		k.Timeout = &v1Duration{Duration: defaultKMSTimeout}
	}
	switch {
	case k.APIVersion != "v2":
		return fmt.Errorf("kms %q: apiVersion must be v2, not %q: version 1 is not supported", k.Name, k.APIVersion)
	case k.Name == "" || strings.Contains(k.Name, ":"):
		return fmt.Errorf("kms: the name must be there and without a colon, not %q", k.Name)
	case services[k.Name]:
		return fmt.Errorf("kms: there are two of the name %q", k.Name)
	case k.CacheSize != nil:
		return fmt.Errorf("kms %q: cachesize has no meaning with v2", k.Name)
	case !strings.HasPrefix(k.Endpoint, "unix://"):
		return fmt.Errorf("kms %q: endpoint must be unix:///PATH, not %q", k.Name, k.Endpoint)
	case k.Timeout.Duration <= 0:
		return fmt.Errorf("kms %q: timeout must be above zero", k.Name)
	}
	services[k.Name] = true
	return nil
}
