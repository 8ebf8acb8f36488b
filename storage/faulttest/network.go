package faulttest

import (
	"context"
	"time"

	"github.com/yare-io/yare/storage/faulttest/link"
)

// Hold keeps something broken for a while.
func Hold(ctx context.Context, while time.Duration, breaks, mend func() error) error {
	if err := breaks(); err != nil {
		return err
	}
	timer := time.NewTimer(while)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return mend()
}

// Network are the faults of a network between clients and a server. Those that
// nobody is told of last longer than timeout, after which clients give up.
func Network(l *link.Link, timeout time.Duration) []Fault {
	during := func(name string, while time.Duration, breaks func(), then func()) Fault {
		return Fault{Name: name, Strike: func(ctx context.Context) error {
			return Hold(ctx, while, func() error { breaks(); return nil }, func() error { then(); return nil })
		}}
	}
	longer := timeout + timeout/4
	return []Fault{
		during("cut the network", 0, l.Cut, func() {}),
		during("lose answers, then the connections", timeout/8, l.Deafen, func() { l.Cut(); l.Heal() }),
		during("delay the network", timeout/2, func() { l.Delay(timeout / 16) }, l.Heal),
		during("refuse connections", timeout/4, l.Refuse, l.Heal),
		during("stall the network", longer, l.Stall, l.Heal),
		during("lose answers, which come late", longer, l.Deafen, l.Heal),
	}
}
