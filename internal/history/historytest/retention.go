package historytest

import (
	"math"
	"slices"
	"time"

	"pushd.example/internal/history"
)

func retentionPromises() []promise {
	five := history.Retention{InboxCount: 5, BroadcastCount: 3}
	ages := history.Retention{InboxAge: time.Hour, BroadcastAge: 2 * time.Hour}
	huge := history.Retention{
		InboxCount: math.MaxInt, InboxAge: math.MaxInt64,
		BroadcastCount: math.MaxInt, BroadcastAge: math.MaxInt64, IdempotencyKeys: math.MaxInt64,
	}
	return []promise{
		{name: "TTLEndsOnItsMillisecond", check: ttlEnds},
		{name: "TTLIsRoundedUpToMilliseconds", check: ttlIsRoundedUp},
		{name: "TTLCountsFromTheClock", of: oneProcess, check: ttlCountsFromTheClock},
		{name: "BoundsMayBeTheGreatestNumbers", retention: huge, check: boundsMayBeHuge},
		{name: "TTLTruncatesNothing", check: ttlTruncatesNothing},
		{name: "CountHidesTheOldest", retention: five, check: countHides},
		{name: "CountIncludesTheExpired", retention: five, check: countIncludesExpired},
		{name: "CountIsOfEachInbox", retention: five, check: countIsPerInbox},
		{name: "AgeHidesOnItsMillisecond", retention: ages, check: ageHides},
		{name: "DefaultsHold", check: defaultsHold},
		{name: "TruncatedTellsWhatTheCountDropped", retention: five, check: truncatedByCount},
		{name: "TruncatedTellsWhatAgeDropped", retention: ages, check: truncatedByAge},
		{name: "TruncatedCountsTheExpiredThatWereDropped", retention: five, check: truncatedExpired},
		{name: "CursorCoversTheExpiredThatAPageSteppedOver", retention: five, check: cursorCoversExpired},
		{name: "UnreadIsWhatPagesList", retention: five, check: unreadIsWhatPagesList},
	}
}

func ttlEnds(r *rig) {
	const ttl = 10 * time.Second
	stays := r.unicast("ann")
	r.clock.Advance(time.Millisecond)
	var expiring []history.Message
	for _, p := range []history.Push{
		{Kind: history.Unicast, Users: []string{"ann"}},
		{Kind: history.Multicast, Users: []string{"ann", "bob"}},
		{Kind: history.Broadcast},
	} {
		p.TTL = ttl
		expiring = append(expiring, r.send(p))
	}
	for n := range expiring {
		last := expiring[n].ID.Time().Add(ttl - time.Millisecond)
		r.clock.Advance(last.Sub(r.clock.Now()))
		r.wantHistory("ann", append([]history.Message{stays}, expiring[n:]...)...)
		r.clock.Advance(time.Millisecond)
		left := append([]history.Message{stays}, expiring[n+1:]...)
		r.wantHistory("ann", left...)
		p := r.page("ann", history.Query{Limit: all})
		r.wantMessages("newest", p.Messages, left...)
		if p.Unread != len(left) {
			r.Errorf("%d unread, want %d", p.Unread, len(left))
		}
	}
}

func ttlIsRoundedUp(r *rig) {
	m := r.send(history.Push{Kind: history.Unicast, Users: []string{"ann"}, TTL: time.Millisecond + 1})
	r.clock.Advance(2*time.Millisecond - 1)
	r.wantHistory("ann", m)
	r.clock.Advance(1)
	r.wantHistory("ann")
}

// ttlCountsFromTheClock has ids that are two hours ahead of the clock.
func ttlCountsFromTheClock(r *rig) {
	r.clock.Advance(2 * time.Hour)
	ahead := r.unicast("ann")
	r.clock.Advance(-2 * time.Hour)
	m := r.send(history.Push{Kind: history.Unicast, Users: []string{"ann"}, TTL: time.Minute})
	ends := r.clock.Now().Add(time.Minute)
	r.clock.Advance(ends.Sub(r.clock.Now()) - time.Millisecond)
	r.wantHistory("ann", ahead, m)
	r.clock.Advance(time.Millisecond)
	r.wantHistory("ann", ahead)
	b := r.send(history.Push{Kind: history.Broadcast, TTL: time.Minute})
	ends = r.clock.Now().Add(time.Minute)
	r.clock.Advance(ends.Sub(r.clock.Now()) - time.Millisecond)
	r.wantHistory("ann", ahead, b)
	r.clock.Advance(time.Millisecond)
	r.wantHistory("ann", ahead)
}

