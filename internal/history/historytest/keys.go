package historytest

import (
	"sync"
	"time"

	"pushd.example/internal/history"
)

func keyPromises() []promise {
	hour := history.Retention{IdempotencyKeys: time.Hour}
	return []promise{
		{name: "RetryStoresNothingAndNamesTheFirst", check: retryIsHarmless},
		{name: "OneNameSpaceForAllUsersAndKinds", of: onePartition, check: keysAreGlobal},
		{name: "NoKeyIsNoRetry", check: noKey},
		{name: "IsForgottenAfterItsTime", retention: hour, check: keyIsForgotten},
		{name: "OutlivesItsMessage", retention: history.Retention{InboxCount: 1}, check: keyOutlivesMessage},
		{name: "ConcurrentRetriesStoreOnce", check: concurrentRetries},
	}
}

func retryIsHarmless(r *rig) {
	r.attach("ann", history.Start{})
	f := r.follow()
	for _, p := range []history.Push{
		{Kind: history.Unicast, Users: []string{"ann"}, IdempotencyKey: "u", Data: []byte("one")},
		{Kind: history.Multicast, Users: []string{"ann", "bob"}, IdempotencyKey: "m", Data: []byte("two")},
		{Kind: history.Broadcast, IdempotencyKey: "b", Data: []byte("three")},
	} {
		before := r.forward("ann", history.Cursor{}).Messages
		first := r.send(p)
		f.take()
		for range 2 {
			r.clock.Advance(time.Minute)
			if got, want := r.push(p), (history.AppendResult{ID: first.ID, Duplicate: true}); got != want {
				r.Errorf("retried %v: result %+v, want %+v", p.Kind, got, want)
			}
		}
		r.wantHistory("ann", append(before, first)...)
		if got := f.take(); len(got) != 0 {
			r.Errorf("the retried %v was delivered: %+v", p.Kind, got)
		}
	}
}

func keysAreGlobal(r *rig) {
	first := r.send(history.Push{Kind: history.Unicast, Users: []string{"ann"}, IdempotencyKey: "k"})
	for _, p := range []history.Push{
		{Kind: history.Unicast, Users: []string{"bob"}, IdempotencyKey: "k"},
		{Kind: history.Multicast, Users: []string{"bob", "cleo"}, IdempotencyKey: "k"},
		{Kind: history.Broadcast, IdempotencyKey: "k", TTL: time.Second},
	} {
		if got := r.push(p); !got.Duplicate || got.ID != first.ID {
			r.Errorf("%v to %v with the key of %d: %+v", p.Kind, p.Users, first.ID, got)
		}
	}
	r.wantHistory("bob")
	if other := r.push(history.Push{Kind: history.Broadcast, IdempotencyKey: "k2"}); other.Duplicate {
		r.Error("another key counts as the same")
	}
}

func noKey(r *rig) {
	p := history.Push{Kind: history.Unicast, Users: []string{"ann"}, Data: []byte("same")}
	r.wantHistory("ann", r.send(p), r.send(p))
}

func keyIsForgotten(r *rig) {
	p := history.Push{Kind: history.Unicast, Users: []string{"ann"}, IdempotencyKey: "k", Data: []byte("x")}
	first := r.send(p)
	r.clock.Advance(time.Hour - 2*time.Millisecond) // push adds one
	if got := r.push(p); !got.Duplicate {
		r.Errorf("a millisecond before its end the key is forgotten: %+v", got)
	}
	second := r.send(p) // fails if it is a duplicate
	if got := r.push(p); !got.Duplicate || got.ID != second.ID {
		r.Errorf("the key names %+v, want the second message %d", got, second.ID)
	}
	r.wantHistory("ann", first, second)
}

func keyOutlivesMessage(r *rig) {
	p := history.Push{Kind: history.Unicast, Users: []string{"ann"}, IdempotencyKey: "k", TTL: time.Millisecond}
	first := r.send(p)
	r.unicast("ann")
	last := r.unicast("ann")
	if got := r.push(p); !got.Duplicate || got.ID != first.ID {
		r.Errorf("the key of a dropped message: %+v, want a duplicate of %d", got, first.ID)
	}
	r.wantHistory("ann", last)
}

func concurrentRetries(r *rig) {
	const callers, rounds = 8, 20
	for round := range rounds {
		p := history.Push{
			Kind: history.Multicast, Users: []string{"ann", "bob"}, IdempotencyKey: "k" + history.ID(round).String(),
			Data: []byte("body"),
		}
		results := make([]history.AppendResult, callers)
		errs := make([]error, callers)
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() { results[i], errs[i] = r.store.Append(r.ctx, p) })
		}
		wg.Wait()
		stored := 0
		for i, got := range results {
			if errs[i] != nil || got.ID != results[0].ID {
				r.Fatalf("one of %d: %+v, %v; another: %+v", callers, got, errs[i], results[0])
			}
			if !got.Duplicate {
				stored++
			}
		}
		if n := len(r.forward("ann", history.Cursor{}).Messages); stored != 1 || n != round+1 {
			r.Fatalf("round %d: %d callers stored, %d messages kept", round, stored, n)
		}
	}
}
