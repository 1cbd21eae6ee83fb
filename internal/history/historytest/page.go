package historytest

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pushd.example/internal/history"
)

func pagePromises() []promise {
	return []promise{
		{name: "EmptyHistoryIsAnEmptyPage", check: emptyHistory},
		{name: "MergesBothLogsByID", check: mergesLogs},
		{name: "ForwardListsAllOnceWithAnyLimit", check: forwardWalk},
		{name: "BackwardListsAllOnceWithAnyLimit", check: backwardWalk},
		{name: "BackwardEndsBelowAnyID", check: backwardBelow},
		{name: "ForwardBeginsAfterAnyIDs", check: forwardAfter},
		{name: "HasMoreLooksPastExpiredMessages", check: hasMoreIsExact},
		{name: "MaxBytesEndsThePage", check: maxBytes},
		{name: "BadQueryIsRefused", check: badQuery},
		{name: "BadUserIsRefused", check: badUser},
	}
}

// mixed sends n messages of all kinds that ann gets, and some that she does not.
func mixed(r *rig, n int) []history.Message {
	r.Helper()
	var sent []history.Message
	for i := range n {
		switch i % 5 {
		case 0, 3:
			sent = append(sent, r.unicast("ann"))
		case 1:
			sent = append(sent, r.broadcast())
		case 2:
			sent = append(sent, r.multicast("bob", "ann"))
		case 4:
			r.unicast("bob")
			sent = append(sent, r.broadcast())
		}
	}
	return sent
}

func emptyHistory(r *rig) {
	r.unicast("bob")
	for _, q := range []history.Query{
		{Direction: history.Newest, Limit: 10},
		{Direction: history.Forward, Limit: 10},
		{Direction: history.Backward, Before: history.MaxID, Limit: 10},
	} {
		p := r.page("ann", q)
		if len(p.Messages) != 0 || p.Cursor != (history.Cursor{}) || p.HasMore || p.Unread != 0 || p.Truncated {
			r.Errorf("%+v of an empty history: %+v", q, p)
		}
	}
}

func mergesLogs(r *rig) {
	sent := mixed(r, 12)
	if !slices.IsSortedFunc(sent, func(a, b history.Message) int { return int(a.ID) - int(b.ID) }) {
		r.Fatalf("ids do not rise with the clock: %s", list(sent))
	}
	for _, q := range []history.Query{
		{Direction: history.Newest, Limit: all},
		{Direction: history.Forward, Limit: all},
		{Direction: history.Backward, Before: history.MaxID, Limit: all},
	} {
		p := r.page("ann", q)
		r.wantMessages("page", p.Messages, sent...)
		if p.HasMore || p.Cursor != cursorOf(history.Cursor{}, sent...) {
			r.Errorf("%+v: has more %v, cursor %+v", q, p.HasMore, p.Cursor)
		}
	}
	p := r.page("ann", history.Query{Limit: 3})
	r.wantMessages("newest page", p.Messages, sent[9:]...)
	if !p.HasMore || p.Cursor != cursorOf(history.Cursor{}, sent...) {
		r.Errorf("newest page: has more %v, cursor %+v", p.HasMore, p.Cursor)
	}
}

func forwardWalk(r *rig) {
	sent := mixed(r, 11)
	for limit := 1; limit <= len(sent)+1; limit++ {
		var c history.Cursor
		for at := 0; at < len(sent); at += limit {
			end := min(at+limit, len(sent))
			p := r.page("ann", history.Query{Direction: history.Forward, After: c, Limit: limit})
			r.wantMessages("forward page", p.Messages, sent[at:end]...)
			if p.HasMore != (end < len(sent)) || p.Truncated {
				r.Errorf("limit %d, at %d: has more %v, truncated %v", limit, at, p.HasMore, p.Truncated)
			}
			c = p.Cursor
		}
		if want := cursorOf(history.Cursor{}, sent...); c != want {
			r.Errorf("limit %d: at the end the cursor is %+v, want the heads %+v", limit, c, want)
		}
	}
}

