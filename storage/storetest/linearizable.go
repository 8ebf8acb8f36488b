package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/yare-io/yare/storage"
)

// call and answer are what a client asked and was told; a cell is what a key
// holds, revision zero meaning that it is not there.
type (
	call struct {
		verb, key, value string
		expected         int64
	}
	answer struct {
		ok       bool
		value    string
		revision int64
	}
	cell struct {
		value    string
		revision int64
	}
)

// model says which answers a single, sequential store can give about a key.
var model = porcupine.Model{
	Init:      func() any { return cell{} },
	Partition: partition,
	Step: func(state, input, output any) (bool, any) {
		return step(state.(cell), input.(call), output.(answer))
	},
}

func step(state cell, c call, a answer) (bool, cell) {
	written := cell{c.value, a.revision}
	switch c.verb {
	case "get":
		if !a.ok {
			return state.revision == 0, state
		}
		return state == cell{a.value, a.revision}, state
	case "create":
		if !a.ok {
			return state.revision != 0, state
		}
		return state.revision == 0, written
	}
	if !a.ok {
		// The conflict shows what stood in the way.
		return state.revision != c.expected && state == cell{a.value, a.revision}, state
	}
	if c.verb == "delete" {
		written = cell{}
	}
	return state.revision == c.expected && a.revision > state.revision, written
}

func partition(history []porcupine.Operation) [][]porcupine.Operation {
	byKey := map[string][]porcupine.Operation{}
	for _, op := range history {
		byKey[op.Input.(call).key] = append(byKey[op.Input.(call).key], op)
	}
	var parts [][]porcupine.Operation
	for _, part := range byKey {
		parts = append(parts, part)
	}
	return parts
}

// linearizable runs clients that do random things to few keys, and asks whether
// one after the other could have given the same answers.
func linearizable(h *harness) {
	const clients, calls = 8, 150
	began := time.Now()
	var mu sync.Mutex
	var history []porcupine.Operation
	var group sync.WaitGroup
	for client := range clients {
		group.Go(func() {
			random := rand.New(rand.NewPCG(uint64(client), 11))
			known := map[string]int64{}
			for n := range calls {
				c := randomCall(random, known, client, n)
				op := porcupine.Operation{ClientId: client, Input: c, Call: int64(time.Since(began))}
				a, err := h.perform(c)
				if err != nil {
					h.Errorf("%s %s: %v", c.verb, c.key, err)
					return
				}
				op.Output, op.Return = a, int64(time.Since(began))
				known[c.key] = a.revision
				mu.Lock()
				history = append(history, op)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	switch porcupine.CheckOperationsTimeout(model, history, 30*time.Second) {
	case porcupine.Illegal:
		h.Fatal("no order of the operations explains the answers")
	case porcupine.Unknown:
		h.Fatal("the history could not be checked in time")
	}
}

func randomCall(random *rand.Rand, known map[string]int64, client, n int) call {
	key := fmt.Sprintf("/l/%d", random.IntN(3))
	verbs := []string{"get", "get", "create", "update", "update", "update", "delete"}
	c := call{verb: verbs[random.IntN(len(verbs))], key: key, value: fmt.Sprintf("%d.%d", client, n)}
	if c.verb == "update" || c.verb == "delete" {
		// Zero would be the revision of no key.
		c.expected = max(known[key], 1)
	}
	return c
}

// perform makes a call and tells what it said; only an answer that the contract
// does not know is an error.
func (h *harness) perform(c call) (answer, error) {
	var revision int64
	var err error
	switch c.verb {
	case "get":
		var kv storage.KV
		kv, err = h.Get(h.ctx, c.key)
		if errors.Is(err, storage.ErrNotFound) {
			return answer{}, nil
		}
		return answer{ok: true, value: string(kv.Value), revision: kv.Revision}, err
	case "create":
		revision, err = h.Create(h.ctx, c.key, []byte(c.value), 0)
		if errors.Is(err, storage.ErrExists) {
			return answer{}, nil
		}
	case "update":
		revision, err = h.Update(h.ctx, c.key, []byte(c.value), c.expected, 0)
	case "delete":
		revision, err = h.Delete(h.ctx, c.key, c.expected)
	}
	var conflict *storage.ConflictError
	if errors.As(err, &conflict) {
		if conflict.Current == nil {
			return answer{}, nil
		}
		return answer{value: string(conflict.Current.Value), revision: conflict.Current.Revision}, nil
	}
	return answer{ok: true, revision: revision}, err
}
