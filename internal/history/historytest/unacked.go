package historytest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"pushd.example/internal/history"
	"pushd.example/internal/history/watch"
)

func unackedPromises() []promise {
	five := history.Retention{InboxCount: 5}
	return []promise{
		{name: "NamesThoseWhoHaveNotAcked", check: unackedNames},
		{name: "WhenItIsDueAndNotBefore", check: unackedDue},
		{name: "OnceForAllWatchers", check: unackedOnce},
		{name: "WaitsUntilSomebodyWatches", check: unackedWaits},
		{name: "NothingIsLostUnwatched", check: unackedUnwatched},
		{name: "NotOfWhatIsGone", check: unackedGone},
		{name: "NotOfWhatTheCountDropped", retention: five, check: unackedDropped},
		{name: "ADuplicateAsksNothing", check: unackedDuplicate},
		{name: "OfManyAPageAtATime", check: unackedCrowd},
		{name: "ReadersAtOnceFindItOnce", check: unackedAtOnce},
		{name: "AmongOtherEvents", check: unackedAmongOthers},
		{name: "WakesAReaderThatWaits", check: unackedWakes},
		{name: "BadPushIsRefused", check: unackedBad},
	}
}

func reopenUnackedPromises() []promise {
	return []promise{{name: "KeepsWhatIsAsked", check: reopenKeepsUnacked}}
}

// ask sends a multicast, which is to be acked in time.
func (r *rig) ask(after time.Duration, users ...string) history.Message {
	r.Helper()
	return r.send(history.Push{Kind: history.Multicast, Users: users, UnackedAfter: after})
}

// unacked is that users have not acked m, found now.
func (r *rig) unacked(m history.Message, users ...string) (events []watch.Event) {
	for _, user := range users {
		e := r.event(watch.Unacked, user)
		e.ID = m.ID
		events = append(events, e)
	}
	return events
}

func unackedNames(r *rig) {
	w := r.watch(watch.Unacked)
	one := r.ask(time.Minute, "ann", "bob", "cleo", "ann")
	two := r.send(history.Push{Kind: history.Unicast, Users: []string{"bob"}, UnackedAfter: time.Hour})
	r.unicast("ann")
	w.want()
	r.ack("bob", history.Cursor{Inbox: one.ID})
	r.ack("ann", history.Cursor{Inbox: one.ID - 1})
	r.clock.Advance(time.Minute)
	w.wantAnyOrder(r.unacked(one, "ann", "cleo")...)
	w.want()
	r.ack("ann", history.Cursor{Inbox: one.ID})
	r.clock.Advance(time.Hour)
	w.want(r.unacked(two, "bob")...)
	r.clock.Advance(time.Hour)
	w.want()
}

func unackedDue(r *rig) {
	w := r.watch(watch.Unacked)
	for _, after := range []time.Duration{history.MinUnackedAfter, 1500*time.Millisecond + time.Nanosecond, history.MaxUnackedAfter} {
		m := r.ask(after, "ann")
		due := m.ID.Time().Add(after)
		if whole := due.Truncate(time.Millisecond); whole.Before(due) {
			due = whole.Add(time.Millisecond)
		}
		r.clock.Advance(due.Sub(r.clock.Now()) - time.Millisecond)
		w.want()
		r.clock.Advance(time.Millisecond)
		w.want(r.unacked(m, "ann")...)
	}
}

func unackedOnce(r *rig) {
	a, b, acks := r.watch(watch.Unacked), r.watch(watch.AllKinds), r.watch(watch.Acked)
	m := r.ask(time.Second, "ann")
	r.clock.Advance(time.Second)
	acks.want()
	found := r.unacked(m, "ann")
	a.want(found...)
	r.clock.Advance(time.Second)
	b.want(found...)
	a.want()
	b.want()
	late := r.watch(watch.Unacked)
	late.want()
}

