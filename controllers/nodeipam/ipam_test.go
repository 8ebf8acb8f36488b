package nodeipam

import (
	"errors"
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

// Whatever is taken, given back, occupied or counted again after a restart, no
// two nodes ever hold overlapping prefixes, and none holds a service's.
func TestNoPrefixIsGivenTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cluster := rapid.SampledFrom([]string{"10.244.0.0/20", "10.0.0.0/16", "fd00::/56"}).Draw(t, "cluster")
		services := rapid.SampledFrom([]string{"10.96.0.0/12", "10.244.2.0/23", "fd00:0:0:4::/62"}).Draw(t, "services")
		ranges := Ranges{Cluster: []netip.Prefix{netip.MustParsePrefix(cluster)}, Services: []netip.Prefix{netip.MustParsePrefix(services)}}
		p := mustPool(t, ranges)
		var held []netip.Prefix
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch step := rapid.IntRange(0, 4).Draw(t, "step"); {
			case step == 0 && len(held) > 0:
				at := rapid.IntRange(0, len(held)-1).Draw(t, "give back")
				p.release(held[at])
				held = append(held[:at], held[at+1:]...)
			case step == 1:
				p = mustPool(t, ranges)
				for _, prefix := range held {
					p.occupy(prefix)
				}
			default:
				prefix, err := p.allocate()
				if errors.Is(err, errExhausted) {
					continue
				}
				for _, other := range append([]netip.Prefix{ranges.Services[0]}, held...) {
					if prefix.Overlaps(other) {
						t.Fatalf("%s overlaps with %s", prefix, other)
					}
				}
				if !ranges.Cluster[0].Overlaps(prefix) {
					t.Fatalf("%s is outside %s", prefix, cluster)
				}
				held = append(held, prefix)
			}
		}
	})
}

func mustPool(t *rapid.T, ranges Ranges) *pool {
	pools, err := poolsOf(ranges)
	if err != nil {
		t.Fatal(err)
	}
	return pools[0]
}

func TestEveryPrefixOfARangeIsGivenBeforeItIsExhausted(t *testing.T) {
	pools, err := poolsOf(Ranges{Cluster: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/22")}})
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if _, err := pools[0].allocate(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := pools[0].allocate(); !errors.Is(err, errExhausted) {
		t.Errorf("a fifth prefix of four: %v", err)
	}
	pools[0].release(netip.MustParsePrefix("10.1.2.0/24"))
	if prefix, err := pools[0].allocate(); err != nil || prefix.String() != "10.1.2.0/24" {
		t.Errorf("after one was given back: %s, %v", prefix, err)
	}
}

func TestImpossibleRangesAreRefused(t *testing.T) {
	for _, cluster := range []string{"10.0.0.0/25", "10.0.0.0/4", "fd00::/32"} {
		if _, err := poolsOf(Ranges{Cluster: []netip.Prefix{netip.MustParsePrefix(cluster)}}); err == nil {
			t.Errorf("%s was accepted", cluster)
		}
	}
}
