package allocation

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"

	corev1 "k8s.io/api/core/v1"

	"github.com/yare-io/yare/storage"
)

// PortRange is a range of node ports, both ends included.
type PortRange struct{ First, Last int32 }

func (r PortRange) String() string { return fmt.Sprintf("%d-%d", r.First, r.Last) }

func (r PortRange) validate() error {
	if r.First < 1 || r.Last > 65535 || r.First > r.Last {
		return fmt.Errorf("node ports %v: not a range of ports", r)
	}
	return nil
}

func (r PortRange) size() int { return int(r.Last-r.First) + 1 }

func (r PortRange) contains(port int32) bool { return port >= r.First && port <= r.Last }

// reservedPorts is how many ports at the start are left for clients to choose.
func (r PortRange) reserved() int {
	const least, most, share = 16, 128, 32
	if r.size() < least {
		return 0
	}
	return min(max(least, r.size()/share), most)
}

// ports keeps which node ports are taken, one bit for each, in one object that
// is written by compare-and-swap.
type ports struct {
	store Store
	key   string
	span  PortRange
	// turn has the one token of whoever may write, so that the requests of one
	// process do not make each other's writes fail.
	turn chan struct{}
}

func newPorts(store Store, key string, r PortRange) *ports {
	p := &ports{store: store, key: key, span: r, turn: make(chan struct{}, 1)}
	p.turn <- struct{}{}
	return p
}

// Port takes a node port: the wanted one, or any when wanted is zero.
func (s *Services) Port(ctx context.Context, wanted int32, dryRun bool) (int32, error) {
	var port int32
	err := s.ports.change(ctx, dryRun, func(taken *big.Int) error {
		var err error
		port, err = s.ports.choose(taken, wanted)
		if err != nil {
			return err
		}
		taken.SetBit(taken, int(port-s.ports.span.First), 1)
		return nil
	})
	return port, err
}

// ReleasePort gives a node port back. What cannot be given back now is by Run
// later.
func (s *Services) ReleasePort(ctx context.Context, port int32) {
	if !s.ports.span.contains(port) {
		return
	}
	err := s.ports.change(ctx, false, func(taken *big.Int) error {
		taken.SetBit(taken, int(port-s.ports.span.First), 0)
		return nil
	})
	if err != nil {
		s.logger.Error("node port not released", "port", port, "error", err)
	}
}

func (p *ports) choose(taken *big.Int, wanted int32) (int32, error) {
	if wanted == 0 {
		return p.free(taken)
	}
	if !p.span.contains(wanted) {
		return 0, fmt.Errorf("provided port is not in the valid range. The range of valid ports is %v", p.span)
	}
	if taken.Bit(int(wanted-p.span.First)) == 1 {
		return 0, ErrPortAllocated
	}
	return wanted, nil
}

// free chooses as addresses are chosen: above what clients choose from while
// there is room.
func (p *ports) free(taken *big.Int) (int32, error) {
	for _, band := range [][2]int{{p.span.reserved(), p.span.size()}, {0, p.span.reserved()}} {
		n := band[1] - band[0]
		if n == 0 {
			continue
		}
		start := rand.IntN(n)
		for i := range n {
			if bit := band[0] + (start+i)%n; taken.Bit(bit) == 0 {
				return p.span.First + int32(bit), nil
			}
		}
	}
	return 0, ErrFull
}

// maxRaces bounds how often another process may be faster.
const maxRaces = 100

// change lets edit change which ports are taken, again from the start when
// another process was faster. An error of edit ends it.
func (p *ports) change(ctx context.Context, dryRun bool, edit func(taken *big.Int) error) error {
	select {
	case <-p.turn:
		defer func() { p.turn <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for range maxRaces {
		taken, revision, err := p.read(ctx)
		if err != nil {
			return err
		}
		if err := edit(taken); err != nil || dryRun {
			return err
		}
		err = p.write(ctx, taken, revision)
		if !errors.Is(err, storage.ErrConflict) && !errors.Is(err, storage.ErrExists) {
			return err
		}
	}
	return fmt.Errorf("node ports: lost %d races against other servers", maxRaces)
}

// read returns which ports are taken; revision is zero when nothing has been
// written yet.
func (p *ports) read(ctx context.Context) (taken *big.Int, revision int64, err error) {
	kv, err := p.store.Get(ctx, p.key)
	if errors.Is(err, storage.ErrNotFound) {
		return new(big.Int), 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("reading node ports: %w", err)
	}
	o, err := decode[*corev1.RangeAllocation](kv)
	if err != nil {
		return nil, 0, err
	}
	taken, err = p.moved(o)
	return taken, kv.Revision, err
}

// moved returns the ports of an allocation that may have been written for
// another range than is now configured.
func (p *ports) moved(o *corev1.RangeAllocation) (*big.Int, error) {
	taken := new(big.Int).SetBytes(o.Data)
	if o.Range == p.span.String() {
		return taken, nil
	}
	var was PortRange
	if _, err := fmt.Sscanf(o.Range, "%d-%d", &was.First, &was.Last); err != nil {
		return nil, fmt.Errorf("node ports in the store are of range %q: %w", o.Range, err)
	}
	now := new(big.Int)
	for bit := range taken.BitLen() {
		if port := was.First + int32(bit); taken.Bit(bit) == 1 && p.span.contains(port) {
			now.SetBit(now, int(port-p.span.First), 1)
		}
	}
	return now, nil
}

func (p *ports) write(ctx context.Context, taken *big.Int, revision int64) error {
	o := &corev1.RangeAllocation{Range: p.span.String(), Data: taken.Bytes()}
	o.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("RangeAllocation"))
	value, err := encode(o)
	if err != nil {
		return err
	}
	if revision == 0 {
		_, err = p.store.Create(ctx, p.key, value, 0)
	} else {
		_, err = p.store.Update(ctx, p.key, value, revision, 0)
	}
	if err != nil {
		return fmt.Errorf("writing node ports: %w", err)
	}
	return nil
}
