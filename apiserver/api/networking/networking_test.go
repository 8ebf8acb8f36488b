package networking

import (
	"testing"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/yare-io/yare/apiserver/api/rowtest"
)

func TestIPAddress(t *testing.T) {
	r := rowtest.Row(t, Resources(), "ipaddresses")
	base := "{metadata: {name: 10.96.0.1}, spec: {parentRef: {resource: services, namespace: default, name: web}}}"
	rowtest.Creates(t, r, base, rowtest.Cases{
		{"nobody's", "spec: {parentRef: null}", []string{"Required spec.parentRef"}},
		{"of what", "spec: {parentRef: {resource: ''}}", []string{"Required spec.parentRef.resource"}},
		{"of whom", "spec: {parentRef: {name: ''}}", []string{"Required spec.parentRef.name"}},
	})
	rowtest.Updates(t, r, &r.Strategy, base, rowtest.Cases{
		{"another's", "spec: {parentRef: {name: other}}", []string{"Invalid spec.parentRef"}},
	})
	for name, ok := range map[string]bool{"10.96.0.1": true, "fd00::1": true, "FD00::1": false, "fd00:0::1": false, "010.0.0.1": false, "x": false, "fe80::1%eth0": false} {
		if m := r.Strategy.ValidName(name, false); (len(m) == 0) != ok {
			t.Errorf("%s: %v", name, m)
		}
	}
}

func TestServiceCIDR(t *testing.T) {
	r := rowtest.Row(t, Resources(), "servicecidrs")
	base := "{metadata: {name: more}, spec: {cidrs: [10.97.0.0/24]}}"
	rowtest.Creates(t, r, base, rowtest.Cases{
		{"none", "spec: {cidrs: []}", []string{"Required spec.cidrs"}},
		{"three", "spec: {cidrs: [10.0.0.0/24, 10.1.0.0/24, 'fd00::/64']}", []string{"TooMany spec.cidrs"}},
		{"of one family", "spec: {cidrs: [10.0.0.0/24, 10.1.0.0/24]}", []string{"Invalid spec.cidrs"}},
		{"host bits", "spec: {cidrs: [10.0.0.1/24]}", []string{"Invalid spec.cidrs[0]"}},
	})
	rowtest.Updates(t, r, &r.Strategy, base, rowtest.Cases{
		{"both families", "spec: {cidrs: [10.97.0.0/24, 'fd00::/64']}", nil},
		{"another", "spec: {cidrs: [10.98.0.0/24]}", []string{"Invalid spec.cidrs[0]"}},
	})
}

func TestNetworkPolicy(t *testing.T) {
	r := rowtest.Row(t, Resources(), "networkpolicies")
	from := func(peer string) string { return "spec: {ingress: [{from: [" + peer + "]}]}" }
	rowtest.Creates(t, r, "{metadata: {name: a, namespace: b}, spec: {podSelector: {}}}", rowtest.Cases{
		{"no peer", from("{}"), []string{"Required spec.ingress[0].from[0]"}},
		{"two kinds of peer", from("{podSelector: {}, ipBlock: {cidr: 10.0.0.0/8}}"), []string{"Forbidden spec.ingress[0].from[0]"}},
		{"no network", from("{ipBlock: {}}"), []string{"Required spec.ingress[0].from[0].ipBlock.cidr"}},
		{"exception outside", from("{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}"), []string{"Invalid spec.ingress[0].from[0].ipBlock.except[0]"}},
		{"exception of all", from("{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}"), []string{"Invalid spec.ingress[0].from[0].ipBlock.except[0]"}},
		{"end before start", "spec: {egress: [{ports: [{port: 80, endPort: 79}]}]}", []string{"Invalid spec.egress[0].ports[0].endPort"}},
		{"end of a name", "spec: {egress: [{ports: [{port: web, endPort: 79}]}]}", []string{"Invalid spec.egress[0].ports[0].endPort"}},
		{"type twice", "spec: {policyTypes: [Ingress, Ingress]}", []string{"Duplicate spec.policyTypes[1]"}},
		{"unknown type", "spec: {policyTypes: [Sideways]}", []string{"NotSupported spec.policyTypes[0]"}},
	})
	p := rowtest.Object(t, r, "{spec: {egress: [{ports: [{port: 53}]}]}}", "").(*networkingv1.NetworkPolicy)
	rowtest.Create(r, p)
	if len(p.Spec.PolicyTypes) != 2 || p.Spec.Egress[0].Ports[0].Protocol == nil {
		t.Errorf("defaults: %+v", p.Spec)
	}
}

func TestIngress(t *testing.T) {
	r := rowtest.Row(t, Resources(), "ingresses")
	backend := "backend: {service: {name: web, port: {number: 80}}}"
	path := func(p string) string { return "spec: {rules: [{http: {paths: [{" + p + "}]}}]}" }
	rowtest.Creates(t, r, "{metadata: {name: a, namespace: b}, spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}}", rowtest.Cases{
		{"nothing", "spec: {defaultBackend: null}", []string{"Invalid spec"}},
		{"address for a host", "spec: {rules: [{host: 10.0.0.1}]}", []string{"Invalid spec.rules[0].host"}},
		{"path without a type", path("path: /, " + backend), []string{"Required spec.rules[0].http.paths[0].pathType"}},
		{"relative path", path("path: a, pathType: Prefix, " + backend), []string{"Invalid spec.rules[0].http.paths[0].path"}},
		{"path that climbs", path("path: /a/../b, pathType: Exact, " + backend), []string{"Invalid spec.rules[0].http.paths[0].path"}},
		{"no paths", "spec: {rules: [{http: {paths: []}}]}", []string{"Required spec.rules[0].http.paths"}},
		{"backend without a port", "spec: {defaultBackend: {service: {port: {number: 0}}}}", []string{"Required spec.defaultBackend"}},
		{"backend with two ports", "spec: {defaultBackend: {service: {port: {name: web}}}}", []string{"Invalid spec.defaultBackend"}},
		{"two backends", "spec: {defaultBackend: {resource: {kind: a, name: b}}}", []string{"Invalid spec.defaultBackend"}},
		{"class named twice", "{metadata: {annotations: {kubernetes.io/ingress.class: x}}, spec: {ingressClassName: y}}", []string{"Invalid annotations.kubernetes.io/ingress.class"}},
	})
}

func TestIngressClass(t *testing.T) {
	r := rowtest.Row(t, Resources(), "ingressclasses")
	base := "{metadata: {name: a}, spec: {controller: example.com/x}}"
	rowtest.Creates(t, r, base, rowtest.Cases{
		{"controller without a domain", "spec: {controller: x}", []string{"Invalid spec.controller"}},
		{"parameters of no name", "spec: {parameters: {kind: K}}", []string{"Required spec.parameters.name"}},
		{"parameters of a namespace", "spec: {parameters: {kind: K, name: n, scope: Namespace}}", []string{"Required spec.parameters.namespace"}},
		{"parameters of the cluster in a namespace", "spec: {parameters: {kind: K, name: n, namespace: m}}", []string{"Forbidden spec.parameters.namespace"}},
	})
	rowtest.Updates(t, r, &r.Strategy, base, rowtest.Cases{{"another controller", "spec: {controller: example.com/y}", []string{"Invalid spec.controller"}}})
}
