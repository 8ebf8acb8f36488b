package nodeipam

import (
	"errors"
	"fmt"
	"math/big"
	"net/netip"
)

// errExhausted says that all prefixes of a pool are taken.
var errExhausted = errors.New("CIDR allocation failed; there are no remaining CIDRs left to allocate in the accepted range")

// pool hands out the prefixes of one length within a range, each once, going
// round so that one given back is not used again at once. It is not safe for
// concurrent use.
type pool struct {
	cluster netip.Prefix
	bits    int
	size    uint64
	next    uint64
	taken   map[uint64]struct{}
}

// maxBits bounds how many prefixes a pool has: 2^16, as in Kubernetes.
const maxBits = 16

func newPool(cluster netip.Prefix, bits int) (*pool, error) {
	cluster = cluster.Masked()
	if bits < cluster.Bits() || bits > cluster.Addr().BitLen() {
		return nil, fmt.Errorf("node mask /%d does not fit into the cluster CIDR %s", bits, cluster)
	}
	if bits-cluster.Bits() > maxBits {
		return nil, fmt.Errorf("the cluster CIDR %s holds more than 2^%d prefixes /%d", cluster, maxBits, bits)
	}
	return &pool{cluster: cluster, bits: bits, size: 1 << (bits - cluster.Bits()), taken: map[uint64]struct{}{}}, nil
}

// allocate takes a free prefix.
func (p *pool) allocate() (netip.Prefix, error) {
	for range p.size {
		index := p.next
		p.next = (p.next + 1) % p.size
		if _, taken := p.taken[index]; !taken {
			p.taken[index] = struct{}{}
			return p.prefix(index), nil
		}
	}
	return netip.Prefix{}, errExhausted
}

// occupy takes all prefixes that overlap with the given one. Prefixes outside
// the range are none of the pool's business.
func (p *pool) occupy(prefix netip.Prefix) {
	p.each(prefix, func(index uint64) { p.taken[index] = struct{}{} })
}

// release gives back all prefixes within the given one.
func (p *pool) release(prefix netip.Prefix) {
	p.each(prefix, func(index uint64) { delete(p.taken, index) })
}

func (p *pool) each(prefix netip.Prefix, do func(index uint64)) {
	if !prefix.IsValid() || !prefix.Overlaps(p.cluster) {
		return
	}
	if prefix.Bits() <= p.cluster.Bits() {
		prefix = p.cluster
	}
	first := p.index(prefix.Masked().Addr())
	count := uint64(1)
	if prefix.Bits() < p.bits {
		count = 1 << (p.bits - prefix.Bits())
	}
	for i := range count {
		do(first + i)
	}
}

// index is the position of the prefix that holds the address.
func (p *pool) index(address netip.Addr) uint64 {
	offset := new(big.Int).Sub(number(address), number(p.cluster.Addr()))
	return offset.Rsh(offset, uint(p.cluster.Addr().BitLen()-p.bits)).Uint64()
}

func (p *pool) prefix(index uint64) netip.Prefix {
	offset := new(big.Int).Lsh(new(big.Int).SetUint64(index), uint(p.cluster.Addr().BitLen()-p.bits))
	sum := offset.Add(offset, number(p.cluster.Addr()))
	raw := sum.FillBytes(make([]byte, p.cluster.Addr().BitLen()/8))
	address, _ := netip.AddrFromSlice(raw)
	return netip.PrefixFrom(address, p.bits)
}

func number(address netip.Addr) *big.Int { return new(big.Int).SetBytes(address.AsSlice()) }
