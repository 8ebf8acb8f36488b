package cluster

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/vishvananda/netns"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RuntimeSocket is where the node's own containerd answers.
func (n *Node) RuntimeSocket() string {
	return filepath.Join(n.DataDir, "run", "containerd.sock")
}

// CgroupRoot is the group below which the node's pods are.
func (n *Node) CgroupRoot() string { return "/" + n.lan.name + "-" + n.Name }

// WaitNodeReady waits until a node of this cluster is Ready.
func (n *Node) WaitNodeReady(name string) {
	n.t.Helper()
	n.waitNode(name, corev1.ConditionTrue, 60*time.Second)
}

// WaitNodeLost waits until a node has not been heard of for its grace period.
func (n *Node) WaitNodeLost(name string) {
	n.t.Helper()
	n.waitNode(name, corev1.ConditionUnknown, 2*time.Minute)
}

func (n *Node) waitNode(name string, want corev1.ConditionStatus, within time.Duration) {
	n.t.Helper()
	client := n.Client()
	n.Eventually(within, func(ctx context.Context) error {
		node, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range node.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status == want {
				return nil
			}
		}
		return fmt.Errorf("node %s is not Ready=%s: %v", name, want, node.Status.Conditions)
	})
}

// WaitDNS waits until the cluster's DNS is available.
func (n *Node) WaitDNS() {
	n.t.Helper()
	client := n.Client()
	n.Eventually(60*time.Second, func(ctx context.Context) error {
		deployment, err := client.AppsV1().Deployments(metav1.NamespaceSystem).Get(ctx, "coredns", metav1.GetOptions{})
		if err == nil && deployment.Status.AvailableReplicas == 0 {
			err = fmt.Errorf("coredns is not available: %v", deployment.Status.Conditions)
		}
		return err
	})
}

// Pod is a running pod of this node as a place to dial from.
func (n *Node) Pod(pod *corev1.Pod) *Host {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := n.Command(ctx, "ctr", "--address", n.RuntimeSocket(), "--namespace", "k8s.io", "tasks", "list").CombinedOutput()
	if err != nil {
		n.t.Fatalf("ctr tasks list: %v: %s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		var id, state string
		var pid int
		if _, err := fmt.Sscan(line, &id, &pid, &state); err != nil || "containerd://"+id != pod.Status.ContainerStatuses[0].ContainerID {
			continue
		}
		handle, err := netns.GetFromPid(pid)
		if err != nil {
			n.t.Fatal(err)
		}
		n.t.Cleanup(func() { _ = handle.Close() })
		return &Host{Name: pod.Name, lan: n.lan, handle: handle}
	}
	n.t.Fatalf("the runtime of %s does not run pod %s:\n%s", n.Name, pod.Name, out)
	return nil
}

// StoreKeys lists the keys in the server's etcd, as etcdctl sees them.
func (n *Node) StoreKeys() []string {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cmd := n.Command(ctx, "etcdctl", "--endpoints=unix://"+filepath.Join(n.DataDir, "run", "etcd.sock"), "get", "--prefix", "--keys-only", "/registry/")
	cmd.Env = []string{"ETCDCTL_API=3", "PATH=/usr/bin:/bin"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		n.t.Fatalf("etcdctl: %v: %s", err, out)
	}
	return strings.Fields(string(out))
}

// Resolver asks a name server from the host.
func Resolver(h *Host, server string) *net.Resolver {
	return &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return h.DialContext(ctx, network, server)
		},
	}
}