func backwardWalk(r *rig) {
	sent := mixed(r, 11)
	for limit := 1; limit <= len(sent)+1; limit++ {
		q := history.Query{Direction: history.Newest, Limit: limit}
		for end := len(sent); end > 0; end -= limit {
			at := max(0, end-limit)
			p := r.page("ann", q)
			r.wantMessages("backward page", p.Messages, sent[at:end]...)
			if p.HasMore != (at > 0) || p.Truncated {
				r.Errorf("limit %d, end %d: has more %v, truncated %v", limit, end, p.HasMore, p.Truncated)
			}
			q = history.Query{Direction: history.Backward, Before: sent[at].ID, Limit: limit}
		}
	}
}

func backwardBelow(r *rig) {
	sent := mixed(r, 7)
	befores := []history.ID{0, 1, history.MaxID}
	for _, m := range sent {
		befores = append(befores, m.ID, m.ID+1)
	}
	for _, before := range befores {
		n := 0
		for n < len(sent) && sent[n].ID < before {
			n++
		}
		p := r.page("ann", history.Query{Direction: history.Backward, Before: before, Limit: 2})
		r.wantMessages("page below "+before.String(), p.Messages, sent[max(0, n-2):n]...)
		if p.HasMore != (n > 2) {
			r.Errorf("below %d: has more %v", before, p.HasMore)
		}
		r.wantMessages("forward from the page below "+before.String(), r.forward("ann", p.Cursor).Messages, sent[n:]...)
	}
}

func forwardAfter(r *rig) {
	sent := mixed(r, 9)
	ids := []history.ID{0, 1}
	for _, m := range sent {
		ids = append(ids, m.ID-1, m.ID)
	}
	for _, inbox := range ids {
		for _, broadcast := range ids {
			c := history.Cursor{Inbox: inbox, Broadcast: broadcast}
			var want []history.Message
			for _, m := range sent {
				if cursorOf(c, m).Max(c) != c {
					want = append(want, m)
				}
			}
			r.wantMessages("page after "+c.String(), r.forward("ann", c).Messages, want...)
			r.wantMessages("single messages after "+c.String(), r.walk("ann", c, 1), want...)
		}
	}
}

// walk reads user's history after c in pages of limit messages.
func (r *rig) walk(user string, c history.Cursor, limit int) (got []history.Message) {
	r.Helper()
	for len(got) < 1000 { // one that walks in circles ends too
		p := r.page(user, history.Query{Direction: history.Forward, After: c, Limit: limit})
		got, c = append(got, p.Messages...), p.Cursor
		if !p.HasMore {
			break
		}
	}
	return got
}

func hasMoreIsExact(r *rig) {
	expiring := func(kind history.Kind, users ...string) history.Message {
		return r.send(history.Push{Kind: kind, Users: users, TTL: time.Minute})
	}
	expiring(history.Unicast, "ann")
	expiring(history.Broadcast)
	a, b := r.unicast("ann"), r.broadcast()
	inbox, broadcast := expiring(history.Multicast, "ann", "bob"), expiring(history.Broadcast)
	for _, more := range []bool{true, false} {
		p := r.page("ann", history.Query{Direction: history.Forward, After: history.Cursor{Inbox: a.ID - 1, Broadcast: a.ID}, Limit: 2})
		r.wantMessages("forward", p.Messages, a, b)
		if p.HasMore != more {
			r.Errorf("forward has more: %v, want %v", p.HasMore, more)
		}
		if heads := cursorOf(history.Cursor{}, inbox, broadcast); !more && p.Cursor != heads {
			r.Errorf("with only expired messages ahead the cursor is %+v, want the heads %+v", p.Cursor, heads)
		}
		p = r.page("ann", history.Query{Direction: history.Backward, Before: inbox.ID, Limit: 2})
		r.wantMessages("backward", p.Messages, a, b)
		if p.HasMore != more {
			r.Errorf("backward has more: %v, want %v", p.HasMore, more)
		}
		r.clock.Advance(time.Minute)
	}
	p := r.page("ann", history.Query{Limit: 2})
	r.wantMessages("newest", p.Messages, a, b)
	if p.HasMore {
		r.Error("newest has more, though all older ones are expired")
	}
}

