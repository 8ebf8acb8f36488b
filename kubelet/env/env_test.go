package env_test

import (
	"context"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/yare-io/yare/kubelet/downward"
	"github.com/yare-io/yare/kubelet/env"
)

func TestExpand(t *testing.T) {
	lookup := func(name string) (string, bool) {
		value, ok := map[string]string{"A": "1", "B": "$(A)", "": "empty"}[name]
		return value, ok
	}
	for in, want := range map[string]string{
		"plain": "plain", "$(A)": "1", "x$(A)y$(A)": "x1y1", "$(NO)": "$(NO)", "$$(A)": "$(A)", "$$$(A)": "$1", "$(A": "$(A",
		"$": "$", "a$": "a$", "$A": "$A", "$(B)": "$(A)", "$()": "empty", "$$$$": "$$", "$(A))": "1)",
	} {
		if got := env.Expand(in, lookup); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func FuzzExpand(f *testing.F) {
	f.Add("$(A)$$(B)$(")
	f.Fuzz(func(t *testing.T, s string) {
		out := env.Expand(s, func(string) (string, bool) { return "", false })
		if !strings.Contains(s, "$$") && out != s {
			t.Errorf("%q became %q although nothing is known", s, out)
		}
	})
}

type objects struct{}

func (objects) ConfigMap(_ context.Context, _, name string) (*v1.ConfigMap, error) {
	if name != "cm" {
		return nil, apierrors.NewNotFound(v1.Resource("configmap"), name)
	}
	return &v1.ConfigMap{Data: map[string]string{"k": "from-cm", "SAME": "cm"}}, nil
}

func (objects) Secret(_ context.Context, _, name string) (*v1.Secret, error) {
	if name != "s" {
		return nil, apierrors.NewNotFound(v1.Resource("secret"), name)
	}
	return &v1.Secret{Data: map[string][]byte{"k": []byte("from-secret")}}, nil
}

func source() *env.Source {
	return &env.Source{
		Pod: &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "u", Labels: map[string]string{"app": "web"}},
			Spec: v1.PodSpec{NodeName: "n", ServiceAccountName: "sa"}},
		Addresses:   downward.Addresses{PodIPs: []string{"10.0.0.1", "fd::1"}, HostIPs: []string{"192.168.0.1"}},
		Allocatable: v1.ResourceList{v1.ResourceMemory: resource.MustParse("1Gi")},
		Services:    map[string]string{"DB_SERVICE_HOST": "10.96.0.9", "SAME": "service"},
		Objects:     objects{},
	}
}

