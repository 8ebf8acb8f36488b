package history

import "github.com/anishathalye/porcupine"

// cell is what a key holds: revision zero means that it is not there, unseen
// that a write of which nobody knows the revision made it what it is.
type cell struct {
	value    string
	revision int64
}

const unseen = -1

// is tells whether an answer can be about this cell.
func (c cell) is(value string, revision int64) bool {
	return c.value == value && (c.revision == revision || c.revision == unseen && revision > 0)
}

// at tells whether the cell can be at an expected revision.
func (c cell) at(revision int64) bool { return c.revision == revision || c.revision == unseen }

// model says which answers a single, sequential store can give about a key, and
// what the key can be after each.
var model = porcupine.NondeterministicModel{
	Init:      func() []any { return []any{cell{}} },
	Partition: partition,
	Step: func(state, input, output any) []any {
		var next []any
		for _, c := range step(state.(cell), input.(Call), output.(Answer)) {
			next = append(next, c)
		}
		return next
	},
}

func step(state cell, c Call, a Answer) []cell {
	switch {
	case a.Unknown:
		return uncertain(state, c)
	case c.Verb == Get:
		return read(state, a)
	case c.Verb == Create && a.OK:
		return when(state.revision == 0, cell{c.Value, a.Revision})
	case c.Verb == Create:
		return when(state.revision != 0, state)
	case !a.OK:
		// The conflict shows what stood in the way.
		if a.Revision == c.Expected && a.Revision != 0 {
			return nil
		}
		return read(state, Answer{OK: a.Revision != 0, Value: a.Value, Revision: a.Revision})
	case c.Verb == Delete:
		return when(state.at(c.Expected) && a.Revision > state.revision, cell{})
	}
	return when(state.at(c.Expected) && a.Revision > state.revision, cell{c.Value, a.Revision})
}

// read accepts an answer that is about the state, and learns its revision.
func read(state cell, a Answer) []cell {
	if !a.OK {
		return when(state.revision == 0, state)
	}
	return when(state.revision != 0 && state.is(a.Value, a.Revision), cell{a.Value, a.Revision})
}

// uncertain is what a key can be after a write whose outcome nobody knows.
func uncertain(state cell, c Call) []cell {
	happens := state.revision != 0 && state.at(c.Expected)
	after := cell{c.Value, unseen}
	switch c.Verb {
	case Create:
		happens = state.revision == 0
	case Delete:
		after = cell{}
	}
	if happens {
		return []cell{state, after}
	}
	return []cell{state}
}

func when(possible bool, next cell) []cell {
	if possible {
		return []cell{next}
	}
	return nil
}

// partition splits a history by key: keys do not know of each other.
func partition(history []porcupine.Operation) [][]porcupine.Operation {
	byKey := map[string][]porcupine.Operation{}
	for _, op := range history {
		byKey[op.Input.(Call).Key] = append(byKey[op.Input.(Call).Key], op)
	}
	var parts [][]porcupine.Operation
	for _, part := range byKey {
		parts = append(parts, part)
	}
	return parts
}
