package historytest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"pushd.example/internal/history"
	"pushd.example/internal/history/watch"
)

func eventPromises() []promise {
	return []promise{
		{name: "BeginsNow", check: eventsBeginNow},
		{name: "FirstAndLastConnection", check: firstAndLastConnection},
		{name: "BackInTimeIsNoEvent", check: backInTime},
		{name: "BackLateIsTwoEvents", check: backLate},
		{name: "AckedWhereTheMarkMoved", check: ackedEvents},
		{name: "OnlyTheKindsAskedFor", check: kindsOfEvents},
		{name: "PagesJoin", check: eventPagesJoin},
		{name: "OnePositionForManyReaders", check: manyEventReaders},
		{name: "NothingIsRecordedUnwatched", check: unwatchedEvents},
		{name: "LostWhatWasDropped", check: droppedEvents},
		{name: "WaitsForWhatComes", check: eventsAwaited},
		{name: "ConnectsAtOnceAreOneEvent", check: connectsAtOnce},
		{name: "BadInput", check: badEventInput},
		{name: "AfterCloseEverythingIsErrClosed", check: closedEvents},
	}
}

func reopenEventPromises() []promise {
	return []promise{{name: "ContinuesOrSaysLost", check: reopenEvents}}
}

// watcher reads events as a client does.
type watcher struct {
	*rig
	kinds watch.Kind
	at    watch.Position
}

func (r *rig) events() watch.Events {
	r.Helper()
	e, ok := r.store.(watch.Events)
	if !ok {
		r.Fatalf("%T keeps no events", r.store)
	}
	return e
}

// watch begins to watch now.
func (r *rig) watch(kinds watch.Kind) *watcher {
	r.Helper()
	w := &watcher{rig: r, kinds: kinds}
	if p := w.read(0); len(p.Events) != 0 || p.Lost {
		r.Errorf("a new watcher got %s, lost: %v", eventText(p.Events), p.Lost)
	}
	return w
}

// read reads one page, and waits for it if that is asked for.
func (w *watcher) read(wait time.Duration) watch.Page {
	w.Helper()
	p, err := w.events().ReadEvents(w.ctx, watch.Query{Kinds: w.kinds, After: w.at, Limit: 1000, Wait: wait})
	if err != nil {
		w.Fatalf("reading events: %v", err)
	}
	// As a caller keeps it.
	if w.at, err = watch.ParsePosition(p.Next.String()); err != nil {
		w.Fatalf("reading a position: %v", err)
	}
	return p
}

// rest reads all that has happened since the last read.
func (w *watcher) rest() (events []watch.Event) {
	w.Helper()
	for {
		p := w.read(0)
		if p.Lost {
			w.Error("something was lost")
		}
		if len(p.Events) == 0 {
			return events
		}
		events = append(events, p.Events...)
	}
}

// want checks all that has happened since the last read.
func (w *watcher) want(events ...watch.Event) {
	w.Helper()
	if got, want := eventText(w.rest()), eventText(events); got != want {
		w.Errorf("events %.500s, want %.500s", got, want)
	}
}

// wantAnyOrder is want for events of different users at the same time.
func (w *watcher) wantAnyOrder(events ...watch.Event) {
	w.Helper()
	byUser := func(a, b watch.Event) int { return cmp.Compare(a.User, b.User) }
	got := w.rest()
	slices.SortFunc(got, byUser)
	slices.SortFunc(events, byUser)
	if got, want := eventText(got), eventText(events); got != want {
		w.Errorf("events %.500s, want %.500s", got, want)
	}
}

func (w *watcher) wantLost(events ...watch.Event) {
	w.Helper()
	p := w.read(0)
	if got, want := eventText(p.Events), eventText(events); !p.Lost || got != want {
		w.Errorf("events %.500s, lost: %v, want lost and %.500s", got, p.Lost, want)
	}
	w.want()
}

func eventText(events []watch.Event) string {
	words := make([]string, len(events))
	for i, e := range events {
		words[i] = fmt.Sprintf("%v:%q:%s:%d:%v", e.Kind, e.User, e.Cursor, e.ID, e.Time.Format(time.TimeOnly+".000"))
	}
	return fmt.Sprint(words)
}

