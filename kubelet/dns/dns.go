// Package dns decides which name servers, search paths and options a pod's resolv.conf holds, and what its
// hosts file says. Pure functions over the node's own resolv.conf and the pod's spec.
package dns

import (
	"os"
	"strings"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	maxServers  = 3
	maxSearches = 32
)

// Config is what the node knows about name resolution.
type Config struct {
	ClusterDNS    []string
	ClusterDomain string
	// ResolverFile is the resolv.conf that pods inherit from; empty means none.
	ResolverFile string
}

// ForPod returns the pod's resolver configuration. Fallback is true if the pod wants the cluster's DNS and there is none.
func (c *Config) ForPod(pod *v1.Pod) (config *runtimeapi.DNSConfig, fallback bool, err error) {
	host, err := c.readHost()
	if err != nil {
		return nil, false, err
	}
	policy := pod.Spec.DNSPolicy
	if policy == v1.DNSClusterFirst && pod.Spec.HostNetwork {
		policy = v1.DNSDefault
	}
	switch {
	case policy == v1.DNSNone:
		config = &runtimeapi.DNSConfig{}
	case policy == v1.DNSDefault:
		config = host
	case len(c.ClusterDNS) == 0:
		config, fallback = host, true
	default:
		config = &runtimeapi.DNSConfig{
			Servers:  c.ClusterDNS,
			Searches: append(c.searches(pod.Namespace), host.Searches...),
			Options:  []string{"ndots:5"},
		}
	}
	return limit(merge(config, pod.Spec.DNSConfig)), fallback, nil
}

func (c *Config) searches(namespace string) []string {
	if c.ClusterDomain == "" {
		return nil
	}
	return []string{namespace + ".svc." + c.ClusterDomain, "svc." + c.ClusterDomain, c.ClusterDomain}
}

// merge adds what the pod's spec asks for. An option given twice keeps its place and takes the pod's value.
func merge(config *runtimeapi.DNSConfig, extra *v1.PodDNSConfig) *runtimeapi.DNSConfig {
	out := &runtimeapi.DNSConfig{Servers: config.Servers, Searches: config.Searches, Options: config.Options}
	if extra == nil {
		return out
	}
	out.Servers = unique(config.Servers, extra.Nameservers)
	out.Searches = unique(config.Searches, extra.Searches)
	for _, option := range extra.Options {
		text := option.Name
		if option.Value != nil && *option.Value != "" {
			text += ":" + *option.Value
		}
		out.Options = setOption(out.Options, option.Name, text)
	}
	return out
}

func setOption(options []string, name, text string) []string {
	out := append([]string(nil), options...)
	for i, old := range out {
		if key, _, _ := strings.Cut(old, ":"); key == name {
			out[i] = text
			return out
		}
	}
	return append(out, text)
}

func unique(lists ...[]string) []string {
	seen, out := map[string]bool{}, []string(nil)
	for _, list := range lists {
		for _, s := range list {
			if !seen[s] {
				seen[s] = true
				out = append(out, s)
			}
		}
	}
	return out
}

func limit(config *runtimeapi.DNSConfig) *runtimeapi.DNSConfig {
	config.Servers = config.Servers[:min(len(config.Servers), maxServers)]
	config.Searches = config.Searches[:min(len(config.Searches), maxSearches)]
	return config
}

func (c *Config) readHost() (*runtimeapi.DNSConfig, error) {
	if c.ResolverFile == "" {
		return &runtimeapi.DNSConfig{}, nil
	}
	data, err := os.ReadFile(c.ResolverFile)
	if os.IsNotExist(err) {
		return &runtimeapi.DNSConfig{}, nil
	}
	if err != nil {
		return nil, err
	}
	return Parse(string(data)), nil
}

// Parse reads a resolv.conf. Lines it does not know are skipped, as resolvers do.
func Parse(text string) *runtimeapi.DNSConfig {
	config := &runtimeapi.DNSConfig{}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 || strings.HasPrefix(fields[0], "#") || strings.HasPrefix(fields[0], ";") {
			continue
		}
		switch fields[0] {
		case "nameserver":
			config.Servers = append(config.Servers, fields[1])
		case "search":
			config.Searches = nil
			for _, s := range fields[1:] {
				if s != "." {
					s = strings.TrimSuffix(s, ".")
				}
				config.Searches = append(config.Searches, s)
			}
		case "options":
			config.Options = append(config.Options, fields[1:]...)
		}
	}
	return config
}