func boundsMayBeHuge(r *rig) {
	var sent []history.Message
	for i, p := range []history.Push{
		{Kind: history.Unicast, Users: []string{"ann"}},
		{Kind: history.Multicast, Users: []string{"ann", "bob"}},
		{Kind: history.Broadcast},
	} {
		p.TTL, p.IdempotencyKey = math.MaxInt64-time.Duration(i), "k"+p.Kind.String()
		sent = append(sent, r.send(p))
	}
	r.clock.Advance(20 * 365 * 24 * time.Hour)
	r.wantHistory("ann", sent...)
	wantTruncated(r, history.Cursor{}, false)
	if got := r.push(history.Push{Kind: history.Broadcast, IdempotencyKey: "kbroadcast"}); !got.Duplicate {
		r.Errorf("the key is forgotten: %+v", got)
	}
	p := r.page("ann", history.Query{Limit: math.MaxInt, MaxBytes: math.MaxInt})
	r.wantMessages("the greatest page", p.Messages, sent...)
}

func ttlTruncatesNothing(r *rig) {
	r.send(history.Push{Kind: history.Unicast, Users: []string{"ann"}, TTL: time.Second})
	r.send(history.Push{Kind: history.Broadcast, TTL: time.Second})
	r.clock.Advance(time.Minute)
	stays := r.unicast("ann")
	p := r.forward("ann", history.Cursor{})
	r.wantMessages("page", p.Messages, stays)
	if p.Truncated {
		r.Error("a TTL that ended counts as retention")
	}
}

func countHides(r *rig) {
	sent := mixed(r, 40)
	var inbox, broadcasts []history.Message
	for _, m := range sent {
		if m.Kind == history.Broadcast {
			broadcasts = append(broadcasts, m)
		} else {
			inbox = append(inbox, m)
		}
	}
	want := byID(append(inbox[len(inbox)-5:], broadcasts[len(broadcasts)-3:]...)...)
	r.wantHistory("ann", want...)
	p := r.page("ann", history.Query{Limit: all})
	r.wantMessages("newest", p.Messages, want...)
	p = r.page("ann", history.Query{Direction: history.Backward, Before: want[1].ID, Limit: all})
	r.wantMessages("backward", p.Messages, want[0])
	if p.HasMore {
		r.Error("a backward page has more, though the count hides it")
	}
}

func countIncludesExpired(r *rig) {
	expiring := func(kind history.Kind, users ...string) {
		r.send(history.Push{Kind: kind, Users: users, TTL: time.Second})
	}
	for range 4 {
		r.unicast("ann")
		r.broadcast()
	}
	a, b := r.unicast("ann"), r.broadcast()
	for range 2 {
		expiring(history.Unicast, "ann")
		expiring(history.Multicast, "ann", "bob")
	}
	for range 2 {
		expiring(history.Broadcast)
	}
	r.clock.Advance(time.Minute)
	r.wantHistory("ann", a, b)
}

func countIsPerInbox(r *rig) {
	quiet := r.unicast("bob")
	var last []history.Message
	for range 9 {
		last = append(last, r.unicast("ann"))
	}
	r.wantHistory("bob", quiet)
	shared := r.multicast("ann", "bob")
	r.wantHistory("ann", append(last[5:], shared)...)
	for range 5 {
		r.unicast("ann")
	}
	r.wantHistory("bob", quiet, shared)
}