// event is what happens now.
func (r *rig) event(kind watch.Kind, user string) watch.Event {
	return watch.Event{Kind: kind, User: user, Time: r.clock.Now()}
}

func (r *rig) acked(user string, c history.Cursor) watch.Event {
	e := r.event(watch.Acked, user)
	e.Cursor = c
	return e
}

func (r *rig) attachNow(user string) { r.Helper(); r.attach(user, history.Start{}) }

func eventsBeginNow(r *rig) {
	r.attachNow("ann")
	w := r.watch(watch.AllKinds)
	r.attachNow("ann") // she was connected before: no event
	w.want()
	r.attachNow("bob")
	w.want(r.event(watch.Connected, "bob"))
	w.want()
}

func firstAndLastConnection(r *rig) {
	w := r.watch(watch.Presence)
	r.attachNow("ann")
	r.attachNow("ann")
	w.want(r.event(watch.Connected, "ann"))
	r.store.Detach("ann")
	r.clock.Advance(time.Minute)
	w.want()
	r.store.Detach("ann")
	gone := r.clock.Now().Add(watch.Linger)
	r.clock.Advance(watch.Linger - time.Millisecond)
	w.want()
	r.clock.Advance(time.Millisecond)
	w.want(r.event(watch.Disconnected, "ann"))
	if !gone.Equal(r.clock.Now()) {
		r.Errorf("gone at %v, want %v", r.clock.Now(), gone)
	}
}

func backInTime(r *rig) {
	w := r.watch(watch.Presence)
	r.attachNow("ann")
	w.want(r.event(watch.Connected, "ann"))
	for range 3 { // each time the 3 s begin anew
		r.store.Detach("ann")
		r.clock.Advance(watch.Linger - time.Millisecond)
		r.attachNow("ann")
		w.want()
	}
	r.store.Detach("ann")
	r.clock.Advance(watch.Linger)
	w.want(r.event(watch.Disconnected, "ann"))
}

// backLate: no reader read while the user was away.
func backLate(r *rig) {
	w := r.watch(watch.Presence)
	r.attachNow("ann")
	in := r.event(watch.Connected, "ann")
	r.store.Detach("ann")
	r.clock.Advance(watch.Linger)
	out := r.event(watch.Disconnected, "ann")
	r.clock.Advance(time.Second)
	r.attachNow("ann")
	w.want(in, out, r.event(watch.Connected, "ann"))
}

func ackedEvents(r *rig) {
	w := r.watch(watch.Acked)
	m := r.unicast("ann")
	b := r.broadcast()
	r.clock.Advance(time.Second)
	inbox := history.Cursor{Inbox: m.ID}
	r.ack("ann", inbox)
	w.want(r.acked("ann", inbox))
	r.ack("ann", inbox)
	r.ack("ann", history.Cursor{})
	w.want()
	both := history.Cursor{Inbox: m.ID, Broadcast: b.ID}
	r.ack("ann", history.Cursor{Broadcast: b.ID}) // forward in one log, back in the other
	w.want(r.acked("ann", both))
	r.unicast("ann")
	if _, err := r.store.Ack(r.ctx, "ann", history.Cursor{Inbox: history.MaxID}, ""); !errors.Is(err, history.ErrCursor) {
		r.Errorf("acking what is to come: %v, want ErrCursor", err)
	}
	w.want()
}

func kindsOfEvents(r *rig) {
	all, acks, ins := r.watch(watch.AllKinds), r.watch(watch.Acked), r.watch(watch.Connected)
	m := r.unicast("ann")
	r.attachNow("ann")
	in := r.event(watch.Connected, "ann")
	c := history.Cursor{Inbox: m.ID}
	r.ack("ann", c)
	acked := r.acked("ann", c)
	r.store.Detach("ann")
	r.clock.Advance(watch.Linger)
	all.want(in, acked, r.event(watch.Disconnected, "ann"))
	acks.want(acked)
	ins.want(in)
}

