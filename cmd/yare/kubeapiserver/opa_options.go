package kubeapiserver

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"
)

// OPAOptions are what the flags about OPA set. The zero value is no OPA.
type OPAOptions struct {
	configFile string
	bundles    []string
	key        string
	stateDir   string
}

// Add declares the flags.
func (o *OPAOptions) Add(flags *pflag.FlagSet) {
	o.AddSources(flags)
	flags.StringVar(&o.stateDir, "opa-state-dir", "", "where the last good policy bundles are kept for the next start (default: opa in the data dir)")
}

// AddSources declares the flags that say where policies come from.
func (o *OPAOptions) AddSources(flags *pflag.FlagSet) {
	flags.StringVar(&o.configFile, "opa-config-file", "", "OPA's configuration: services, bundles, discovery, keys, decision_logs, status; plugins.kubernetes_admission has the settings of admission")
	flags.StringSliceVar(&o.bundles, "opa-bundle", nil, "policies to decide on requests by: a directory, a bundle file, an OCI layout, or the HTTP(S) URL of a bundle")
	flags.StringVar(&o.key, "opa-bundle-verification-key", "", "PEM file with the public key by which every --opa-bundle must be signed")
}

func (o *OPAOptions) enabled() bool { return o.configFile != "" || len(o.bundles) > 0 }

// flagKey names the key of --opa-bundle-verification-key in the configuration:
// what opa build calls the key it signs with.
const flagKey = "default"

// Config is OPA's configuration in YAML: the file, and in it what the flags say.
func (o *OPAOptions) Config() ([]byte, error) {
	config := map[string]any{}
	if o.configFile != "" {
		raw, err := os.ReadFile(o.configFile)
		if err != nil {
			return nil, fmt.Errorf("--opa-config-file: %w", err)
		}
		if err := yaml.UnmarshalStrict(raw, &config); err != nil {
			return nil, fmt.Errorf("--opa-config-file %s: %w", o.configFile, err)
		}
	}
	if o.key != "" {
		if len(o.bundles) == 0 {
			return nil, errors.New("--opa-bundle-verification-key is for --opa-bundle, and there is none")
		}
		raw, err := os.ReadFile(o.key)
		if err != nil {
			return nil, fmt.Errorf("--opa-bundle-verification-key: %w", err)
		}
		if err := put(config, "keys", flagKey, map[string]any{"key": string(raw)}); err != nil {
			return nil, err
		}
	}
	for i, location := range o.bundles {
		if err := o.addBundle(config, fmt.Sprintf("opa-bundle-%d", i+1), location); err != nil {
			return nil, fmt.Errorf("--opa-bundle %s: %w", location, err)
		}
	}
	return yaml.Marshal(config)
}

// addBundle adds a bundle, and the service that it comes from.
func (o *OPAOptions) addBundle(config map[string]any, name, location string) error {
	bundle := map[string]any{}
	if o.key != "" {
		bundle["signing"] = map[string]any{"keyid": flagKey}
	}
	if strings.HasPrefix(location, "http://") || strings.HasPrefix(location, "https://") {
		u, err := url.Parse(location)
		if err != nil {
			return err
		}
		bundle["service"], bundle["resource"] = name, strings.TrimPrefix(path.Clean(u.EscapedPath()), "/")
		if err := put(config, "services", name, map[string]any{"url": u.Scheme + "://" + u.Host}); err != nil {
			return err
		}
	} else {
		file, err := filepath.Abs(location)
		if err != nil {
			return err
		}
		if _, err := os.Stat(file); err != nil {
			return err
		}
		bundle["resource"] = (&url.URL{Scheme: "file", Path: file}).String()
		if _, err := os.Stat(filepath.Join(file, "oci-layout")); err == nil {
			bundle["resource"] = "oci-layout://" + file
		}
	}
	return put(config, "bundles", name, bundle)
}

// put sets an entry of a section of the configuration.
func put(config map[string]any, section, name string, value any) error {
	if config[section] == nil {
		config[section] = map[string]any{}
	}
	entries, ok := config[section].(map[string]any)
	if !ok {
		return fmt.Errorf("the configuration's %s must be an object, by name", section)
	}
	if _, taken := entries[name]; taken {
		return fmt.Errorf("the configuration has %s.%s already", section, name)
	}
	entries[name] = value
	return nil
}
