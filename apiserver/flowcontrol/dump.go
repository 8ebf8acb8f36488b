package flowcontrol

import (
	"encoding/csv"
	"io"
	"strconv"
)

// The dumps are tables of comma-separated values for operators, as Kubernetes
// serves them below /debug/api_priority_and_fairness/.

// DumpPriorityLevels writes a line for each level.
func (c *Controller) DumpPriorityLevels(w io.Writer) error {
	table := csv.NewWriter(w)
	_ = table.Write([]string{"PriorityLevelName", "ActiveQueues", "IsIdle", "IsQuiescing", "WaitingRequests", "ExecutingRequests",
		"DispatchedRequests", "RejectedRequests", "TimedoutRequests", "CancelledRequests"})
	c.each(func(l *level, configured bool) {
		queues := 0
		for _, q := range l.queues {
			if q != nil && (len(q.waiting) > 0 || q.executing > 0) {
				queues++
			}
		}
		executing := l.executing + int(l.running.Load())
		_ = table.Write(fields(l.name, queues, executing == 0 && l.waiting == 0, !configured, l.waiting, executing,
			l.count(dispatched), l.count(rejected), l.count(timedOut), l.count(cancelled)))
	})
	table.Flush()
	return table.Error()
}

// DumpQueues writes a line for each queue that was used.
func (c *Controller) DumpQueues(w io.Writer) error {
	table := csv.NewWriter(w)
	_ = table.Write([]string{"PriorityLevelName", "Index", "PendingRequests", "ExecutingRequests", "SeatsInUse", "NextDispatchR", "InitialSeatsSum"})
	c.each(func(l *level, _ bool) {
		for _, q := range l.queues {
			if q != nil {
				_ = table.Write(fields(l.name, q.index, len(q.waiting), q.executing, q.seats, strconv.FormatFloat(q.finish, 'f', 8, 64)+"ss", q.waitingSeats))
			}
		}
	})
	table.Flush()
	return table.Error()
}

// DumpRequests writes a line for each request that waits.
func (c *Controller) DumpRequests(w io.Writer) error {
	table := csv.NewWriter(w)
	_ = table.Write([]string{"PriorityLevelName", "FlowSchemaName", "QueueIndex", "RequestIndexInQueue", "InitialSeats"})
	c.each(func(l *level, _ bool) {
		for _, q := range l.queues {
			if q == nil {
				continue
			}
			for i, request := range q.waiting {
				_ = table.Write(fields(l.name, request.schema.placement.Schema, q.index, i, request.seats))
			}
		}
	})
	table.Flush()
	return table.Error()
}

// each visits the levels with their locks held, those first that are
// configured.
func (c *Controller) each(visit func(l *level, configured bool)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	current := map[string]bool{}
	locked := func(l *level, configured bool) {
		l.mu.Lock()
		defer l.mu.Unlock()
		visit(l, configured)
	}
	for _, l := range c.current.Load().levels {
		current[l.name] = true
		locked(l, true)
	}
	for name, l := range c.levels {
		if !current[name] {
			locked(l, false)
		}
	}
}

func fields(values ...any) []string {
	out := make([]string, len(values))
	for i, value := range values {
		switch v := value.(type) {
		case string:
			out[i] = v
		case int:
			out[i] = strconv.Itoa(v)
		case bool:
			out[i] = strconv.FormatBool(v)
		}
	}
	return out
}
