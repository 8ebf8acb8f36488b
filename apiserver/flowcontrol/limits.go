package flowcontrol

import (
	"context"
	"math"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
)

// limits are a level's seats: what it has by its shares, what it keeps when
// others borrow, and what it may have with what it borrows.
type limits struct{ nominal, lower, upper int }

// widthShare is the part of a level that one request may take.
const widthShare = 0.15

// divide gives levels their part of the seats.
func (c *Controller) divide(levels []*level, configs []*flowcontrolv1.PriorityLevelConfiguration) {
	total, now := 0.0, c.config.Clock.Now()
	for _, config := range configs {
		shares, _, _ := sharesOf(config)
		total += float64(shares)
	}
	for i, config := range configs {
		l := levels[i]
		shares, lendable, borrowing := sharesOf(config)
		nominal := 0
		if total > 0 {
			nominal = int(math.Ceil(float64(c.config.Seats) * float64(shares) / total))
		}
		given := limits{nominal: nominal, lower: nominal - percent(nominal, lendable), upper: c.config.Seats}
		if borrowing != nil {
			given.upper = nominal + percent(nominal, *borrowing)
		}
		l.configure(config)
		l.widest.Store(int32(widest(nominal, config)))
		l.mu.Lock()
		l.limits = given
		l.mu.Unlock()
		l.setLimit(nominal, now)
	}
}

// widest is how many seats one request may take at most: so few that a hand of
// queues holds several such requests.
func widest(nominal int, config *flowcontrolv1.PriorityLevelConfiguration) int {
	limited := config.Spec.Limited
	if limited == nil || limited.LimitResponse.Queuing == nil {
		return maxSeats
	}
	hand := max(1, int(limited.LimitResponse.Queuing.HandSize))
	return max(1, min(maxSeats, int(math.Ceil(float64(nominal)*widthShare)), nominal/hand))
}

// sharesOf returns what a configuration says, with the defaults of the API.
func sharesOf(config *flowcontrolv1.PriorityLevelConfiguration) (shares, lendable int32, borrowing *int32) {
	var s, l *int32
	switch {
	case config.Spec.Limited != nil:
		s, l, borrowing = config.Spec.Limited.NominalConcurrencyShares, config.Spec.Limited.LendablePercent, config.Spec.Limited.BorrowingLimitPercent
		shares = 30
	case config.Spec.Exempt != nil:
		s, l = config.Spec.Exempt.NominalConcurrencyShares, config.Spec.Exempt.LendablePercent
	}
	if s != nil {
		shares = *s
	}
	if l != nil {
		lendable = *l
	}
	return shares, lendable, borrowing
}

func percent(n int, p int32) int { return int(math.Round(float64(n) * float64(p) / 100)) }

// demand is how many seats a level would use, over time.
type demand struct {
	since                      time.Time
	sum, squares, covered      float64
	high                       int
	average, deviation, smooth float64
	highest                    int
}

// note says that the demand was n until now.
func (d *demand) note(n int, now time.Time) {
	if span := now.Sub(d.since).Seconds(); span > 0 {
		d.sum += float64(n) * span
		d.squares += float64(n) * float64(n) * span
		d.covered += span
		d.since = now
	}
	d.high = max(d.high, n)
}

// smoothing is how much of the former demand is kept, each period.
const smoothing = 0.977

// close ends a period. Demand that grows counts at once, one that shrinks
// slowly.
func (d *demand) close(n int, now time.Time) {
	d.note(n, now)
	d.average, d.deviation = 0, 0
	if d.covered > 0 {
		d.average = d.sum / d.covered
		d.deviation = math.Sqrt(max(0, d.squares/d.covered-d.average*d.average))
	}
	envelope := d.average + d.deviation
	d.smooth = max(envelope, smoothing*d.smooth+(1-smoothing)*envelope)
	d.highest, d.high, d.sum, d.squares, d.covered = d.high, n, 0, 0, 0
}

// borrowPeriod is how often seats are lent anew.
const borrowPeriod = 10 * time.Second

// lend adjusts limits to demand each period, until ctx ends.
func (c *Controller) lend(ctx context.Context) {
	ticker := c.config.Clock.NewTicker(borrowPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
			c.Rebalance()
		}
	}
}

// Rebalance lends seats that levels do not use to those that need more.
func (c *Controller) Rebalance() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, current := c.config.Clock.Now(), c.current.Load()
	wishes := make([]wish, len(current.levels))
	for i, l := range current.levels {
		wishes[i] = l.wish(now)
	}
	fraction := share(wishes, c.config.Seats)
	for i, l := range current.levels {
		l.setLimit(wishes[i].at(fraction), now)
	}
	next := *current
	next.fairFrac = fraction
	c.current.Store(&next)
}

// wish is what a level could use and what it must and may have.
type wish struct {
	target       float64
	lower, upper int
}

// wish closes the level's period.
func (l *level) wish(now time.Time) wish {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.seats + l.waitingSeats
	if l.exempt.Load() {
		n = int(l.running.Load())
	}
	l.demand.close(n, now)
	// A level gets back what it lent as soon as it needs it.
	lower := max(l.limits.lower, min(l.limits.nominal, l.demand.highest))
	l.target = max(l.demand.smooth, float64(lower))
	return wish{target: l.target, lower: lower, upper: max(lower, l.limits.upper)}
}

func (w wish) at(fraction float64) int {
	return max(w.lower, min(w.upper, int(math.Round(w.target*fraction))))
}

// share finds the factor by which all wishes are scaled so that together they
// come to all seats, as near as rounding lets them.
func share(wishes []wish, seats int) float64 {
	total := func(fraction float64) int {
		sum := 0
		for _, w := range wishes {
			sum += w.at(fraction)
		}
		return sum
	}
	low, high := 0.0, float64(seats)+1
	if total(high) <= seats {
		return high
	}
	for range 60 {
		if middle := (low + high) / 2; total(middle) <= seats {
			low = middle
		} else {
			high = middle
		}
	}
	return low
}

// Limits returns how many seats each configured level has now.
func (c *Controller) Limits() map[string]int {
	out := map[string]int{}
	for _, l := range c.current.Load().levels {
		l.mu.Lock()
		out[l.name] = l.limit
		l.mu.Unlock()
	}
	return out
}
