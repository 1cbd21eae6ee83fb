package historytest

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"pushd.example/internal/history"
)

// largeCrowd is more users than an engine may treat one by one, with the crowd
// of the other tests among them.
func largeCrowd() []string { return append(many(0, 1500), crowd...) }

// largeMulticasts: engines may read the state of many users ahead of an append. A
// change that another append makes meanwhile must not be lost.
func largeMulticasts(r *rig) {
	users := largeCrowd()
	for _, user := range crowd {
		r.attach(user, history.Start{})
	}
	f := r.follow()
	t := startTraffic(r, 4, 150)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range 6 {
				p := history.Push{Kind: history.Multicast, Users: users, Data: fmt.Appendf(nil, "large-%d", r.count.Add(1))}
				result, err := r.store.Append(r.ctx, p)
				if err != nil || result.Recipients != len(users) {
					r.Errorf("large multicast: %+v, %v", result, err)
					return
				}
				t.record(p, history.Message{ID: result.ID, Kind: p.Kind, Data: p.Data})
			}
		})
	}
	wg.Wait()
	await(r, "end of traffic", t.done)
	broadcasts := byID(t.sent[""]...)
	for _, user := range append(users[:2], crowd...) {
		sent := r.asStored(user, t.sent[user])
		kept := sent[max(0, len(sent)-150):]
		r.wantHistory(user, byID(append(slices.Clone(broadcasts), kept...)...)...)
		if n := r.unread(user); n != len(broadcasts)+len(kept) {
			r.Errorf("%s has %d unread, want %d", user, n, len(broadcasts)+len(kept))
		}
	}
	r.wantChains(f.take())
}

// wantChains: each delivery to a user names the one before it.
func (r *rig) wantChains(deliveries []history.Delivery) {
	r.Helper()
	last := map[string]history.ID{}
	for _, d := range deliveries {
		if d.Message.Kind == history.Broadcast {
			continue
		}
		for _, to := range d.Recipients {
			if to.Prev != last[to.User] {
				r.Errorf("%d for %s says that %d was before it, want %d", d.Message.ID, to.User, to.Prev, last[to.User])
			}
			last[to.User] = d.Message.ID
		}
	}
}

// largeRetry: also with several callers at once, one stores it.
func largeRetry(r *rig) {
	p := history.Push{Kind: history.Multicast, Users: largeCrowd(), Data: []byte("once"), IdempotencyKey: "k"}
	results := make([]history.AppendResult, 4)
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() {
			var err error
			if results[i], err = r.store.Append(r.ctx, p); err != nil {
				r.Errorf("caller %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	stored := 0
	for _, result := range append(results, r.push(p)) {
		if result.ID != results[0].ID || result.Duplicate != (result.Recipients == 0) {
			r.Errorf("result %+v beside %+v", result, results[0])
		}
		if !result.Duplicate {
			stored++
		}
	}
	if stored != 1 {
		r.Errorf("stored %d times, want once", stored)
	}
	once := history.Message{ID: results[0].ID, Kind: history.Multicast, Data: p.Data}
	for _, user := range []string{"ann", p.Users[0], p.Users[1499]} {
		r.wantHistory(user, once)
	}
	ended, cancel := context.WithCancel(r.ctx)
	cancel()
	p.IdempotencyKey = ""
	if _, err := r.store.Append(ended, p); err == nil {
		r.Error("appended with an ended context")
	}
	r.wantHistory("ann", once)
}

// gathered: what is appended while a follower is slow may be stored together;
// each user's entries are counted on all the same, however many users are
// touched in between.
func gathered(r *rig) {
	r.attach("ann", history.Start{})
	f := r.follow()
	release := blocked(r, f)
	const ranges, each, rounds = 11, 900, 4
	var wg sync.WaitGroup
	for i := range ranges * rounds {
		wg.Go(func() {
			users := many(i%ranges*each, each)
			if _, err := r.store.Append(r.ctx, history.Push{Kind: history.Multicast, Users: users, Data: []byte("x")}); err != nil {
				r.Errorf("appending: %v", err)
			}
		})
	}
	release()
	wg.Wait()
	for _, user := range many(0, ranges*each) {
		if n := r.unread(user); n != rounds {
			r.Fatalf("%s has %d unread, want %d", user, n, rounds)
		}
	}
}
