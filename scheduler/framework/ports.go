package framework

import v1 "k8s.io/api/core/v1"

const anyAddress = "0.0.0.0"

// HostPort is a port that a pod takes on its node.
type HostPort struct {
	IP       string
	Protocol v1.Protocol
	Port     int32
}

type portKey struct {
	protocol v1.Protocol
	port     int32
}

// hostPorts counts, for each protocol and port, how many pods hold it on each
// address. Counts, not a set: pods bound by others may collide, and the port
// is free only when the last of them is gone.
type hostPorts map[portKey]map[string]int

// PodHostPorts lists the host ports of the pod's containers and of its
// sidecars.
func PodHostPorts(pod *v1.Pod) []HostPort {
	var ports []HostPort
	collect := func(container *v1.Container) {
		for _, p := range container.Ports {
			if p.HostPort <= 0 {
				continue
			}
			ports = append(ports, HostPort{IP: orDefault(p.HostIP, anyAddress), Protocol: orDefault(p.Protocol, v1.ProtocolTCP), Port: p.HostPort})
		}
	}
	for i := range pod.Spec.Containers {
		collect(&pod.Spec.Containers[i])
	}
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		if c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways {
			collect(c)
		}
	}
	return ports
}

func orDefault[T ~string](value, fallback T) T {
	if value == "" {
		return fallback
	}
	return value
}

// conflicts reports whether p cannot be taken beside what is held: the same
// port on the same address, or on any address where one side wants them all.
func (h hostPorts) conflicts(p HostPort) bool {
	held := h[portKey{p.Protocol, p.Port}]
	if len(held) == 0 {
		return false
	}
	return p.IP == anyAddress || held[p.IP] > 0 || held[anyAddress] > 0
}

func (h hostPorts) add(p HostPort) {
	key := portKey{p.Protocol, p.Port}
	if h[key] == nil {
		h[key] = map[string]int{}
	}
	h[key][p.IP]++
}

func (h hostPorts) remove(p HostPort) {
	key := portKey{p.Protocol, p.Port}
	if h[key][p.IP]--; h[key][p.IP] <= 0 {
		delete(h[key], p.IP)
	}
	if len(h[key]) == 0 {
		delete(h, key)
	}
}

func (h hostPorts) clone() hostPorts {
	c := make(hostPorts, len(h))
	for key, held := range h {
		c[key] = make(map[string]int, len(held))
		for ip, n := range held {
			c[key][ip] = n
		}
	}
	return c
}
