package flowcontrol

import "time"

// work is what a request costs: seats while it runs, and seats for a while
// after, when watchers are told of what it wrote.
type work struct {
	seats, lingering int
	linger           time.Duration
}

// The costs are those of Kubernetes: a seat for each hundred objects that a
// list reads and for each ten watchers that a write wakes, ten at most; and
// 5 ms for each of the latter.
const (
	objectsPerSeat  = 100
	watchersPerSeat = 10
	maxSeats        = 10
	lingerPerSeat   = 5 * time.Millisecond
)

// estimate says what a request costs in a level whose widest request may take
// so many seats.
func estimate(r *Request, widest int) work {
	one := work{seats: 1}
	if r.Load == nil || !r.Info.IsResource || r.Info.Subresource != "" {
		return one
	}
	switch r.Info.Verb {
	case "list":
		one.seats = listSeats(r, widest)
	case "watch":
		// The seat is for the beginning; the caller gives it back then.
	case "create", "update", "patch", "delete":
		if n := r.Load.Watchers(r.Info) / watchersPerSeat; n > 0 {
			one.lingering = min(n, widest)
			one.linger = lingerPerSeat * time.Duration(min(n, maxSeats))
		}
	}
	return one
}

func listSeats(r *Request, widest int) int {
	if r.Info.Name != "" {
		return 1
	}
	objects := int64(r.Load.Objects(r.Info))
	if r.Limit > 0 && r.Info.LabelSelector == "" && r.Info.FieldSelector == "" {
		objects = min(objects, r.Limit)
	}
	return max(1, min(int((objects+objectsPerSeat-1)/objectsPerSeat), widest))
}