func ageHides(r *rig) {
	inbox := r.unicast("ann")
	shared := r.multicast("ann", "bob")
	broadcast := r.broadcast()
	at := func(m history.Message, age time.Duration) {
		r.clock.Advance(m.ID.Time().Add(age).Sub(r.clock.Now()))
	}
	at(inbox, time.Hour)
	r.wantHistory("ann", inbox, shared, broadcast)
	r.clock.Advance(time.Millisecond)
	r.wantHistory("ann", shared, broadcast)
	r.clock.Advance(time.Millisecond)
	r.wantHistory("ann", broadcast)
	at(broadcast, 2*time.Hour)
	r.wantHistory("ann", broadcast)
	r.clock.Advance(time.Millisecond)
	p := r.forward("ann", history.Cursor{})
	r.wantMessages("page of nothing but old messages", p.Messages)
	if heads := cursorOf(history.Cursor{}, shared, broadcast); p.Cursor != heads || p.HasMore || p.Unread != 0 {
		r.Errorf("page of nothing but old messages: %+v, want the heads %+v", p, heads)
	}
	r.wantHistory("bob")
	again := r.unicast("ann")
	r.wantHistory("ann", again)
}

func defaultsHold(r *rig) {
	ids := slices.Sorted(slices.Values(slices.Concat(inParallel(r, 40, 25)...)))
	last := r.unicast("ann")
	got := r.forward("ann", history.Cursor{}).Messages
	if len(got) != 1000 || got[0].ID != ids[1] || got[999].ID != last.ID {
		r.Errorf("the inbox shows %d messages, want 1,000 from %d to %d", len(got), ids[1], last.ID)
	}
	// Ids of the last one's millisecond may be many.
	n := slices.IndexFunc(got, func(m history.Message) bool { return m.ID.Time().Equal(last.ID.Time()) })
	r.clock.Advance(last.ID.Time().Add(30 * 24 * time.Hour).Sub(r.clock.Now()))
	r.wantHistory("ann", got[n:]...)
}

// wantTruncated checks Forward, Attach and that nothing else is truncated.
func wantTruncated(r *rig, c history.Cursor, want bool) {
	r.Helper()
	if p := r.forward("ann", c); p.Truncated != want {
		r.Errorf("page after %+v: truncated %v, want %v", c, p.Truncated, want)
	}
	a := r.attach("ann", history.Start{At: history.StartAfter, Cursor: c, Limit: 1})
	r.store.Detach("ann")
	if a.Page.Truncated != want {
		r.Errorf("attached after %+v: truncated %v, want %v", c, a.Page.Truncated, want)
	}
	now := r.attach("ann", history.Start{At: history.StartNow})
	r.store.Detach("ann")
	newest := r.page("ann", history.Query{Limit: 1})
	back := r.page("ann", history.Query{Direction: history.Backward, Before: c.Inbox + 1, Limit: 1})
	if now.Page.Truncated || newest.Truncated || back.Truncated {
		r.Errorf("truncated: start now %v, newest %v, backward %v", now.Page.Truncated, newest.Truncated, back.Truncated)
	}
}

func truncatedByCount(r *rig) {
	var inbox, broadcasts []history.Message
	for range 5 {
		inbox = append(inbox, r.unicast("ann"))
	}
	for range 3 {
		broadcasts = append(broadcasts, r.broadcast())
	}
	wantTruncated(r, history.Cursor{}, false)
	inbox = append(inbox, r.unicast("ann")) // drops the first
	wantTruncated(r, history.Cursor{}, true)
	wantTruncated(r, history.Cursor{Inbox: inbox[0].ID - 1}, true)
	wantTruncated(r, history.Cursor{Inbox: inbox[0].ID}, false)
	broadcasts = append(broadcasts, r.broadcast(), r.broadcast()) // drop the first two
	wantTruncated(r, history.Cursor{Inbox: inbox[0].ID}, true)
	wantTruncated(r, history.Cursor{Inbox: inbox[0].ID, Broadcast: broadcasts[0].ID}, true)
	wantTruncated(r, history.Cursor{Inbox: inbox[0].ID, Broadcast: broadcasts[1].ID}, false)
	r.ack("ann", history.Cursor{Inbox: inbox[2].ID, Broadcast: broadcasts[0].ID})
	a := r.attach("ann", history.Start{At: history.StartUnread, Limit: 1})
	if !a.Page.Truncated {
		r.Error("attached after the read mark: not truncated")
	}
	r.ack("ann", history.Cursor{Broadcast: broadcasts[1].ID})
	a = r.attach("ann", history.Start{At: history.StartUnread, Limit: 1})
	if a.Page.Truncated {
		r.Error("attached after a read mark past all that was dropped: truncated")
	}
}

