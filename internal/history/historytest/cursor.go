package historytest

import (
	"errors"
	"time"

	"pushd.example/internal/history"
)

func cursorPromises() []promise {
	return []promise{
		{name: "ContinuesWhileMessagesArrive", check: cursorContinues},
		{name: "StepsOverExpiredMessages", check: cursorStepsOverExpired},
		{name: "KeepsTheLogsApart", check: cursorKeepsLogsApart},
		{name: "PastTheHeadIsTheHead", check: cursorPastHead},
		{name: "FromTheFutureIsRefused", check: cursorFromFuture},
		{name: "UpToTheHeadIsGoodWhateverTheClockSays", check: cursorAndClock},
	}
}

func cursorContinues(r *rig) {
	sent := mixed(r, 4)
	var got []history.Message
	var c history.Cursor
	for range 30 {
		p := r.page("ann", history.Query{Direction: history.Forward, After: c, Limit: 2})
		got, c = append(got, p.Messages...), p.Cursor
		if len(sent) < 25 {
			sent = append(sent, mixed(r, 3)...)
		}
	}
	r.wantMessages("pages read while messages arrive", got, sent...)
}

// cursorStepsOverExpired reads pages of one message with expired ones between
// them, in both logs, and does not meet any of them twice.
func cursorStepsOverExpired(r *rig) {
	var kept, sent []history.Message
	for i, kind := range []history.Kind{1, 3, 1, 3, 3, 1, 1, 3, 2, 3} {
		p := history.Push{Kind: kind}
		if kind != history.Broadcast {
			p.Users = []string{"ann"}
		}
		if i%3 != 1 {
			p.TTL = time.Second
		}
		m := r.send(p)
		sent = append(sent, m)
		if p.TTL == 0 {
			kept = append(kept, m)
		}
	}
	r.clock.Advance(time.Hour)
	var c history.Cursor
	for i, m := range kept {
		p := r.page("ann", history.Query{Direction: history.Forward, After: c, Limit: 1})
		r.wantMessages("page among expired messages", p.Messages, m)
		if p.HasMore != (i < len(kept)-1) || p.Truncated {
			r.Errorf("page %d: has more %v, truncated %v", i, p.HasMore, p.Truncated)
		}
		if c.Max(p.Cursor) != p.Cursor {
			r.Errorf("page %d: the cursor went from %+v back to %+v", i, c, p.Cursor)
		}
		c = p.Cursor
	}
	if want := cursorOf(history.Cursor{}, sent...); c != want {
		r.Errorf("at the end the cursor is %+v, want the heads %+v", c, want)
	}
}

// cursorKeepsLogsApart: a reader that missed a unicast and then saw a
// broadcast gets the unicast, and not the broadcast again.
func cursorKeepsLogsApart(r *rig) {
	first, missed := r.unicast("ann"), r.unicast("ann")
	seen := r.broadcast()
	next, later := r.unicast("ann"), r.broadcast()
	c := cursorOf(history.Cursor{}, first, seen)
	var got []history.Message
	for range 3 {
		p := r.page("ann", history.Query{Direction: history.Forward, After: c, Limit: 1})
		got, c = append(got, p.Messages...), p.Cursor
	}
	r.wantMessages("pages after the broadcast", got, missed, next, later)
}

// near is a cursor that lies past every head, by less than the clock's skew.
func near(r *rig) history.Cursor {
	id := history.FirstIDAt(r.clock.Now().Add(time.Minute))
	return history.Cursor{Inbox: id, Broadcast: id}
}

func cursorPastHead(r *rig) {
	sent := mixed(r, 4)
	heads := cursorOf(history.Cursor{}, sent...)
	p := r.forward("ann", near(r))
	if len(p.Messages) != 0 || p.Cursor != heads || p.HasMore || p.Truncated {
		r.Errorf("page after a cursor past the heads %+v: %+v", heads, p)
	}
	a := r.attach("ann", history.Start{At: history.StartAfter, Cursor: near(r), Limit: 1})
	if a.From != heads || len(a.Page.Messages) != 0 || a.Page.Cursor != heads {
		r.Errorf("attached past the heads %+v: %+v", heads, a)
	}
	if n := r.ack("ann", near(r)); n != 0 {
		r.Errorf("after an ack past the heads %d are unread", n)
	}
	r.unicast("ann")
	r.broadcast()
	if n := r.unread("ann"); n != 2 {
		r.Errorf("an ack past the heads hides later messages: %d unread, want 2", n)
	}
	onlyInbox := r.forward("ann", history.Cursor{Inbox: near(r).Inbox, Broadcast: heads.Broadcast})
	if len(onlyInbox.Messages) != 1 || onlyInbox.Messages[0].Kind != history.Broadcast {
		r.Errorf("past the inbox's head only: %s, want one broadcast", list(onlyInbox.Messages))
	}
}

func cursorFromFuture(r *rig) {
	mixed(r, 4)
	for _, c := range []history.Cursor{
		{Inbox: near(r).Inbox + 1}, {Broadcast: near(r).Broadcast + 1},
		{Inbox: history.MaxID, Broadcast: history.MaxID},
		{Inbox: 1, Broadcast: history.MaxID},
	} {
		_, page := r.store.Page(r.ctx, "ann", history.Query{Direction: history.Forward, After: c, Limit: 1})
		_, attach := r.store.Attach(r.ctx, "ann", history.Start{At: history.StartAfter, Cursor: c, Limit: 1})
		mark, ack := r.store.Ack(r.ctx, "ann", c, "")
		for method, err := range map[string]error{"Page": page, "Attach": attach, "Ack": ack} {
			if !errors.Is(err, history.ErrCursor) {
				r.Errorf("%s with %+v: %v, want ErrCursor", method, c, err)
			}
		}
		if mark != (history.ReadMark{}) {
			r.Errorf("a refused ack returns %+v", mark)
		}
	}
	if n := r.unread("ann"); n != 4 {
		r.Errorf("refused acks moved the mark: %d unread, want 4", n)
	}
	if n := r.online("ann"); n != 0 {
		r.Errorf("refused attaches left %d connections", n)
	}
}

// cursorAndClock: a clock that ran ahead and was set right must not turn away
// the cursors that the store itself gave.
func cursorAndClock(r *rig) {
	sent := mixed(r, 4)
	heads := cursorOf(history.Cursor{}, sent...)
	r.clock.Advance(-24 * time.Hour)
	if p := r.forward("ann", heads); len(p.Messages) != 0 || p.Cursor != heads {
		r.Errorf("page after the heads: %+v", p)
	}
	if a := r.attach("ann", history.Start{At: history.StartAfter, Cursor: heads, Limit: 1}); a.From != heads {
		r.Errorf("attached at the heads %+v: from %+v", heads, a.From)
	}
	if n := r.ack("ann", heads); n != 0 {
		r.Errorf("after an ack of the heads %d are unread", n)
	}
}
