package historytest

import (
	"context"

	"pushd.example/internal/history"
)

func attachPromises() []promise {
	return []promise{
		{name: "StartNowBeginsAtTheHeads", check: startNow},
		{name: "StartAfterIsTheForwardPage", retention: history.Retention{InboxCount: 4}, check: startAfter},
		{name: "StartUnreadBeginsAtTheReadMark", check: startUnread},
		{name: "PageAndDeliveriesJoin", check: pageAndDeliveriesJoin},
		{name: "ConnectionsAreCounted", check: connectionsAreCounted},
		{name: "DetachTakesBackOne", check: detachTakesBackOne},
		{name: "RefusedAttachRegistersNothing", check: refusedAttach},
	}
}

func connectionsAreCounted(r *rig) {
	for i, want := range []int{1, 2, 3} {
		s := history.Start{At: []history.StartAt{history.StartNow, history.StartAfter, history.StartUnread}[i], Limit: 1}
		if a := r.attach("ann", s); a.Connections != want {
			r.Errorf("attached: %d connections, want %d", a.Connections, want)
		}
	}
	if a := r.attach("bob", history.Start{}); a.Connections != 1 {
		r.Errorf("attached another user: %d connections, want 1", a.Connections)
	}
	r.store.Detach("ann")
	r.store.Detach("ann")
	if a := r.attach("ann", history.Start{}); a.Connections != 2 {
		r.Errorf("attached after two left: %d connections, want 2", a.Connections)
	}
}

func startNow(r *rig) {
	sent := mixed(r, 6)
	r.ack("ann", cursorOf(history.Cursor{}, sent[:2]...))
	heads := cursorOf(history.Cursor{}, sent...)
	// Limits mean nothing here, so that none is as good as any.
	for _, limit := range []int{0, 3} {
		a := r.attach("ann", history.Start{Limit: limit, Cursor: history.Cursor{Inbox: 1}})
		p := a.Page
		if a.From != heads || len(p.Messages) != 0 || p.Cursor != heads || p.HasMore || p.Truncated || p.Unread != 4 {
			r.Errorf("attached: %+v, want heads %+v and 4 unread", a, heads)
		}
	}
}

func startAfter(r *rig) {
	sent := mixed(r, 12)
	cursors := []history.Cursor{{}}
	for i := range sent {
		cursors = append(cursors, cursorOf(history.Cursor{}, sent[:i+1]...))
	}
	for _, c := range cursors {
		for _, limit := range []int{1, 3, 100} {
			for _, most := range []int{0, 5} {
				a := r.attach("ann", history.Start{At: history.StartAfter, Cursor: c, Limit: limit, MaxBytes: most})
				p := r.page("ann", history.Query{Direction: history.Forward, After: c, Limit: limit, MaxBytes: most})
				if a.From != c || pageText(a.Page) != pageText(p) {
					r.Errorf("attached after %+v: from %+v,\n page %s\n want %s", c, a.From, pageText(a.Page), pageText(p))
				}
			}
		}
	}
}

func startUnread(r *rig) {
	sent := mixed(r, 6)
	whole := r.attach("ann", history.Start{At: history.StartUnread, Limit: 10})
	r.wantMessages("unread of one who never acked", whole.Page.Messages, sent...)
	mark := cursorOf(history.Cursor{}, sent[:3]...)
	r.ack("ann", mark)
	a := r.attach("ann", history.Start{At: history.StartUnread, Limit: 2, Cursor: history.Cursor{Inbox: 1}})
	r.wantMessages("first page of the unread", a.Page.Messages, sent[3:5]...)
	if a.From != mark || !a.Page.HasMore || a.Page.Unread != 3 {
		r.Errorf("attached: %+v, want from %+v with 3 unread", a, mark)
	}
	r.wantMessages("second page of the unread", r.forward("ann", a.Page.Cursor).Messages, sent[5])
}

func pageAndDeliveriesJoin(r *rig) {
	f := r.follow()
	sent := mixed(r, 5)
	a := r.attach("ann", history.Start{At: history.StartAfter, Limit: all})
	if got := f.takeUnattached(); len(got) != 0 {
		r.Errorf("delivered before anybody was attached: %+v", got)
	}
	at, got := a.Page.Cursor, a.Page.Messages
	live := mixed(r, 10)
	for _, d := range f.take() {
		prev, last := d.Prev, at.Broadcast
		if d.Message.Kind != history.Broadcast {
			prev, last = d.Recipients[0].Prev, at.Inbox
		}
		if prev != last {
			r.Errorf("message %d comes after %d, the connection stands at %d", d.Message.ID, prev, last)
		}
		at, got = cursorOf(at, d.Message), append(got, d.Message)
	}
	r.wantMessages("page and deliveries", got, append(sent, live...)...)
}

func detachTakesBackOne(r *rig) {
	for range 3 {
		r.attach("ann", history.Start{})
	}
	for left := 2; left >= 0; left-- {
		r.store.Detach("ann")
		if n := r.online("ann"); n != left {
			r.Errorf("%d connections online, want %d", n, left)
		}
	}
	r.attach("ann", history.Start{})
	if n := r.online("ann"); n != 1 {
		r.Errorf("%d connections online after attaching again, want 1", n)
	}
}

func refusedAttach(r *rig) {
	f := r.follow()
	ended, cancel := context.WithCancel(r.ctx)
	cancel()
	for _, s := range []history.Start{
		{At: history.StartAfter}, {At: history.StartUnread, Limit: -1},
		{At: history.StartAfter, Limit: 1, MaxBytes: -1},
		{At: history.StartUnread + 1, Limit: 1},
		{At: history.StartAfter, Limit: 1, Cursor: history.Cursor{Inbox: history.MaxID}},
	} {
		if a, err := r.store.Attach(r.ctx, "ann", s); err == nil {
			r.Errorf("attached at %+v: %+v", s, a)
		}
	}
	if a, err := r.store.Attach(ended, "ann", history.Start{}); err == nil {
		r.Errorf("attached with an ended context: %+v", a)
	}
	if n := r.online("ann"); n != 0 {
		r.Errorf("%d connections online, want 0", n)
	}
	r.broadcast()
	if got := f.takeUnattached(); len(got) != 0 {
		r.Errorf("refused connections were sent %+v", got)
	}
}
