package podnetwork

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const sysctls = "/proc/sys/net"

// setKernel lets packets pass from interface to interface, and shows bridged
// packets to netfilter: without that, an answer from a pod to another one on the
// same bridge would never be translated back to the service's address.
func (n *network) setKernel(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(sysctls, "bridge")); errors.Is(err, fs.ErrNotExist) {
		if out, err := exec.CommandContext(ctx, "modprobe", "br_netfilter").CombinedOutput(); err != nil {
			return fmt.Errorf("kernel module br_netfilter, without which pods of one node cannot reach each other through services: %w: %s", err, bytes.TrimSpace(out))
		}
	}
	for _, setting := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding", "bridge/bridge-nf-call-iptables", "bridge/bridge-nf-call-ip6tables"} {
		path := filepath.Join(sysctls, setting)
		value, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && string(bytes.TrimSpace(value)) != "0" {
			continue
		}
		if err := os.WriteFile(path, []byte("1"), 0o644); err != nil {
			return fmt.Errorf("kernel setting: %w", err)
		}
	}
	return nil
}

// iptablesPrograms are those whose FORWARD chain may drop what it does not know,
// as Docker makes it do; no table of ours can overrule that.
var iptablesPrograms = []string{"iptables", "ip6tables"}

// allowForwarding lets pod traffic pass where FORWARD drops by default.
func (n *network) allowForwarding(ctx context.Context) error {
	var errs []error
	for _, program := range iptablesPrograms {
		chain, err := listForward(ctx, program)
		if err != nil || !strings.Contains(chain, "-P FORWARD DROP") {
			continue
		}
		for _, rule := range n.forwardRules() {
			if exec.CommandContext(ctx, program, slices.Concat([]string{"-w", "-C", "FORWARD"}, rule)...).Run() == nil {
				continue
			}
			if out, err := exec.CommandContext(ctx, program, slices.Concat([]string{"-w", "-I", "FORWARD"}, rule)...).CombinedOutput(); err != nil {
				errs = append(errs, fmt.Errorf("%s -I FORWARD: %w: %s", program, err, bytes.TrimSpace(out)))
			}
		}
	}
	return errors.Join(errs...)
}

// disallowForwarding removes what allowForwarding added.
func (n *network) disallowForwarding(ctx context.Context) error {
	var errs []error
	for _, program := range iptablesPrograms {
		chain, err := listForward(ctx, program)
		if err != nil || !strings.Contains(chain, n.bridge) {
			continue
		}
		for _, rule := range n.forwardRules() {
			if exec.CommandContext(ctx, program, slices.Concat([]string{"-w", "-C", "FORWARD"}, rule)...).Run() != nil {
				continue
			}
			if out, err := exec.CommandContext(ctx, program, slices.Concat([]string{"-w", "-D", "FORWARD"}, rule)...).CombinedOutput(); err != nil {
				errs = append(errs, fmt.Errorf("%s -D FORWARD: %w: %s", program, err, bytes.TrimSpace(out)))
			}
		}
	}
	return errors.Join(errs...)
}

// listForward fails where the program or its kernel part is missing, and then
// nothing there can drop.
func listForward(ctx context.Context, program string) (string, error) {
	out, err := exec.CommandContext(ctx, program, "-w", "-S", "FORWARD").Output()
	return string(out), err
}

func (n *network) forwardRules() [][]string {
	return [][]string{{"-i", n.bridge, "-j", "ACCEPT"}, {"-o", n.bridge, "-j", "ACCEPT"}}
}
