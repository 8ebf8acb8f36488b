package env

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// Services returns the variables that point a pod in namespace at services: the API server's always, and its own
// namespace's if links is set. Services without a cluster address are left out.
func Services(services []*v1.Service, namespace string, links bool) map[string]string {
	env := map[string]string{}
	for _, s := range services {
		if s.Spec.ClusterIP == "" || s.Spec.ClusterIP == v1.ClusterIPNone {
			continue
		}
		if s.Namespace == metaDefault && s.Name == "kubernetes" {
			addService(env, s)
		}
	}
	for _, s := range services {
		if links && s.Namespace == namespace && s.Spec.ClusterIP != "" && s.Spec.ClusterIP != v1.ClusterIPNone {
			addService(env, s)
		}
	}
	return env
}

const metaDefault = "default"

func addService(env map[string]string, s *v1.Service) {
	if len(s.Spec.Ports) == 0 {
		return
	}
	prefix := variableName(s.Name)
	ip := s.Spec.ClusterIP
	env[prefix+"_SERVICE_HOST"] = ip
	env[prefix+"_SERVICE_PORT"] = strconv.Itoa(int(s.Spec.Ports[0].Port))
	for i, p := range s.Spec.Ports {
		port, protocol := strconv.Itoa(int(p.Port)), string(p.Protocol)
		if protocol == "" {
			protocol = string(v1.ProtocolTCP)
		}
		if p.Name != "" {
			env[prefix+"_SERVICE_PORT_"+variableName(p.Name)] = port
		}
		url := strings.ToLower(protocol) + "://" + net.JoinHostPort(ip, port)
		if i == 0 {
			env[prefix+"_PORT"] = url
		}
		link := fmt.Sprintf("%s_PORT_%s_%s", prefix, port, strings.ToUpper(protocol))
		env[link] = url
		env[link+"_PROTO"] = strings.ToLower(protocol)
		env[link+"_PORT"] = port
		env[link+"_ADDR"] = ip
	}
}

func variableName(name string) string {
	return strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}