// unackedWaits: a push that is due while nobody reads is found by the next reader, if
// it is still so.
func unackedWaits(r *rig) {
	one, two, three := r.ask(time.Minute, "ann"), r.ask(time.Hour, "ann"), r.ask(time.Minute, "bob")
	r.clock.Advance(2 * time.Minute)
	r.ack("bob", history.Cursor{Inbox: three.ID})
	w := r.watch(watch.Unacked)
	w.want(r.unacked(one, "ann")...)
	r.clock.Advance(time.Hour)
	w.want(r.unacked(two, "ann")...)
}

func unackedUnwatched(r *rig) {
	w := r.watch(watch.Unacked)
	m := r.ask(time.Hour, "ann")
	r.clock.Advance(2 * time.Hour)
	w.want(r.unacked(m, "ann")...) // and w.want sees that nothing was lost
}

func unackedGone(r *rig) {
	w := r.watch(watch.Unacked)
	one := r.ask(time.Minute, "ann", "bob")
	two := r.send(history.Push{Kind: history.Unicast, Users: []string{"ann"}, UnackedAfter: time.Minute})
	r.send(history.Push{Kind: history.Unicast, Users: []string{"ann"}, UnackedAfter: time.Minute, TTL: 2 * time.Minute})
	collapsing := history.Push{Kind: history.Unicast, Users: []string{"ann"}, UnackedAfter: time.Minute, CollapseKey: "t"}
	r.send(collapsing)
	last := r.send(collapsing)
	r.recall(one)
	r.recall(two)
	r.clock.Advance(2 * time.Minute)
	w.want(r.unacked(last, "ann")...)
}

func unackedDropped(r *rig) {
	w := r.watch(watch.Unacked)
	m := r.ask(time.Minute, "ann", "bob")
	for range 5 {
		r.unicast("ann")
	}
	r.clock.Advance(time.Minute)
	w.want(r.unacked(m, "bob")...)
}

func unackedDuplicate(r *rig) {
	w := r.watch(watch.Unacked)
	p := history.Push{Kind: history.Multicast, Users: []string{"ann"}, IdempotencyKey: "k", UnackedAfter: time.Minute}
	m := r.send(p)
	if again := r.push(p); !again.Duplicate {
		r.Errorf("again: %+v", again)
	}
	p.UnackedAfter = 2 * time.Minute
	r.push(p)
	r.clock.Advance(time.Minute)
	w.want(r.unacked(m, "ann")...)
	r.clock.Advance(time.Minute)
	w.want()
}

// unackedCrowd: a reader gets more events than are kept, all of them, in small
// pages.
func unackedCrowd(r *rig) {
	w := r.watch(watch.Unacked)
	users := make([]string, 3*eventsKept)
	for i := range users {
		users[i] = fmt.Sprint("user-", i)
	}
	m := r.ask(time.Minute, users...)
	r.ack("user-1000", r.heads("user-1000"))
	r.clock.Advance(time.Minute)
	got := map[string]int{}
	for range 2 * len(users) {
		p, err := r.events().ReadEvents(r.ctx, watch.Query{Kinds: watch.Unacked, After: w.at, Limit: 50})
		if err != nil || p.Lost {
			r.Fatalf("after %d events: lost: %v, %v", len(got), p.Lost, err)
		}
		if len(p.Events) == 0 {
			break
		}
		for _, e := range p.Events {
			if e.Kind != watch.Unacked || e.ID != m.ID {
				r.Errorf("event %s", eventText([]watch.Event{e}))
			}
			got[e.User]++
		}
		w.at = p.Next
	}
	for _, user := range users {
		if want := 1; got[user] != want && user != "user-1000" {
			r.Errorf("%s came %d times", user, got[user])
		}
	}
	if len(got) != len(users)-1 {
		r.Errorf("%d users, want %d", len(got), len(users)-1)
	}
}