// eventPagesJoin: small pages hold the same as a large one.
func eventPagesJoin(r *rig) {
	whole := r.watch(watch.Acked | watch.Presence)
	at := whole.at
	var want []watch.Event
	for i := range 30 {
		user := fmt.Sprint("user", i)
		r.clock.Advance(time.Millisecond)
		r.attachNow(user)
		want = append(want, r.event(watch.Connected, user))
	}
	for _, limit := range []int{1, 7, 29} {
		var got []watch.Event
		for at := at; len(got) < len(want); {
			p, err := r.events().ReadEvents(r.ctx, watch.Query{Kinds: watch.Presence, After: at, Limit: limit})
			if err != nil || p.Lost || len(p.Events) == 0 || !r.engine.Partitioned && len(p.Events) > limit {
				r.Fatalf("at most %d events after %d: %d, lost: %v, %v", limit, len(got), len(p.Events), p.Lost, err)
			}
			got, at = append(got, p.Events...), p.Next
		}
		slices.SortStableFunc(got, func(a, b watch.Event) int { return a.Time.Compare(b.Time) })
		if eventText(got) != eventText(want) {
			r.Errorf("%d at a time: %s, want %s", limit, eventText(got), eventText(want))
		}
	}
	whole.want(want...)
}

// manyEventReaders: reading takes nothing away, and a position is good again
// and again.
func manyEventReaders(r *rig) {
	a := r.watch(watch.Presence)
	b := &watcher{rig: r, kinds: watch.Presence, at: a.at}
	r.attachNow("ann")
	in := r.event(watch.Connected, "ann")
	a.want(in)
	a.want()
	r.clock.Advance(time.Millisecond)
	r.attachNow("bob")
	b.want(in, r.event(watch.Connected, "bob"))
	a.want(r.event(watch.Connected, "bob"))
}

// unwatchedEvents: recording ends some time after the last read, and a reader who
// continues later gets Lost.
func unwatchedEvents(r *rig) {
	w := r.watch(watch.Presence)
	r.clock.Advance(watch.WatchedFor - time.Second)
	r.attachNow("ann")
	w.want(r.event(watch.Connected, "ann"))
	r.clock.Advance(2 * watch.WatchedFor)
	r.attachNow("bob")
	w.wantLost()
	r.attachNow("cleo")
	w.want(r.event(watch.Connected, "cleo"))
	// This reader has missed all acks.
	r.clock.Advance(time.Millisecond)
	w.kinds |= watch.Acked
	w.wantLost()
	r.ack("ann", history.Cursor{Inbox: r.unicast("ann").ID})
	if p := w.read(0); p.Lost || len(p.Events) != 1 {
		r.Errorf("after an ack: %s, lost: %v", eventText(p.Events), p.Lost)
	}
}

// droppedEvents: about a fixed number of events is kept, and the oldest are dropped.
func droppedEvents(r *rig) {
	w := r.watch(watch.Presence)
	old := w.at
	r.attachNow("first")
	w.want(r.event(watch.Connected, "first"))
	const crowd, most = 256, 16 * eventsKept
	for range most / 2 / crowd {
		var running sync.WaitGroup
		for i := range crowd {
			running.Go(func() { r.attachNow(fmt.Sprint("user", i)) })
		}
		running.Wait()
		for i := range crowd {
			r.store.Detach(fmt.Sprint("user", i))
		}
		r.clock.Advance(watch.Linger)
	}
	w.at = old
	n, lost := 0, false
	for p := w.read(0); len(p.Events) > 0; p = w.read(0) {
		if n > 0 && p.Lost {
			r.Error("something was lost twice")
		}
		n, lost = n+len(p.Events), lost || p.Lost
	}
	if !lost || n < 1 || n >= most {
		r.Errorf("%d events, lost: %v, want some of %d and lost", n, lost, most)
	}
}

