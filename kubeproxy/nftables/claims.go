package nftables

import (
	"strings"

	"sigs.k8s.io/knftables"

	"github.com/yare-io/yare/kubeproxy/model"
)

// claims settle who owns an element. Ports of one service share their cluster
// IP, and two services may want the same external IP and port: of those, the
// first by name has it, and the next gets it when the first is gone.
type claims map[element]map[model.Key]string

// claim sets or, with ok false, drops the key's claim.
func (c claims) claim(e element, key model.Key, value string, ok bool) {
	if ok {
		if c[e] == nil {
			c[e] = map[model.Key]string{}
		}
		c[e][key] = value
		return
	}
	delete(c[e], key)
	if len(c[e]) == 0 {
		delete(c, e)
	}
}

// owner returns the value that the element must have, ok false if nobody wants it.
func (c claims) owner(e element) (value string, ok bool) {
	var first model.Key
	for key, v := range c[e] {
		if !ok || key.Compare(first) < 0 {
			first, value, ok = key, v, true
		}
	}
	return value, ok
}

// object returns the element as nft wants it.
func (e element) object(value string) *knftables.Element {
	out := &knftables.Element{Key: strings.Split(e.key, " . ")}
	if e.container == clusterIPs || e.container == nodePortIPs {
		out.Set = e.container
		return out
	}
	out.Map = e.container
	if value != "" {
		out.Value = []string{value}
	}
	return out
}