func maxBytes(r *rig) {
	size := func(n int) []byte { return bytes.Repeat([]byte("x"), n) }
	a := r.send(history.Push{Kind: history.Unicast, Users: []string{"ann"}, Data: size(10)})
	b := r.send(history.Push{Kind: history.Broadcast, Data: size(20)})
	c := r.send(history.Push{Kind: history.Multicast, Users: []string{"ann", "bob"}, Data: size(40)})
	d := r.send(history.Push{Kind: history.Unicast, Users: []string{"ann"}, Data: size(0)})
	cases := []struct {
		limit, bytes      int
		forward, backward []history.Message
	}{
		{9, 0, []history.Message{a, b, c, d}, []history.Message{a, b, c, d}},
		{9, 70, []history.Message{a, b, c, d}, []history.Message{a, b, c, d}},
		{9, 69, []history.Message{a, b}, []history.Message{b, c, d}},
		{9, 60, []history.Message{a, b}, []history.Message{b, c, d}},
		{9, 59, []history.Message{a, b}, []history.Message{c, d}},
		{9, 30, []history.Message{a, b}, []history.Message{d}},
		{9, 29, []history.Message{a}, []history.Message{d}},
		{9, 1, []history.Message{a}, []history.Message{d}},
		{1, 69, []history.Message{a}, []history.Message{d}},
	}
	for _, tc := range cases {
		for _, q := range []history.Query{
			{Direction: history.Forward}, {Direction: history.Newest}, {Direction: history.Backward, Before: history.MaxID},
		} {
			want := tc.backward
			if q.Direction == history.Forward {
				want = tc.forward
			}
			q.Limit, q.MaxBytes = tc.limit, tc.bytes
			p := r.page("ann", q)
			r.wantMessages("page bounded in bytes", p.Messages, want...)
			if p.HasMore != (len(want) < 4) {
				r.Errorf("%+v: has more %v", q, p.HasMore)
			}
		}
	}
	p := r.page("ann", history.Query{Direction: history.Forward, Limit: 9, MaxBytes: 69})
	r.wantMessages("the page after one bounded in bytes", r.forward("ann", p.Cursor).Messages, c, d)
	p = r.page("ann", history.Query{Direction: history.Backward, Before: d.ID, Limit: 9, MaxBytes: 1})
	r.wantMessages("a page whose first message is too large", p.Messages, c)
}

func badQuery(r *rig) {
	for name, q := range map[string]history.Query{
		"no limit":          {},
		"negative limit":    {Direction: history.Forward, Limit: -1},
		"negative bytes":    {Direction: history.Backward, Limit: 1, MaxBytes: -1},
		"unknown direction": {Direction: history.Backward + 1, Limit: 1},
	} {
		if p, err := r.store.Page(r.ctx, "ann", q); err == nil {
			r.Errorf("%s: page %+v", name, p)
		}
	}
}

func badUser(r *rig) {
	for _, user := range []string{"", strings.Repeat("u", history.MaxUser+1), "a\xc3", "\xed\xa0\x80"} {
		_, page := r.store.Page(r.ctx, user, history.Query{Limit: 1})
		_, ack := r.store.Ack(r.ctx, user, history.Cursor{}, "")
		_, attach := r.store.Attach(r.ctx, user, history.Start{})
		_, push := r.store.Append(r.ctx, history.Push{Kind: history.Unicast, Users: []string{user}})
		for method, err := range map[string]error{"Page": page, "Ack": ack, "Attach": attach, "Append": push} {
			if !errors.Is(err, history.ErrUser) {
				r.Errorf("%s of %q: %v, want ErrUser", method, user, err)
			}
		}
	}
	r.Run("LongestIsGood", func(t *testing.T) {
		r.wantHistory(strings.Repeat("ü", history.MaxUser/2), r.unicast(strings.Repeat("ü", history.MaxUser/2)))
	})
}
