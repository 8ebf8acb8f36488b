package core

import (
	"fmt"
	"testing"
	"time"

	"github.com/yare-io/yare/apiserver/api/rowtest"
	"github.com/yare-io/yare/apiserver/registry"
)

// cell returns what a row's table shows in one column.
func cell(t *testing.T, r *registry.Resource, column, base, change string) string {
	t.Helper()
	for _, c := range r.Columns {
		if c.Name == column {
			return fmt.Sprint(c.Cell(rowtest.Object(t, r, base, change), time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)))
		}
	}
	t.Fatalf("no column %s", column)
	return ""
}

func TestPodLines(t *testing.T) {
	status := func(s string) string { return "status: {phase: Running, " + s + "}" }
	one := func(rest string) string {
		return "containerStatuses: [{name: c, image: i, imageID: '', restartCount: 0, " + rest + "}]"
	}
	r := podRow(t)
	for name, c := range map[string]struct{ change, ready, status, restarts string }{
		"pending":        {"status: {phase: Pending}", "0/1", "Pending", "0"},
		"evicted":        {"status: {phase: Failed, reason: Evicted}", "0/1", "Evicted", "0"},
		"running":        {status(one("ready: true, state: {running: {}}")), "1/1", "Running", "0"},
		"crashing":       {status(one("ready: false, state: {waiting: {reason: CrashLoopBackOff}}")), "0/1", "CrashLoopBackOff", "0"},
		"completed":      {"status: {phase: Succeeded, " + one("ready: false, state: {terminated: {exitCode: 0, reason: Completed}}") + "}", "0/1", "Completed", "0"},
		"failed by code": {status(one("ready: false, state: {terminated: {exitCode: 3}}")), "0/1", "ExitCode:3", "0"},
		"killed":         {status(one("ready: false, state: {terminated: {exitCode: 137, signal: 9}}")), "0/1", "Signal:9", "0"},
		"restarted": {status("containerStatuses: [{name: c, image: i, imageID: '', ready: true, restartCount: 2, state: {running: {}}, lastState: {terminated: {exitCode: 1, finishedAt: '2026-01-01T23:55:00Z'}}}]"),
			"1/1", "Running", "2 (5m ago)"},
		"going":          {"{metadata: {deletionTimestamp: '2026-01-01T00:00:00Z'}, " + "status: {phase: Running, " + one("ready: true, state: {running: {}}") + "}}", "1/1", "Terminating", "0"},
		"gated":          {"status: {phase: Pending, conditions: [{type: PodScheduled, status: 'False', reason: SchedulingGated}]}", "0/1", "SchedulingGated", "0"},
		"starting":       {"{spec: {initContainers: [{name: i, image: a}, {name: j, image: a}]}, status: {phase: Pending, initContainerStatuses: [{name: i, image: a, imageID: '', ready: false, restartCount: 1, state: {terminated: {exitCode: 0}}}, {name: j, image: a, imageID: '', ready: false, restartCount: 0, state: {running: {}}}]}}", "0/1", "Init:1/2", "1"},
		"init failing":   {"{spec: {initContainers: [{name: i, image: a}]}, status: {phase: Pending, initContainerStatuses: [{name: i, image: a, imageID: '', ready: false, restartCount: 3, state: {waiting: {reason: CrashLoopBackOff}}}]}}", "0/1", "Init:CrashLoopBackOff", "3"},
		"with a sidecar": {"{spec: {initContainers: [{name: i, image: a, restartPolicy: Always}]}, status: {phase: Running, initContainerStatuses: [{name: i, image: a, imageID: '', ready: true, started: true, restartCount: 0, state: {running: {}}}], " + one("ready: true, state: {running: {}}") + "}}", "2/2", "Running", "0"},
	} {
		t.Run(name, func(t *testing.T) {
			for column, want := range map[string]string{"Ready": c.ready, "Status": c.status, "Restarts": c.restarts} {
				if got := cell(t, r, column, pod, c.change); got != want {
					t.Errorf("%s: got %q, want %q", column, got, want)
				}
			}
		})
	}
}