func eventsAwaited(r *rig) {
	w := r.watch(watch.Presence)
	r.store.Detach("nobody") // so that nothing but the attach wakes it
	pages := make(chan watch.Page, 1)
	go func() { pages <- w.read(deadline) }()
	r.attachNow("ann")
	if p := await(r, "event", pages); eventText(p.Events) != eventText([]watch.Event{r.event(watch.Connected, "ann")}) {
		r.Errorf("waited for %s", eventText(p.Events))
	}
	if p := w.read(time.Millisecond); len(p.Events) != 0 || p.Lost {
		r.Errorf("after a millisecond of nothing: %s, lost: %v", eventText(p.Events), p.Lost)
	}
	ctx, cancel := context.WithCancel(r.ctx)
	ended := make(chan error, 1)
	go func() {
		_, err := r.events().ReadEvents(ctx, watch.Query{Kinds: w.kinds, After: w.at, Limit: 1, Wait: deadline})
		ended <- err
	}()
	cancel()
	if err := await(r, "end of a read", ended); !errors.Is(err, context.Canceled) {
		r.Errorf("reading with a context that ends: %v", err)
	}
}

// connectsAtOnce: of connections that come and go at the same time, one is the
// first and one the last.
func connectsAtOnce(r *rig) {
	w := r.watch(watch.Presence)
	in := r.event(watch.Connected, "ann")
	for round := range 20 {
		var running sync.WaitGroup
		for range 8 {
			running.Go(func() { r.attachNow("ann") })
		}
		running.Wait()
		if round == 0 {
			w.want(in)
		}
		for range 8 {
			running.Go(func() { r.store.Detach("ann") })
		}
		running.Wait()
		w.want()
	}
	r.clock.Advance(watch.Linger)
	w.want(r.event(watch.Disconnected, "ann"))
}

func badEventInput(r *rig) {
	w := r.watch(watch.Presence)
	for _, q := range []watch.Query{
		{Limit: 1}, {Kinds: watch.AllKinds + 1, Limit: 1}, {Kinds: watch.Acked}, {Kinds: watch.Acked, Limit: -1},
	} {
		if _, err := r.events().ReadEvents(r.ctx, q); err == nil {
			r.Errorf("read events by %+v", q)
		}
	}
	two := watch.Position{Marks: append(slices.Clone(w.at.Marks), w.at.Marks...)}
	if _, err := r.events().ReadEvents(r.ctx, watch.Query{Kinds: w.kinds, Limit: 1, After: two}); !errors.Is(err, watch.ErrPosition) {
		r.Errorf("reading after a position of another log: %v, want ErrPosition", err)
	}
	// One from the future: the log has lost its end since.
	for i := range w.at.Marks {
		w.at.Marks[i].Seq += 1000
	}
	w.wantLost()
}

func closedEvents(r *rig) {
	w := r.watch(watch.Presence)
	waited := make(chan error, 1)
	go func() {
		_, err := r.events().ReadEvents(r.ctx, watch.Query{Kinds: w.kinds, After: w.at, Limit: 1, Wait: deadline})
		waited <- err
	}()
	if err := r.store.Close(); err != nil {
		r.Fatalf("closing: %v", err)
	}
	if err := await(r, "end of a read", waited); !errors.Is(err, history.ErrClosed) {
		r.Errorf("reading when the store closes: %v, want ErrClosed", err)
	}
	_, err := r.events().ReadEvents(r.ctx, watch.Query{Kinds: w.kinds, Limit: 1})
	if !errors.Is(err, history.ErrClosed) {
		r.Errorf("reading after Close: %v, want ErrClosed", err)
	}
}

// reopenEvents: a log that outlives the store continues; if it does not, the reader
// gets Lost.
func reopenEvents(r *rig) {
	w := r.watch(watch.Acked)
	m := r.unicast("ann")
	c := history.Cursor{Inbox: m.ID}
	r.ack("ann", c)
	want := []watch.Event{r.acked("ann", c)}
	r.reopen()
	p := w.read(0)
	if p.Lost && len(p.Events) == 0 || !p.Lost && eventText(p.Events) == eventText(want) {
		w.want()
		return
	}
	r.Errorf("opened again: %s, lost: %v, want %s, or nothing and lost", eventText(p.Events), p.Lost, eventText(want))
}
