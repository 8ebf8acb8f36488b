package allocation

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
)

// span is the addresses of a network that services can have, by their
// distance from the first.
type span struct {
	network netip.Prefix
	first   netip.Addr
	size    uint64
}

// maxBits bounds what is used of a large IPv6 network.
const maxBits = 62

// usable leaves out the network's own address and, in IPv4, its broadcast
// address.
func usable(n netip.Prefix) span {
	bits := n.Addr().BitLen() - n.Bits()
	size := uint64(1) << min(bits, maxBits)
	taken := uint64(1)
	if n.Addr().Is4() {
		taken = 2
	}
	if size <= taken {
		return span{network: n}
	}
	return span{network: n, first: n.Addr().Next(), size: size - taken}
}

// at returns the address at a distance from the first.
func (s span) at(distance uint64) netip.Addr {
	if s.first.Is4() {
		b := s.first.As4()
		binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+uint32(distance))
		return netip.AddrFrom4(b)
	}
	b := s.first.As16()
	low := binary.BigEndian.Uint64(b[8:])
	sum := low + distance
	if sum < low {
		binary.BigEndian.PutUint64(b[:8], binary.BigEndian.Uint64(b[:8])+1)
	}
	binary.BigEndian.PutUint64(b[8:], sum)
	return netip.AddrFrom16(b)
}

// contains reports whether an address is one that services can have.
func (s span) contains(ip netip.Addr) bool {
	return s.size > 0 && s.network.Contains(ip) && s.first.Compare(ip) <= 0 && ip.Compare(s.at(s.size-1)) <= 0
}

// Addresses that clients choose themselves are expected low in the range;
// the server chooses above while it can.
const (
	minReserved = 16
	maxReserved = 256
	reservedFor = 16
)

// reserved is how many addresses at the start are left for clients to choose.
func (s span) reserved() uint64 {
	if s.size < minReserved {
		return 0
	}
	return min(max(minReserved, s.size/reservedFor), maxReserved)
}

// candidates calls try with distances in the order in which the server
// chooses, each once, until try returns false: the upper band from a random
// place on, then the lower one.
func (s span) candidates(try func(distance uint64) bool) {
	band := func(from, to uint64) bool {
		n := to - from
		if n == 0 {
			return true
		}
		start := rand.Uint64N(n)
		for i := range n {
			if !try(from + (start+i)%n) {
				return false
			}
		}
		return true
	}
	if band(s.reserved(), s.size) {
		band(0, s.reserved())
	}
}