func TestNodeLines(t *testing.T) {
	r := rowtest.Row(t, Resources(Deps{}), "nodes")
	const base = "{metadata: {name: a}}"
	for change, want := range map[string]string{
		"": "Unknown",
		"status: {conditions: [{type: Ready, status: 'True'}]}":                                "Ready",
		"status: {conditions: [{type: Ready, status: 'False'}]}":                               "NotReady",
		"{spec: {unschedulable: true}, status: {conditions: [{type: Ready, status: 'True'}]}}": "Ready,SchedulingDisabled",
	} {
		if got := cell(t, r, "Status", base, change); got != want {
			t.Errorf("%s: got %q, want %q", change, got, want)
		}
	}
	if got := cell(t, r, "Roles", base, "metadata: {labels: {node-role.kubernetes.io/worker: '', node-role.kubernetes.io/control-plane: ''}}"); got != "control-plane,worker" {
		t.Errorf("roles %q", got)
	}
	if got := cell(t, r, "Roles", base, ""); got != "<none>" {
		t.Errorf("roles %q", got)
	}
}

func TestServiceLines(t *testing.T) {
	r := rowtest.Row(t, Resources(Deps{}), "services")
	const base = "{metadata: {name: a}, spec: {type: ClusterIP, ports: [{port: 80, protocol: TCP}]}}"
	for change, want := range map[string]string{
		"":                               "<none>",
		"spec: {externalIPs: [1.2.3.4]}": "1.2.3.4",
		"spec: {type: LoadBalancer}":     "<pending>",
		"{spec: {type: LoadBalancer}, status: {loadBalancer: {ingress: [{hostname: b}, {ip: 1.1.1.1}]}}}": "1.1.1.1,b",
		"spec: {type: ExternalName, externalName: example.com}":                                           "example.com",
	} {
		if got := cell(t, r, "External-IP", base, change); got != want {
			t.Errorf("%s: got %q, want %q", change, got, want)
		}
	}
	if got := cell(t, r, "Port(s)", base, "spec: {ports: [{port: 80, protocol: TCP, nodePort: 30000}, {port: 53, protocol: UDP}]}"); got != "80:30000/TCP,53/UDP" {
		t.Errorf("ports %q", got)
	}
}

func TestEventLines(t *testing.T) {
	r := rowtest.Row(t, Resources(Deps{}), "events")
	const base = "{metadata: {name: a}, involvedObject: {kind: Pod, name: web}, firstTimestamp: '2026-01-01T23:50:00Z', lastTimestamp: '2026-01-01T23:59:30Z', count: 4, source: {component: kubelet, host: node}, message: ' x '}"
	for column, want := range map[string]string{
		"Last Seen": "30s", "First Seen": "10m", "Count": "4", "Object": "pod/web", "Source": "kubelet, node", "Message": "x",
	} {
		if got := cell(t, r, column, base, ""); got != want {
			t.Errorf("%s: got %q, want %q", column, got, want)
		}
	}
}

func TestEndpointLines(t *testing.T) {
	r := rowtest.Row(t, Resources(Deps{}), "endpoints")
	many := "subsets: [{addresses: [{ip: 10.0.0.1}, {ip: 10.0.0.2}, {ip: 10.0.0.3}, {ip: 10.0.0.4}], ports: [{port: 80}]}]"
	for change, want := range map[string]string{
		"":   "<none>",
		many: "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 1 more...",
		"subsets: [{addresses: [{ip: 'fd00::1'}], ports: [{port: 80}]}]": "[fd00::1]:80",
	} {
		if got := cell(t, r, "Endpoints", "{metadata: {name: a}}", change); got != want {
			t.Errorf("%s: got %q, want %q", change, got, want)
		}
	}
}
