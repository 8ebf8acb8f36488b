package dns_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/yare-io/yare/kubelet/dns"
)

func config(t *testing.T, cluster ...string) *dns.Config {
	path := t.TempDir() + "/resolv.conf"
	text := "# comment\nnameserver 192.0.2.1\nsearch example.com. corp\noptions timeout:1\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return &dns.Config{ClusterDNS: cluster, ClusterDomain: "cluster.local", ResolverFile: path}
}

func TestPolicies(t *testing.T) {
	cases := []struct {
		name                     string
		cluster                  string
		spec                     v1.PodSpec
		servers, search, options string
		fallback                 bool
	}{
		{"ClusterFirst", "10.96.0.10", v1.PodSpec{DNSPolicy: v1.DNSClusterFirst}, "10.96.0.10",
			"ns.svc.cluster.local svc.cluster.local cluster.local example.com corp", "ndots:5", false},
		{"ClusterFirst without a cluster's DNS", "", v1.PodSpec{DNSPolicy: v1.DNSClusterFirst}, "192.0.2.1", "example.com corp", "timeout:1", true},
		{"ClusterFirst on the host network", "10.96.0.10", v1.PodSpec{DNSPolicy: v1.DNSClusterFirst, HostNetwork: true}, "192.0.2.1", "example.com corp", "timeout:1", false},
		{"ClusterFirstWithHostNet", "10.96.0.10", v1.PodSpec{DNSPolicy: v1.DNSClusterFirstWithHostNet, HostNetwork: true}, "10.96.0.10",
			"ns.svc.cluster.local svc.cluster.local cluster.local example.com corp", "ndots:5", false},
		{"Default", "10.96.0.10", v1.PodSpec{DNSPolicy: v1.DNSDefault}, "192.0.2.1", "example.com corp", "timeout:1", false},
		{"None", "10.96.0.10", v1.PodSpec{DNSPolicy: v1.DNSNone, DNSConfig: &v1.PodDNSConfig{Nameservers: []string{"192.0.2.9"}}}, "192.0.2.9", "", "", false},
		{"own additions", "10.96.0.10", v1.PodSpec{DNSPolicy: v1.DNSClusterFirst, DNSConfig: &v1.PodDNSConfig{Nameservers: []string{"192.0.2.9", "10.96.0.10"},
			Searches: []string{"mine"}, Options: []v1.PodDNSConfigOption{{Name: "ndots", Value: new("2")}, {Name: "edns0"}}}}, "10.96.0.10 192.0.2.9",
			"ns.svc.cluster.local svc.cluster.local cluster.local example.com corp mine", "ndots:2 edns0", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, fallback, err := config(t, strings.Fields(c.cluster)...).ForPod(&v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns"}, Spec: c.spec})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got.Servers, strings.Fields(c.servers)) || !slices.Equal(got.Searches, strings.Fields(c.search)) ||
				!slices.Equal(got.Options, strings.Fields(c.options)) || fallback != c.fallback {
				t.Errorf("got %v, fallback %v", got, fallback)
			}
		})
	}
}

func TestHostnames(t *testing.T) {
	c := &dns.Config{ClusterDomain: "cluster.local"}
	long := strings.Repeat("a", 62) + "-bcd"
	cases := []struct {
		pod          v1.Pod
		name, domain string
	}{
		{v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-1"}}, "web-1", ""},
		{v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: long}}, strings.Repeat("a", 62), ""},
		{v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-1", Namespace: "ns"}, Spec: v1.PodSpec{Hostname: "h", Subdomain: "sub"}}, "h", "sub.ns.svc.cluster.local"},
		{v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-1", Namespace: "ns"}, Spec: v1.PodSpec{Subdomain: "sub", SetHostnameAsFQDN: new(true)}},
			"web-1.sub.ns.svc.cluster.local", "sub.ns.svc.cluster.local"},
		{v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-1"}, Spec: v1.PodSpec{HostNetwork: true}}, "node", ""},
	}
	for _, c2 := range cases {
		name, domain, err := c.Hostname(&c2.pod, "node")
		if err != nil || name != c2.name || domain != c2.domain {
			t.Errorf("%s: got %q %q %v, want %q %q", c2.pod.Name, name, domain, err, c2.name, c2.domain)
		}
	}
}

func TestHostsFile(t *testing.T) {
	pod := &v1.Pod{Spec: v1.PodSpec{HostAliases: []v1.HostAlias{{IP: "1.2.3.4", Hostnames: []string{"a", "b"}}}}}
	got := dns.Hosts(pod, []string{"10.0.0.1"}, "web", "sub.ns.svc.cluster.local", "")
	for _, line := range []string{"127.0.0.1\tlocalhost\n", "10.0.0.1\tweb.sub.ns.svc.cluster.local\tweb\n", "1.2.3.4\ta\tb\n"} {
		if !strings.Contains(got, line) {
			t.Errorf("%q is missing in:\n%s", line, got)
		}
	}
	pod.Spec.HostNetwork = true
	if got := dns.Hosts(pod, nil, "web", "", "9.9.9.9 nine\n"); !strings.Contains(got, "9.9.9.9 nine\n") || strings.Contains(got, "localhost") {
		t.Errorf("host network:\n%s", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("nameserver 1.1.1.1\nsearch a b.\noptions x\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, s := range dns.Parse(text).Servers {
			if strings.ContainsAny(s, " \t\n") {
				t.Errorf("server %q", s)
			}
		}
	})
}