func truncatedByAge(r *rig) {
	inbox, broadcast := r.unicast("ann"), r.broadcast()
	r.clock.Advance(time.Hour)
	wantTruncated(r, history.Cursor{}, true) // the unicast is past its age by the broadcast's millisecond
	wantTruncated(r, history.Cursor{Inbox: inbox.ID}, false)
	r.clock.Advance(time.Hour)
	wantTruncated(r, history.Cursor{Inbox: inbox.ID}, false)
	r.clock.Advance(time.Millisecond)
	wantTruncated(r, history.Cursor{Inbox: inbox.ID}, true)
	wantTruncated(r, history.Cursor{Inbox: inbox.ID, Broadcast: broadcast.ID}, false)
	r.unicast("ann")
	r.broadcast()
	wantTruncated(r, history.Cursor{Inbox: inbox.ID}, true)
	wantTruncated(r, history.Cursor{Inbox: inbox.ID, Broadcast: broadcast.ID}, false)
}

// truncatedExpired: what became of a message before retention dropped it
// makes no difference.
func truncatedExpired(r *rig) {
	first := r.send(history.Push{Kind: history.Unicast, Users: []string{"ann"}, TTL: time.Second})
	r.clock.Advance(time.Minute)
	for range 4 {
		r.unicast("ann")
	}
	wantTruncated(r, history.Cursor{}, false)
	r.unicast("ann")
	wantTruncated(r, history.Cursor{}, true)
	wantTruncated(r, history.Cursor{Inbox: first.ID}, false)
}

// cursorCoversExpired: a reader that was led over expired messages is not told
// that it missed them when retention drops them.
func cursorCoversExpired(r *rig) {
	expiring := func(kind history.Kind, users ...string) {
		r.send(history.Push{Kind: kind, Users: users, TTL: time.Second})
	}
	first := r.unicast("ann")
	expiring(history.Unicast, "ann")
	expiring(history.Broadcast)
	next := r.unicast("ann")
	r.clock.Advance(time.Minute)
	forward := r.page("ann", history.Query{Direction: history.Forward, Limit: 1})
	r.wantMessages("forward page", forward.Messages, first)
	backward := r.page("ann", history.Query{Direction: history.Backward, Before: next.ID, Limit: 1})
	r.wantMessages("backward page", backward.Messages, first)
	for range 3 { // the inbox shows five: now the first two are dropped
		r.unicast("ann")
		r.broadcast()
	}
	r.unicast("ann")
	for _, c := range []history.Cursor{forward.Cursor, backward.Cursor} {
		wantTruncated(r, c, false)
	}
	wantTruncated(r, cursorOf(history.Cursor{}, first), true)
}

func unreadIsWhatPagesList(r *rig) {
	var sent []history.Message
	for i := range 30 {
		sent = append(sent, mixed(r, 1)...)
		m := history.Push{Kind: history.Broadcast, TTL: time.Duration(i%7) * time.Second}
		sent = append(sent, r.send(m))
		r.clock.Advance(time.Second)
		if i%5 == 4 {
			r.ack("ann", cursorOf(history.Cursor{}, sent[:len(sent)-7]...))
		}
		a := r.attach("ann", history.Start{At: history.StartUnread, Limit: all})
		listed := len(r.forward("ann", a.From).Messages)
		if n := r.unread("ann"); n != listed || a.Page.Unread != listed || len(a.Page.Messages) != listed {
			r.Errorf("step %d: %d unread by page, %d by attach, %d replayed, %d listed after the mark",
				i, n, a.Page.Unread, len(a.Page.Messages), listed)
		}
		if n := r.ack("ann", history.Cursor{}); n != listed {
			r.Errorf("step %d: %d unread by ack, %d listed", i, n, listed)
		}
	}
}
