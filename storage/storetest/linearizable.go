package storetest

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/yare-io/yare/storage/history"
)

// linearizable runs clients that do random things to few keys, and asks whether
// one after the other could have given the same answers.
func linearizable(h *harness) {
	const clients, calls = 8, 150
	recorder := history.New()
	var group sync.WaitGroup
	for client := range clients {
		group.Go(func() {
			random := rand.New(rand.NewPCG(uint64(client), 11))
			known := map[string]int64{}
			for n := range calls {
				c := randomCall(random, known, client, n)
				a, err := recorder.Do(h.ctx, h.Store, client, c)
				if err != nil {
					h.Errorf("%+v: %v", c, err)
					return
				}
				known[c.Key] = a.Revision
			}
		})
	}
	group.Wait()
	if err := recorder.Check(30 * time.Second); err != nil {
		h.Fatal(err)
	}
}

func randomCall(random *rand.Rand, known map[string]int64, client, n int) history.Call {
	verbs := []history.Verb{history.Get, history.Get, history.Create, history.Update, history.Update, history.Update, history.Delete}
	c := history.Call{Verb: verbs[random.IntN(len(verbs))], Key: fmt.Sprintf("/l/%d", random.IntN(3)), Value: fmt.Sprintf("%d.%d", client, n)}
	if c.Verb == history.Update || c.Verb == history.Delete {
		// Zero would be the revision of no key.
		c.Expected = max(known[c.Key], 1)
	}
	return c
}
