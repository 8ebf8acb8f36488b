package allocation

import (
	"net/netip"
	"testing"
)

func TestSpans(t *testing.T) {
	for network, want := range map[string]struct {
		size        uint64
		first, last string
	}{
		"10.96.0.0/24":  {254, "10.96.0.1", "10.96.0.254"},
		"10.96.0.0/16":  {65534, "10.96.0.1", "10.96.255.254"},
		"10.0.0.0/30":   {2, "10.0.0.1", "10.0.0.2"},
		"fd00::/120":    {255, "fd00::1", "fd00::ff"},
		"fd00:ff::/112": {65535, "fd00:ff::1", "fd00:ff::ffff"},
	} {
		s := usable(netip.MustParsePrefix(network))
		if s.size != want.size || s.at(0).String() != want.first || s.at(s.size-1).String() != want.last {
			t.Errorf("%s: %d addresses from %v to %v, want %+v", network, s.size, s.at(0), s.at(s.size-1), want)
		}
	}
	wide := usable(netip.MustParsePrefix("fd00::/48"))
	if !wide.contains(wide.at(wide.size-1)) || wide.contains(netip.MustParseAddr("fd00::")) {
		t.Errorf("a wide network: %+v", wide)
	}
}

func TestCandidatesAreEachAddressOnce(t *testing.T) {
	s := usable(netip.MustParsePrefix("10.96.0.0/24"))
	seen := map[uint64]bool{}
	lower := false
	s.candidates(func(d uint64) bool {
		if seen[d] || d >= s.size {
			t.Errorf("distance %d again or outside", d)
		}
		if d < s.reserved() {
			lower = true
		} else if lower {
			t.Errorf("distance %d of the upper band after the lower one", d)
		}
		seen[d] = true
		return true
	})
	if uint64(len(seen)) != s.size {
		t.Errorf("%d candidates of %d", len(seen), s.size)
	}
}