func TestSourcesOverrideEachOtherInOrder(t *testing.T) {
	field := func(path string) *v1.EnvVarSource {
		return &v1.EnvVarSource{FieldRef: &v1.ObjectFieldSelector{FieldPath: path}}
	}
	c := &v1.Container{
		EnvFrom: []v1.EnvFromSource{
			{Prefix: "P_", ConfigMapRef: &v1.ConfigMapEnvSource{LocalObjectReference: v1.LocalObjectReference{Name: "cm"}}},
			{ConfigMapRef: &v1.ConfigMapEnvSource{LocalObjectReference: v1.LocalObjectReference{Name: "cm"}}},
			{SecretRef: &v1.SecretEnvSource{LocalObjectReference: v1.LocalObjectReference{Name: "gone"}, Optional: new(true)}},
		},
		Env: []v1.EnvVar{
			{Name: "A", Value: "1"}, {Name: "B", Value: "$(A)-$(DB_SERVICE_HOST)-$(LATER)"}, {Name: "LATER", Value: "x"},
			{Name: "SECRET", ValueFrom: &v1.EnvVarSource{SecretKeyRef: &v1.SecretKeySelector{LocalObjectReference: v1.LocalObjectReference{Name: "s"}, Key: "k"}}},
			{Name: "OPT", ValueFrom: &v1.EnvVarSource{SecretKeyRef: &v1.SecretKeySelector{LocalObjectReference: v1.LocalObjectReference{Name: "s"}, Key: "no", Optional: new(true)}}},
			{Name: "IP", ValueFrom: field("status.podIP")}, {Name: "IPS", ValueFrom: field("status.podIPs")}, {Name: "HOST", ValueFrom: field("status.hostIP")},
			{Name: "APP", ValueFrom: field("metadata.labels['app']")}, {Name: "NODE", ValueFrom: field("spec.nodeName")},
			{Name: "MEM", ValueFrom: &v1.EnvVarSource{ResourceFieldRef: &v1.ResourceFieldSelector{Resource: "limits.memory", Divisor: resource.MustParse("1Mi")}}},
			{Name: "CPU", ValueFrom: &v1.EnvVarSource{ResourceFieldRef: &v1.ResourceFieldSelector{Resource: "requests.cpu", Divisor: resource.MustParse("1m")}}},
		},
		Resources: v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse("250m")}},
	}
	variables, err := source().Make(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	lookup := env.Lookup(variables)
	for name, want := range map[string]string{
		"A": "1", "B": "1-10.96.0.9-$(LATER)", "P_k": "from-cm", "k": "from-cm", "SAME": "cm", "SECRET": "from-secret", "IP": "10.0.0.1",
		"IPS": "10.0.0.1,fd::1", "HOST": "192.168.0.1", "APP": "web", "NODE": "n", "MEM": "1024", "CPU": "250", "DB_SERVICE_HOST": "10.96.0.9",
	} {
		if got, ok := lookup(name); !ok || got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if _, ok := lookup("OPT"); ok {
		t.Error("an optional key that is missing made a variable")
	}
}

func TestMissingSourcesAreSaidInKubernetesWords(t *testing.T) {
	ref := func(name string) v1.LocalObjectReference { return v1.LocalObjectReference{Name: name} }
	for want, c := range map[string]*v1.Container{
		`configmap "no" not found`:                {Env: []v1.EnvVar{{Name: "A", ValueFrom: &v1.EnvVarSource{ConfigMapKeyRef: &v1.ConfigMapKeySelector{LocalObjectReference: ref("no"), Key: "k"}}}}},
		"couldn't find key no in ConfigMap ns/cm": {Env: []v1.EnvVar{{Name: "A", ValueFrom: &v1.EnvVarSource{ConfigMapKeyRef: &v1.ConfigMapKeySelector{LocalObjectReference: ref("cm"), Key: "no"}}}}},
		"couldn't find key no in Secret ns/s":     {Env: []v1.EnvVar{{Name: "A", ValueFrom: &v1.EnvVarSource{SecretKeyRef: &v1.SecretKeySelector{LocalObjectReference: ref("s"), Key: "no"}}}}},
		`secret "no" not found`:                   {EnvFrom: []v1.EnvFromSource{{SecretRef: &v1.SecretEnvSource{LocalObjectReference: ref("no")}}}},
	} {
		if _, err := source().Make(context.Background(), c); err == nil || err.Error() != want {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestServiceVariables(t *testing.T) {
	service := func(namespace, name, ip string, ports ...v1.ServicePort) *v1.Service {
		return &v1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: v1.ServiceSpec{ClusterIP: ip, Ports: ports}}
	}
	all := []*v1.Service{
		service("default", "kubernetes", "10.96.0.1", v1.ServicePort{Name: "https", Port: 443}),
		service("ns", "my-db", "10.96.0.2", v1.ServicePort{Name: "sql", Port: 5432}, v1.ServicePort{Port: 53, Protocol: v1.ProtocolUDP}),
		service("ns", "headless", v1.ClusterIPNone, v1.ServicePort{Port: 1}),
		service("other", "far", "10.96.0.3", v1.ServicePort{Port: 1}),
	}
	got := env.Services(all, "ns", true)
	for name, want := range map[string]string{
		"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443", "KUBERNETES_SERVICE_PORT_HTTPS": "443",
		"MY_DB_SERVICE_HOST": "10.96.0.2", "MY_DB_SERVICE_PORT_SQL": "5432", "MY_DB_PORT": "tcp://10.96.0.2:5432",
		"MY_DB_PORT_53_UDP": "udp://10.96.0.2:53", "MY_DB_PORT_53_UDP_PROTO": "udp", "MY_DB_PORT_53_UDP_ADDR": "10.96.0.2",
	} {
		if got[name] != want {
			t.Errorf("%s: got %q, want %q", name, got[name], want)
		}
	}
	for name := range got {
		if strings.HasPrefix(name, "HEADLESS") || strings.HasPrefix(name, "FAR") {
			t.Errorf("%s should not be there", name)
		}
	}
	if without := env.Services(all, "ns", false); without["MY_DB_PORT"] != "" || without["KUBERNETES_SERVICE_HOST"] == "" {
		t.Errorf("without links: %v", without)
	}
}
