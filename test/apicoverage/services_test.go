package apicoverage

import (
	"fmt"
	"sync"
	"testing"
)

// ports is how many node ports there are by default: 30000 to 32767.
const ports = 2768

// TestServicesShareNothing: of 10,000 services that are created at once, no two
// have the same address or node port, and when they are gone all is free again.
func TestServicesShareNothing(t *testing.T) {
	s := start(t)
	const services = "/api/v1/namespaces/default/services"
	create := func(name, kind string) (ip string, port float64) {
		made := s.must(t, "POST", services, map[string]any{
			"metadata": map[string]any{"name": name}, "spec": map[string]any{"type": kind, "ports": []any{map[string]any{"port": 80}}},
		})["spec"].(map[string]any)
		port, _ = made["ports"].([]any)[0].(map[string]any)["nodePort"].(float64)
		return made["clusterIP"].(string), port
	}
	var (
		mu        sync.Mutex
		addresses = map[string]string{}
		taken     = map[float64]string{}
	)
	fill := func(number, withPorts int) {
		t.Helper()
		work := make(chan int)
		var workers sync.WaitGroup
		for range 32 {
			workers.Go(func() {
				for i := range work {
					name, kind := fmt.Sprintf("s-%d", i), "ClusterIP"
					if i < withPorts {
						kind = "NodePort"
					}
					ip, port := create(name, kind)
					mu.Lock()
					if other := addresses[ip]; other != "" {
						t.Errorf("%s and %s share %s", name, other, ip)
					}
					addresses[ip] = name
					if other := taken[port]; port != 0 && other != "" {
						t.Errorf("%s and %s share %v", name, other, port)
					}
					taken[port] = name
					mu.Unlock()
				}
			})
		}
		for i := range number {
			work <- i
		}
		close(work)
		workers.Wait()
	}
	fill(10_000, ports)
	if len(addresses) != 10_000 || len(taken) != ports+1 {
		t.Errorf("%d addresses, %d ports", len(addresses), len(taken)-1)
	}
	s.must(t, "DELETE", services, nil)
	if left := s.must(t, "GET", "/apis/networking.k8s.io/v1/ipaddresses", nil)["items"].([]any); len(left) > 0 {
		t.Errorf("%d addresses are not free, as %v", len(left), left[0])
	}
	clear(addresses)
	clear(taken)
	fill(ports, ports)
	if len(taken) != ports {
		t.Errorf("%d ports are free again", len(taken))
	}
}
