package historytest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pushd.example/internal/history"
)

// deadline bounds each wait for something that must happen.
const deadline = 30 * time.Second

// all is a limit that no test's history reaches.
const all = 100_000

// eventsKept is how many events the engines under test keep.
const eventsKept = 512

// rig is a store under test with its clock. Its methods fail the test on an
// error, so that a test reads as what it does.
type rig struct {
	*testing.T
	ctx    context.Context
	clock  *Clock
	engine Engine
	store  history.Store
	count  atomic.Int64 // of messages, so that each is different
}

func newRig(t *testing.T, open Opener, keep history.Retention) *rig {
	t.Helper()
	clock := NewClock()
	e := open(t, Options{Retention: keep, Events: eventsKept, Now: clock.Now})
	r := &rig{T: t, ctx: t.Context(), clock: clock, engine: e, store: e.Store}
	t.Cleanup(func() {
		if err := r.store.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return r
}

// reopen closes the store and opens again what it left.
func (r *rig) reopen() {
	r.Helper()
	if err := r.store.Close(); err != nil {
		r.Fatalf("closing before opening again: %v", err)
	}
	r.store = r.engine.Reopen()
}

// push appends p one millisecond after whatever was before, so that also the
// ids of different partitions rise in the order of the test.
func (r *rig) push(p history.Push) history.AppendResult {
	r.Helper()
	r.clock.Advance(time.Millisecond)
	result, err := r.store.Append(r.ctx, p)
	if err != nil {
		r.Fatalf("appending %v to %v: %v", p.Kind, p.Users, err)
	}
	r.engine.settle()
	return result
}

// send is push of a new body, and returns the message that must have become
// of it.
func (r *rig) send(p history.Push) history.Message {
	r.Helper()
	if p.Data == nil {
		p.Data = fmt.Appendf(nil, "m%d", r.count.Add(1))
	}
	result := r.push(p)
	if result.Duplicate || result.ID == 0 {
		r.Fatalf("appending %v: result %+v, want a new id", p.Kind, result)
	}
	return history.Message{ID: result.ID, Kind: p.Kind, Data: bytes.Clone(p.Data), CollapseKey: p.CollapseKey, Ephemeral: p.Ephemeral}
}

func (r *rig) unicast(user string) history.Message {
	r.Helper()
	return r.send(history.Push{Kind: history.Unicast, Users: []string{user}})
}

func (r *rig) multicast(users ...string) history.Message {
	r.Helper()
	return r.send(history.Push{Kind: history.Multicast, Users: users})
}

func (r *rig) broadcast() history.Message {
	r.Helper()
	return r.send(history.Push{Kind: history.Broadcast})
}

func (r *rig) page(user string, q history.Query) history.Page {
	r.Helper()
	p, err := r.store.Page(r.ctx, user, q)
	if err != nil {
		r.Fatalf("paging %+v of %q: %v", q, user, err)
	}
	return p
}

// forward returns the whole page after c.
func (r *rig) forward(user string, c history.Cursor) history.Page {
	r.Helper()
	return r.page(user, history.Query{Direction: history.Forward, After: c, Limit: all})
}

// heads returns the head of both logs, as the newest page tells.
func (r *rig) heads(user string) history.Cursor {
	r.Helper()
	return r.page(user, history.Query{Limit: 1}).Cursor
}

func (r *rig) unread(user string) int {
	r.Helper()
	return r.page(user, history.Query{Limit: 1}).Unread
}

func (r *rig) ack(user string, c history.Cursor) int {
	r.Helper()
	mark, err := r.store.Ack(r.ctx, user, c, "")
	if err != nil {
		r.Fatalf("acking %+v of %q: %v", c, user, err)
	}
	return mark.Unread
}

func (r *rig) attach(user string, s history.Start) history.Attachment {
	r.Helper()
	a, err := r.store.Attach(r.ctx, user, s)
	if err != nil {
		r.Fatalf("attaching %q at %+v: %v", user, s, err)
	}
	return a
}

// online returns how many connections a unicast to user finds.
func (r *rig) online(user string) int {
	r.Helper()
	return r.push(history.Push{Kind: history.Unicast, Users: []string{user}}).Online
}

// wantHistory checks the whole of user's history.
func (r *rig) wantHistory(user string, want ...history.Message) {
	r.Helper()
	r.wantMessages("history of "+user, r.forward(user, history.Cursor{}).Messages, want...)
}

func (r *rig) wantMessages(what string, got []history.Message, want ...history.Message) {
	r.Helper()
	if !sameMessages(got, want) {
		from := firstDifference(got, want)
		r.Errorf("%s: %d messages, want %d; from message %d on:\n got %s\nwant %s", what,
			len(got), len(want), from, list(window(got, from)), list(window(want, from)))
	}
}

// firstDifference returns the length of what a and b begin with alike.
func firstDifference(a, b []history.Message) int {
	n := 0
	for n < min(len(a), len(b)) && sameMessages(a[n:n+1], b[n:n+1]) {
		n++
	}
	return n
}

// window returns as much of messages from the given one on as people read.
func window(messages []history.Message, from int) []history.Message {
	return messages[from:min(len(messages), from+12)]
}

func sameMessages(a, b []history.Message) bool {
	return slices.EqualFunc(a, b, func(a, b history.Message) bool {
		return a.ID == b.ID && a.Kind == b.Kind && a.Log() == b.Log() && a.CollapseKey == b.CollapseKey && bytes.Equal(a.Data, b.Data)
	})
}

// list writes messages for people.
func list(messages []history.Message) string {
	words := make([]string, len(messages))
	for i, m := range messages {
		words[i] = fmt.Sprintf("%d:%v in %s:%q", m.ID, m.Kind, m.Log(), shortened(m.Data))
		if m.CollapseKey != "" {
			words[i] += " on " + m.CollapseKey
		}
	}
	return "[" + strings.Join(words, " ") + "]"
}

// shortened returns data, or its beginning, size and hash if it is long.
func shortened(data []byte) []byte {
	if len(data) <= 32 {
		return data
	}
	return fmt.Appendf(nil, "%.8q…%d bytes, fnv %x", data, len(data), sum(data))
}

func sum(data []byte) uint64 {
	h := fnv.New64a()
	h.Write(data)
	return h.Sum64()
}

// pageText writes all of p, so that equal texts mean equal pages.
func pageText(p history.Page) string {
	m := list(p.Messages)
	p.Messages = nil
	return fmt.Sprintf("%+v of %s", p, m)
}

// byID returns the messages of several senders in the order of history.
func byID(messages ...history.Message) []history.Message {
	out := slices.Clone(messages)
	slices.SortFunc(out, func(a, b history.Message) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// cursorOf returns the cursor of a reader of messages who began at c.
func cursorOf(c history.Cursor, messages ...history.Message) history.Cursor {
	for _, m := range messages {
		if m.Kind == history.Broadcast {
			c.Broadcast = m.ID
		} else {
			c.Inbox = m.ID
		}
	}
	return c
}

// await waits for c to be closed or to give a value.
func await[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(deadline):
		t.Fatalf("no %s after %v", what, deadline)
		panic("unreachable")
	}
}
