package flowcontrol

import "slices"

// queue holds the waiting requests of some flows, and remembers how much of
// the server they have had.
type queue struct {
	index   int
	waiting []*waiter
	// seats are those that its requests hold, waitingSeats those that they wait
	// for.
	seats, waitingSeats int
	// executing counts its requests that run.
	executing int
	// finish is the virtual time up to which the queue has had its share, in
	// seat-seconds of one queue.
	finish float64
}

// waiter is a request in a queue. Its level's lock guards it.
type waiter struct {
	seats  int
	queue  *queue
	schema *schema
	// granted is closed when the request may run.
	granted chan struct{}
}

// load is by how much a newcomer would have to wait here.
func (q *queue) load() int { return q.seats + q.waitingSeats }

func (q *queue) remove(w *waiter) bool {
	i := slices.Index(q.waiting, w)
	if i < 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, i, i+1)
	q.waitingSeats -= w.seats
	return true
}

// deal draws a hand of different queues out of a deck, by the bits of a hash,
// and returns the one for which less is least; ties go to the first drawn. So
// two flows meet in one queue often, but seldom in all of their hands.
func deal(flow uint64, deck, hand int, load func(int) int) int {
	best, least := -1, 0
	var drawn [maxHand]int
	for i := 0; i < min(hand, deck, maxHand); i++ {
		rest := uint64(deck - i)
		card := int(flow % rest)
		flow /= rest
		// Cards drawn before are not in the deck any more; they are kept in
		// order, so that each that is not above shifts the card by one.
		j := 0
		for ; j < i && drawn[j] <= card; j++ {
			card++
		}
		copy(drawn[j+1:i+1], drawn[j:i])
		drawn[j] = card
		if n := load(card); best < 0 || n < least {
			best, least = card, n
		}
		if least == 0 {
			break
		}
	}
	return best
}

// maxHand bounds a hand: 60 bits of hash deal no more from a deck of two.
const maxHand = 60
