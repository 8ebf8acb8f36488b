package flowcontrol

import "time"

// work is what a request costs: seats while it runs, and seats for a while
// after, when watchers are told of what it wrote.
type work struct {
	seats, lingering int
	linger           time.Duration
}

// The costs are those of Kubernetes v1.37: a seat for each 100 kB that a list
// holds at once, which is no more than 1 MB as lists are read from the cache; and
// a seat for 5 ms for each ten watchers that a write wakes, in a rectangle of at
// most ten seats.
const (
	bytesPerSeat    = 100_000
	mostBytesHeld   = 1_000_000
	watchersPerSeat = 10
	maxSeats        = 10
	lingerPerSeat   = 5 * time.Millisecond
)

// estimate says what a request costs in a level whose widest request may take
// so many seats.
func estimate(r *Request, widest int) work {
	one := work{seats: 1}
	if r.Load == nil || !r.Info.IsResource {
		return one
	}
	switch r.Info.Verb {
	case "list":
		one.seats = listSeats(r, widest)
	case "watch":
		// The seats are for the beginning; the caller gives them back then.
		if !r.Changes {
			one.seats = listSeats(r, widest)
		}
	case "create", "update", "patch", "delete":
		if watchers := r.Load.Watchers(r.Info); watchers >= watchersPerSeat {
			seats := (watchers + watchersPerSeat - 1) / watchersPerSeat
			one.lingering = min(seats, widest, maxSeats)
			one.linger = lingerPerSeat * time.Duration(seats) / time.Duration(one.lingering)
		}
	}
	return one
}

func listSeats(r *Request, widest int) int {
	count, bytes := r.Load.Objects(r.Info)
	if r.Info.Name != "" || count == 0 {
		return 1
	}
	if r.Limit > 0 && r.Limit < int64(count) {
		bytes = bytes * r.Limit / int64(count)
	}
	bytes = min(bytes, mostBytesHeld)
	return max(1, min(int((bytes+bytesPerSeat-1)/bytesPerSeat), widest))
}
