package kubeproxy

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/yare-io/yare/kubeproxy/model"
)

const (
	ipv4Forward = "/proc/sys/net/ipv4/ip_forward"
	ipv6Forward = "/proc/sys/net/ipv6/conf/all/forwarding"
)

// families returns those that the kernel has.
func families() []model.Family {
	if _, err := os.Stat(ipv6Forward); err != nil {
		return []model.Family{model.IPv4}
	}
	return []model.Family{model.IPv4, model.IPv6}
}

// enableForwarding lets the node pass packets on from one interface to
// another, which is what reaching a pod from elsewhere is.
func enableForwarding() error {
	for _, path := range []string{ipv4Forward, ipv6Forward} {
		value, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && string(bytes.TrimSpace(value)) != "0" {
			continue
		}
		if err := os.WriteFile(path, []byte("1"), 0o644); err != nil {
			return fmt.Errorf("enable IP forwarding: %w", err)
		}
	}
	return nil
}
