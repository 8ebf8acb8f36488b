package eviction

import (
	"maps"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
)

// State remembers which thresholds were met, and since when. It is for one caller at a time.
type State struct {
	thresholds []Threshold
	// transition is how long a condition stays after its thresholds are over, so that it does not flap.
	transition time.Duration

	since map[Threshold]time.Time            // met ones
	last  map[v1.NodeConditionType]time.Time // when a condition was last true of the measurements
}

// NewState knows of nothing that is short.
func NewState(thresholds []Threshold, transition time.Duration) *State {
	return &State{thresholds: thresholds, transition: transition, since: map[Threshold]time.Time{}, last: map[v1.NodeConditionType]time.Time{}}
}

// Observe takes new measurements and returns the thresholds to act on, the most urgent first. A signal that was not
// measured is not short.
func (s *State) Observe(now time.Time, left map[Signal]Observation) []Threshold {
	var due []Threshold
	for _, t := range s.thresholds {
		begin, before := s.since[t]
		o, measured := left[t.Signal]
		if !measured || !t.met(o, before) {
			delete(s.since, t)
			continue
		}
		if !before {
			begin = now
			s.since[t] = now
		}
		s.last[t.Signal.Condition()] = now
		if now.Sub(begin) >= t.Grace {
			due = append(due, t)
		}
	}
	maps.DeleteFunc(s.last, func(_ v1.NodeConditionType, at time.Time) bool { return now.Sub(at) > 0 && now.Sub(at) >= s.transition })
	return due
}

// Conditions are the node's pressures, in order of their names.
func (s *State) Conditions() []v1.NodeConditionType { return slices.Sorted(maps.Keys(s.last)) }
