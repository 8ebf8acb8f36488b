package podnetwork

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
)

// confFile sorts before what other networks install, as their guides number theirs.
const confFile = "10-yare.conflist"

// conflist returns the CNI configuration for a node with these pod CIDRs.
func (n *network) conflist(cidrs []netip.Prefix) ([]byte, error) {
	type subnet struct {
		Subnet string `json:"subnet"`
	}
	type route struct {
		Dst string `json:"dst"`
	}
	ranges, routes := [][]subnet{}, []route{}
	for _, cidr := range cidrs {
		ranges = append(ranges, []subnet{{cidr.String()}})
		anywhere := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if cidr.Addr().Is6() {
			anywhere = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
		routes = append(routes, route{anywhere.String()})
	}
	bridge := map[string]any{
		"type": "bridge", "bridge": n.bridge, "isGateway": true, "forceAddress": true, "hairpinMode": true,
		"ipam": map[string]any{"type": "host-local", "dataDir": n.ipamDir, "ranges": ranges, "routes": routes},
	}
	if n.mtu > 0 {
		bridge["mtu"] = n.mtu
	}
	conf := map[string]any{
		"cniVersion": "1.0.0", "name": n.bridge,
		"plugins": []map[string]any{
			bridge,
			{"type": "portmap", "snat": true, "capabilities": map[string]bool{"portMappings": true}},
		},
	}
	out, err := json.MarshalIndent(conf, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("CNI configuration: %w", err)
	}
	return append(out, '\n'), nil
}

// writeConflist replaces the file in one step if its content differs, since
// the runtime may read it at any moment.
func (n *network) writeConflist(cidrs []netip.Prefix) error {
	content, err := n.conflist(cidrs)
	if err != nil {
		return err
	}
	path := filepath.Join(n.confDir, confFile)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, content) {
		return nil
	}
	if err := os.MkdirAll(n.confDir, 0o755); err != nil {
		return fmt.Errorf("CNI configuration directory: %w", err)
	}
	// The runtime ignores names that do not end in .conf, .conflist or .json.
	temporary := path + ".new"
	if err := os.WriteFile(temporary, content, 0o644); err != nil {
		return fmt.Errorf("CNI configuration: %w", err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("CNI configuration: %w", err)
	}
	n.log.Info("CNI configuration written", "path", path, "podCIDRs", cidrs)
	return nil
}

func (n *network) removeConflist() error {
	path := filepath.Join(n.confDir, confFile)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove CNI configuration: %w", err)
	}
	return nil
}
