package historytest

import (
	"slices"
	"time"

	"pushd.example/internal/history"
)

func gapPromises() []promise {
	five := history.Retention{InboxCount: 5}
	return []promise{
		{name: "AreWhereSomethingIsLeftOut", check: gapsTellWhatIsLeftOut},
		{name: "NotWhereNothingIs", check: gapsNone},
		{name: "CursorsOfPagesThatJoinAreAtTheirLastEntry", check: cursorsJoin},
		{name: "WhatTheCountDroppedIsLeftOut", retention: five, check: gapsOfDropped},
		{name: "WhatTheAgeDroppedIsLeftOut", retention: history.Retention{InboxAge: time.Hour}, check: gapsOfAged},
	}
}

// wantGaps checks the page after c, whole and in pieces, and as Attach has it.
func (r *rig) wantGaps(c history.Cursor, want ...history.Message) {
	r.Helper()
	var ids []history.ID
	for _, m := range want {
		ids = append(ids, m.ID)
	}
	if got := r.forward("ann", c).Gaps; !slices.Equal(got, ids) {
		r.Errorf("after %v: gaps before %v, want %v", c, got, ids)
	}
	for limit := 1; limit < 4; limit++ {
		for at, more := c, true; more; {
			p := r.page("ann", history.Query{Direction: history.Forward, After: at, Limit: limit})
			// If a page ends behind what is left out, the next has no gap before
			// its first.
			within := slices.DeleteFunc(slices.Clone(ids), func(id history.ID) bool {
				i := slices.IndexFunc(p.Messages, func(m history.Message) bool { return m.ID == id })
				return i < 0 || i == firstInbox(p.Messages)
			})
			for _, id := range slices.Concat(p.Gaps, within) {
				if !slices.Contains(ids, id) || !slices.Contains(p.Gaps, id) {
					r.Errorf("after %v, %d at a time: gaps before %v, want %v", c, limit, p.Gaps, ids)
				}
			}
			at, more = p.Cursor, p.HasMore
		}
	}
	a := r.attach("ann", history.Start{At: history.StartAfter, Cursor: c, Limit: all})
	if !slices.Equal(a.Page.Gaps, ids) {
		r.Errorf("attached after %v: gaps before %v, want %v", c, a.Page.Gaps, ids)
	}
}

func firstInbox(messages []history.Message) int {
	return slices.IndexFunc(messages, func(m history.Message) bool { return m.Kind != history.Broadcast })
}

func gapsNone(r *rig) {
	sent := mixed(r, 12)
	r.wantGaps(history.Cursor{})
	r.wantGaps(history.Cursor{Inbox: sent[3].ID})
	r.send(history.Push{Kind: history.Broadcast, TTL: time.Second})
	r.unicast("ann")
	r.recall(sent[1]) // a broadcast
	r.clock.Advance(time.Minute)
	r.wantGaps(history.Cursor{})
	for _, q := range []history.Query{{Limit: all}, {Direction: history.Backward, Before: history.MaxID, Limit: all}} {
		if p := r.page("ann", q); len(p.Gaps) != 0 {
			r.Errorf("%+v: gaps %v", q, p.Gaps)
		}
	}
}

func cursorsJoin(r *rig) {
	mixed(r, 23)
	for limit := 1; limit < 8; limit++ {
		last := history.ID(0)
		for at, more := (history.Cursor{}), true; more; {
			p := r.page("ann", history.Query{Direction: history.Forward, After: at, Limit: limit})
			for _, m := range p.Messages {
				if m.Kind != history.Broadcast {
					last = m.ID
				}
			}
			if p.Cursor.Inbox != last {
				r.Errorf("%d at a time: after inbox message %d the cursor is %+v", limit, last, p.Cursor)
			}
			at, more = p.Cursor, p.HasMore
		}
	}
}

func gapsTellWhatIsLeftOut(r *rig) {
	expiring := func() history.Message {
		return r.send(history.Push{Kind: history.Unicast, Users: []string{"ann"}, TTL: time.Second})
	}
	collapsing := func() history.Message {
		return r.send(history.Push{Kind: history.Multicast, Users: []string{"ann", "bob"}, CollapseKey: "t"})
	}
	expired := expiring()
	one, two := r.unicast("ann"), r.multicast("ann", "bob")
	replaced := collapsing()
	r.broadcast()
	three := collapsing()
	recalled := r.multicast("bob", "ann")
	four, five := r.unicast("ann"), r.unicast("ann")
	hidden := r.unicast("ann")
	expiring()
	last := expiring()
	r.recall(recalled)
	r.recall(hidden)
	r.clock.Advance(time.Minute)
	six := r.unicast("ann")
	r.wantGaps(history.Cursor{}, one, three, four, six)
	r.wantGaps(history.Cursor{Inbox: expired.ID}, three, four, six)
	r.wantGaps(history.Cursor{Inbox: one.ID}, three, four, six)
	r.wantGaps(history.Cursor{Inbox: two.ID}, three, four, six)
	r.wantGaps(history.Cursor{Inbox: replaced.ID}, four, six)
	r.wantGaps(history.Cursor{Inbox: five.ID}, six)
	r.wantGaps(history.Cursor{Inbox: hidden.ID}, six)
	r.wantGaps(history.Cursor{Inbox: last.ID})
	for _, q := range []history.Query{{Limit: all}, {Direction: history.Backward, Before: history.MaxID, Limit: all}} {
		if p := r.page("ann", q); len(p.Gaps) != 0 {
			r.Errorf("%+v: gaps %v", q, p.Gaps)
		}
	}
	r.ack("ann", history.Cursor{Inbox: one.ID})
	p := r.page("ann", history.Query{Direction: history.Forward, Unread: true, Limit: all})
	if want := []history.ID{three.ID, four.ID, six.ID}; !slices.Equal(p.Gaps, want) {
		r.Errorf("unread: gaps before %v, want %v", p.Gaps, want)
	}
}

func gapsOfDropped(r *rig) {
	var sent []history.Message
	for range 8 {
		sent = append(sent, r.unicast("ann"))
	}
	r.wantGaps(history.Cursor{}, sent[3])
	r.wantGaps(history.Cursor{Inbox: sent[1].ID}, sent[3])
	r.wantGaps(history.Cursor{Inbox: sent[2].ID})
	r.wantGaps(history.Cursor{Inbox: sent[5].ID})
}

// gapsOfAged: engines may have deleted all that the age dropped.
func gapsOfAged(r *rig) {
	var old []history.Message
	for range 4 {
		old = append(old, r.unicast("ann"))
	}
	r.clock.Advance(2 * time.Hour)
	first := r.unicast("ann")
	r.unicast("ann")
	r.wantGaps(history.Cursor{}, first)
	r.wantGaps(history.Cursor{Inbox: old[2].ID}, first)
	r.wantGaps(history.Cursor{Inbox: old[3].ID})
	r.wantGaps(history.Cursor{Inbox: first.ID})
}
