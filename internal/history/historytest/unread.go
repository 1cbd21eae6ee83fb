package historytest

import (
	"time"

	"pushd.example/internal/history"
)

// unreadPromises are about Query.Unread.
func unreadPromises() []promise {
	return []promise{
		{name: "ListsWhatLiesAfterTheMarkOfEachLog", check: unreadOfEachLog},
		{name: "WalksBothWays", check: unreadWalks},
		{name: "HasMoreStopsAtTheMark", check: unreadHasMore},
		{name: "ForwardBeginsAtTheLaterOfCursorAndMark", check: unreadAfter},
		{name: "IsTruncatedByWhatWasUnreadOnly", retention: history.Retention{InboxCount: 2}, check: unreadTruncated},
		{name: "AllReadIsAnEmptyPage", check: unreadNone},
	}
}

// unreadOf returns those of sent that lie after mark in their log.
func unreadOf(sent []history.Message, mark history.Cursor) (out []history.Message) {
	for _, m := range sent {
		if cursorOf(mark, m).Max(mark) != mark {
			out = append(out, m)
		}
	}
	return out
}

// unreadOfEachLog moves the marks of the two logs apart: what is read of one
// lies among what is unread of the other.
func unreadOfEachLog(r *rig) {
	sent := mixed(r, 12)
	for _, mark := range []history.Cursor{
		{}, {Inbox: sent[6].ID}, {Broadcast: sent[3].ID}, {Inbox: sent[8].ID, Broadcast: sent[9].ID},
	} {
		r.ack("ann", mark)
		mark = mark.Max(r.markOf("ann", sent))
		want := unreadOf(sent, mark)
		for _, q := range []history.Query{
			{Direction: history.Newest}, {Direction: history.Forward}, {Direction: history.Backward, Before: history.MaxID},
		} {
			q.Limit, q.Unread = all, true
			p := r.page("ann", q)
			r.wantMessages("unread page", p.Messages, want...)
			if p.HasMore || p.Truncated || p.Unread != len(want) || p.Cursor != cursorOf(history.Cursor{}, sent...) {
				r.Errorf("%+v: %s", q, pageText(p))
			}
		}
	}
	r.wantHistory("ann", sent...)
}

// markOf finds where a connection that begins unread begins.
func (r *rig) markOf(user string, sent []history.Message) history.Cursor {
	r.Helper()
	a := r.attach(user, history.Start{At: history.StartUnread, Limit: len(sent)})
	r.store.Detach(user)
	return a.From
}

func unreadWalks(r *rig) {
	sent := mixed(r, 12)
	mark := history.Cursor{Inbox: sent[5].ID, Broadcast: sent[1].ID}
	r.ack("ann", mark)
	want := unreadOf(sent, mark)
	for limit := 1; limit <= len(want)+1; limit++ {
		forward := history.Query{Direction: history.Forward, Limit: limit, Unread: true}
		backward := history.Query{Direction: history.Newest, Limit: limit, Unread: true}
		for at := 0; at < len(want); at += limit {
			end := min(at+limit, len(want))
			p := r.page("ann", forward)
			r.wantMessages("forward page", p.Messages, want[at:end]...)
			if p.HasMore != (end < len(want)) {
				r.Errorf("forward, limit %d, at %d: has more %v", limit, at, p.HasMore)
			}
			forward.After = p.Cursor

			from, to := max(0, len(want)-end), len(want)-at
			p = r.page("ann", backward)
			r.wantMessages("backward page", p.Messages, want[from:to]...)
			if p.HasMore != (from > 0) {
				r.Errorf("backward, limit %d, down to %d: has more %v", limit, from, p.HasMore)
			}
			backward.Direction, backward.Before = history.Backward, want[from].ID
		}
	}
}

func unreadHasMore(r *rig) {
	read, expiring := r.unicast("ann"), r.send(history.Push{Kind: history.Unicast, Users: []string{"ann"}, TTL: time.Minute})
	r.broadcast()
	kept := r.unicast("ann")
	r.ack("ann", history.Cursor{Inbox: read.ID, Broadcast: kept.ID})
	q := history.Query{Limit: 1, Unread: true}
	for _, more := range []bool{true, false} {
		p := r.page("ann", q)
		r.wantMessages("the newest unread", p.Messages, kept)
		if p.HasMore != more {
			r.Errorf("has more: %v, want %v", p.HasMore, more)
		}
		r.clock.Advance(time.Minute)
	}
	if q.Unread = false; !r.page("ann", q).HasMore {
		r.Errorf("what is read is not listed any more; %v has expired", expiring.ID)
	}
}

func unreadAfter(r *rig) {
	sent := mixed(r, 9)
	mark := history.Cursor{Inbox: sent[3].ID, Broadcast: sent[6].ID}
	r.ack("ann", mark)
	for _, after := range []history.Cursor{
		{}, mark, {Inbox: sent[8].ID}, {Broadcast: sent[1].ID}, {Inbox: sent[0].ID, Broadcast: sent[8].ID},
	} {
		p := r.page("ann", history.Query{Direction: history.Forward, After: after, Limit: all, Unread: true})
		r.wantMessages("unread after "+after.String(), p.Messages, unreadOf(sent, after.Max(mark))...)
	}
}

func unreadTruncated(r *rig) {
	first := r.unicast("ann")
	r.ack("ann", history.Cursor{Inbox: first.ID})
	b, c := r.unicast("ann"), r.unicast("ann")
	q := history.Query{Direction: history.Forward, Limit: all}
	if p := r.page("ann", q); !p.Truncated {
		r.Errorf("%s: the first was dropped", pageText(p))
	}
	q.Unread = true
	p := r.page("ann", q)
	r.wantMessages("unread", p.Messages, b, c)
	if p.Truncated {
		r.Error("truncated by a message that was read")
	}
	r.unicast("ann")
	if p := r.page("ann", q); !p.Truncated {
		r.Errorf("%s: an unread message was dropped", pageText(p))
	}
}

func unreadNone(r *rig) {
	sent := mixed(r, 5)
	heads := cursorOf(history.Cursor{}, sent...)
	r.ack("ann", heads)
	for _, q := range []history.Query{
		{Direction: history.Newest}, {Direction: history.Forward},
		{Direction: history.Backward, Before: sent[3].ID},
	} {
		q.Limit, q.Unread = 2, true
		if p := r.page("ann", q); len(p.Messages) != 0 || p.HasMore || p.Unread != 0 || q.Direction != history.Backward && p.Cursor != heads {
			r.Errorf("%+v with all read: %s", q, pageText(p))
		}
	}
}