func unackedAtOnce(r *rig) {
	const readers = 4
	var watchers []*watcher
	for range readers {
		watchers = append(watchers, r.watch(watch.Unacked))
	}
	users := make([]string, 300)
	for i := range users {
		users[i] = fmt.Sprint("user-", i)
	}
	m := r.ask(time.Minute, users...)
	r.clock.Advance(time.Minute)
	var running sync.WaitGroup
	for _, w := range watchers {
		running.Go(func() { w.wantAnyOrder(r.unacked(m, users...)...) })
	}
	running.Wait()
	for _, w := range watchers {
		w.want()
	}
}

// unackedAmongOthers: a reader who finds other events with every read gets these too.
func unackedAmongOthers(r *rig) {
	w := r.watch(watch.Unacked | watch.Acked)
	users := []string{"ann", "bob", "cleo", "dora"} // in several partitions, where there are some
	asked := r.ask(time.Minute, users...)
	for i := range users {
		users[i] += "-acks"
	}
	other := r.multicast(users...)
	r.clock.Advance(time.Minute)
	found := map[string]bool{}
	for i := 0; i < 100 && len(found) < 4; i++ {
		r.clock.Advance(history.MinUnackedAfter)
		for _, user := range users { // so that each page has something
			r.ack(user, history.Cursor{Inbox: other.ID})
			r.ack(user, r.heads(user))
		}
		other = r.multicast(users...)
		p := w.read(0)
		if p.Lost {
			r.Error("something was lost")
		}
		for _, e := range p.Events {
			if e.Kind != watch.Unacked {
				continue
			}
			if e.ID != asked.ID || found[e.User] {
				r.Errorf("event %s", eventText([]watch.Event{e}))
			}
			found[e.User] = true
		}
	}
	if len(found) != 4 {
		r.Errorf("of four that did not ack, %d were found", len(found))
	}
}

// unackedWakes: on a clock of the test the reader cannot know when to check, but it
// checks often.
func unackedWakes(r *rig) {
	w := r.watch(watch.Unacked)
	m := r.ask(time.Minute, "ann")
	pages := make(chan watch.Page, 1)
	go func() { pages <- w.read(deadline) }()
	r.clock.Advance(time.Minute)
	if p := await(r, "event", pages); eventText(p.Events) != eventText(r.unacked(m, "ann")) {
		r.Errorf("waited for %s", eventText(p.Events))
	}
}

func unackedBad(r *rig) {
	ann := []string{"ann"}
	for _, p := range []history.Push{
		{Kind: history.Broadcast, UnackedAfter: time.Minute},
		{Kind: history.Unicast, Users: ann, UnackedAfter: time.Minute, Ephemeral: true},
		{Kind: history.Unicast, Users: ann, UnackedAfter: -time.Minute},
		{Kind: history.Unicast, Users: ann, UnackedAfter: history.MinUnackedAfter - 1},
		{Kind: history.Unicast, Users: ann, UnackedAfter: history.MaxUnackedAfter + 1},
		{Kind: history.Unicast, Users: ann, UnackedAfter: time.Minute, TTL: time.Minute},
		{Kind: history.Unicast, Users: ann, UnackedAfter: time.Minute + 1, TTL: time.Minute + time.Millisecond}, // the same in milliseconds
	} {
		if _, err := r.store.Append(r.ctx, p); err == nil || errors.Is(err, history.ErrUser) {
			r.Errorf("appended %+v: %v", p, err)
		}
	}
	r.wantHistory("ann")
}

func reopenKeepsUnacked(r *rig) {
	one, two := r.ask(time.Minute, "ann", "bob"), r.ask(time.Hour, "bob")
	r.reopen()
	w := r.watch(watch.Unacked)
	r.ack("ann", history.Cursor{Inbox: one.ID})
	r.clock.Advance(time.Minute)
	w.want(r.unacked(one, "bob")...)
	r.reopen()
	w = r.watch(watch.Unacked)
	w.want()
	r.clock.Advance(time.Hour)
	w.want(r.unacked(two, "bob")...)
}
