// Package config reads AdmissionConfiguration files: the settings of admission
// plugins, in Kubernetes' kinds. It refuses what it does not know; what the
// settings mean is the plugins' matter.
package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	psload "k8s.io/pod-security-admission/admission/api/load"
	"sigs.k8s.io/yaml"

	"github.com/yare-io/yare/admission/builtin"
	"github.com/yare-io/yare/admission/policy"
	"github.com/yare-io/yare/admission/webhook"
)

// Config is all that a file says.
type Config struct {
	Builtin              builtin.Config
	Mutating, Validating webhook.Credentials
}

// group is that of the kinds that are the server's own.
const group = "apiserver.config.k8s.io/v1"

// file is an AdmissionConfiguration.
type file struct {
	metav1.TypeMeta `json:",inline"`
	Plugins         []plugin `json:"plugins"`
}

type plugin struct {
	Name          string          `json:"name"`
	Path          string          `json:"path,omitempty"`
	Configuration json.RawMessage `json:"configuration,omitempty"`
}

// readers take the settings of one plugin each.
var readers = map[string]func(data []byte, into *Config) error{
	webhook.MutatingName:       func(data []byte, into *Config) (err error) { into.Mutating, err = credentials(data); return err },
	webhook.ValidatingName:     func(data []byte, into *Config) (err error) { into.Validating, err = credentials(data); return err },
	"PodSecurity":              podSecurity,
	"EventRateLimit":           eventRateLimits,
	"PodNodeSelector":          nodeSelectors,
	"PodTolerationRestriction": tolerations,
	"ResourceQuota":            quota,
}

// Load reads a file; an empty name means no settings.
func Load(name string) (*Config, error) {
	config := &Config{}
	if name == "" {
		return config, nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	if err := config.read(data, filepath.Dir(name)); err != nil {
		return nil, fmt.Errorf("admission configuration %s: %w", name, err)
	}
	return config, nil
}

func (c *Config) read(data []byte, folder string) error {
	var f file
	if err := decode(data, &f, &f.TypeMeta, group, "AdmissionConfiguration"); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, p := range f.Plugins {
		read, known := readers[p.Name]
		switch {
		case p.Name == policy.MutatingName || p.Name == policy.ValidatingName:
			return fmt.Errorf("plugin %s: its only setting, staticManifestsDir, a beta feature of Kubernetes, is not supported: make policies through the API", p.Name)
		case !known:
			return fmt.Errorf("plugin %q has no settings, or there is no such plugin", p.Name)
		case seen[p.Name]:
			return fmt.Errorf("plugin %q is given twice", p.Name)
		}
		seen[p.Name] = true
		settings, err := p.settings(folder)
		if err == nil {
			err = read(settings, c)
		}
		if err != nil {
			return fmt.Errorf("plugin %s: %w", p.Name, err)
		}
	}
	return nil
}

// settings are embedded, or in a file of their own; paths are relative to the
// configuration.
func (p plugin) settings(folder string) ([]byte, error) {
	if len(p.Configuration) > 0 {
		return p.Configuration, nil
	}
	if p.Path == "" {
		return nil, fmt.Errorf("configuration or path is needed")
	}
	if !filepath.IsAbs(p.Path) {
		return os.ReadFile(filepath.Join(folder, p.Path))
	}
	return os.ReadFile(p.Path)
}

// decode reads YAML or JSON of one kind; unknown fields are errors.
func decode(data []byte, into any, meta *metav1.TypeMeta, apiVersion, kind string) error {
	if err := yaml.UnmarshalStrict(data, into); err != nil {
		return err
	}
	if meta.APIVersion != apiVersion || meta.Kind != kind {
		return fmt.Errorf("it is %s %s, and %s %s is needed", meta.APIVersion, meta.Kind, apiVersion, kind)
	}
	return nil
}

func credentials(data []byte) (webhook.Credentials, error) {
	var c struct {
		metav1.TypeMeta    `json:",inline"`
		KubeConfigFile     string `json:"kubeConfigFile"`
		StaticManifestsDir string `json:"staticManifestsDir"`
	}
	if err := decode(data, &c, &c.TypeMeta, group, "WebhookAdmissionConfiguration"); err != nil {
		return webhook.Credentials{}, err
	}
	if c.StaticManifestsDir != "" {
		return webhook.Credentials{}, errors.New("staticManifestsDir, a beta feature of Kubernetes, is not supported: make the configurations through the API")
	}
	return webhook.LoadCredentials(c.KubeConfigFile)
}

func podSecurity(data []byte, into *Config) (err error) {
	into.Builtin.PodSecurity, err = psload.LoadFromData(data)
	return err
}

func eventRateLimits(data []byte, into *Config) error {
	var c struct {
		metav1.TypeMeta `json:",inline"`
		Limits          []struct {
			Type      string `json:"type"`
			QPS       int32  `json:"qps"`
			Burst     int32  `json:"burst"`
			CacheSize int32  `json:"cacheSize,omitempty"`
		} `json:"limits"`
	}
	if err := decode(data, &c, &c.TypeMeta, "eventratelimit.admission.k8s.io/v1alpha1", "Configuration"); err != nil {
		return err
	}
	for _, l := range c.Limits {
		into.Builtin.EventRateLimits = append(into.Builtin.EventRateLimits, builtin.EventRateLimit(l))
	}
	return nil
}

// clusterDefault is the one key of PodNodeSelector's settings that is no
// namespace.
const clusterDefault = "clusterDefaultNodeSelector"

func nodeSelectors(data []byte, into *Config) error {
	var c struct {
		Selectors map[string]string `json:"podNodeSelectorPluginConfig"`
	}
	if err := yaml.UnmarshalStrict(data, &c); err != nil {
		return err
	}
	into.Builtin.NodeSelectors.ClusterDefault = c.Selectors[clusterDefault]
	delete(c.Selectors, clusterDefault)
	into.Builtin.NodeSelectors.Namespaces = c.Selectors
	return nil
}

func tolerations(data []byte, into *Config) error {
	var c struct {
		metav1.TypeMeta `json:",inline"`
		Default         []corev1.Toleration `json:"default"`
		Whitelist       []corev1.Toleration `json:"whitelist"`
	}
	if err := decode(data, &c, &c.TypeMeta, "podtolerationrestriction.admission.k8s.io/v1alpha1", "Configuration"); err != nil {
		return err
	}
	into.Builtin.Tolerations = builtin.Tolerations{Default: c.Default, Allowed: c.Whitelist}
	return nil
}

func quota(data []byte, into *Config) error {
	var c struct {
		metav1.TypeMeta  `json:",inline"`
		LimitedResources []builtin.LimitedResource `json:"limitedResources"`
	}
	if err := decode(data, &c, &c.TypeMeta, group, "ResourceQuotaConfiguration"); err != nil {
		return err
	}
	into.Builtin.LimitedResources = c.LimitedResources
	return nil
}
