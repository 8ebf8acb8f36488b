package dns

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// Hostname returns the pod's host name and, if it is part of a subdomain, the domain behind it.
func (c *Config) Hostname(pod *v1.Pod, node string) (hostname, domain string, err error) {
	if pod.Spec.HostnameOverride != nil {
		return *pod.Spec.HostnameOverride, "", nil
	}
	if pod.Spec.HostNetwork {
		return node, "", nil
	}
	hostname = truncate(pod.Name)
	if pod.Spec.Hostname != "" {
		hostname = pod.Spec.Hostname
	}
	if pod.Spec.Subdomain != "" {
		domain = pod.Spec.Subdomain + "." + pod.Namespace + ".svc." + c.ClusterDomain
	}
	if pod.Spec.SetHostnameAsFQDN != nil && *pod.Spec.SetHostnameAsFQDN && domain != "" {
		full := hostname + "." + domain
		if len(full) > 64 {
			return "", "", fmt.Errorf("failed to construct FQDN from pod hostname and cluster domain, FQDN %s is too long (64 characters is the max, %d characters requested)", full, len(full))
		}
		return full, domain, nil
	}
	return hostname, domain, nil
}

// truncate cuts a pod's name to what the kernel takes as a host name.
func truncate(name string) string {
	const most = 63
	if len(name) <= most {
		return name
	}
	return strings.TrimRight(name[:most], "-.")
}

const managedHosts = `# Kubernetes-managed hosts file.
127.0.0.1	localhost
::1	localhost ip6-localhost ip6-loopback
fe00::0	ip6-localnet
fe00::0	ip6-mcastprefix
fe00::1	ip6-allnodes
fe00::2	ip6-allrouters
`

// Hosts returns the pod's hosts file. NodeHosts is the node's own, for pods in its network.
func Hosts(pod *v1.Pod, ips []string, hostname, domain, nodeHosts string) string {
	var out strings.Builder
	if pod.Spec.HostNetwork {
		out.WriteString("# Kubernetes-managed hosts file (host network).\n" + nodeHosts)
	} else {
		out.WriteString(managedHosts)
		for _, ip := range ips {
			if domain != "" {
				short := strings.TrimSuffix(hostname, "."+domain)
				fmt.Fprintf(&out, "%s\t%s.%s\t%s\n", ip, short, domain, short)
			} else {
				fmt.Fprintf(&out, "%s\t%s\n", ip, hostname)
			}
		}
	}
	if len(pod.Spec.HostAliases) > 0 {
		out.WriteString("\n# Entries added by HostAliases.\n")
		for _, alias := range pod.Spec.HostAliases {
			fmt.Fprintf(&out, "%s\t%s\n", alias.IP, strings.Join(alias.Hostnames, "\t"))
		}
	}
	return out.String()
}
