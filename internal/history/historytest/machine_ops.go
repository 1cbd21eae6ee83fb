package historytest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"pushd.example/internal/history"
)

// Each operation draws its input, gives it to both stores, and compares.

// append completes p and appends it.
func (m *machine) append(rt *rapid.T, p history.Push) {
	p.Data = m.body(drawSize(rt))
	p.TTL = drawTTL(rt)
	p.UnackedAfter = drawUnackedAfter(rt, p)
	p.ExcludeConnection = rapid.SampledFrom([]string{"", "", "c1", "c2"}).Draw(rt, "exclude")
	p.CollapseKey = rapid.SampledFrom([]string{"", "", "", "t1", "t2"}).Draw(rt, "collapse")
	p.IdempotencyKey = rapid.SampledFrom([]string{"", "", "", "k1", "k2"}).Draw(rt, "key")
	if m.engine.Partitioned {
		// Ids are the oracle's if they all come from the clock; and a key is for
		// one push.
		m.clock.Advance(time.Millisecond)
		if p.IdempotencyKey != "" {
			p.IdempotencyKey = fmt.Sprint(p.IdempotencyKey, p.Kind, p.Users)
		}
	}
	want, err := m.oracle.Append(context.Background(), p)
	if err != nil {
		rt.Fatalf("oracle: %v", err)
	}
	got, err := m.store.Append(context.Background(), p)
	what := fmt.Sprintf("%v to %q with key %q", p.Kind, p.Users, p.IdempotencyKey)
	if err != nil || got != want {
		rt.Fatalf("%s: result %+v, %v, want %+v", what, got, err, want)
	}
	m.compareDeliveries(rt, what)
	m.remember(p, want)
}

// ephemeral appends what is not kept. Its id may not be, either: so the next
// comes from a later time.
func (m *machine) ephemeral(rt *rapid.T) {
	p := rapid.SampledFrom([]history.Push{
		{Kind: history.Broadcast}, {Kind: history.Unicast, Users: addressees[:1]}, {Kind: history.Multicast, Users: addressees},
	}).Draw(rt, "push")
	p.Data, p.Ephemeral = m.body(drawSize(rt)), true
	p.ExcludeConnection = rapid.SampledFrom([]string{"", "c1"}).Draw(rt, "exclude")
	m.clock.Advance(time.Millisecond)
	want, err := m.oracle.Append(context.Background(), p)
	if err != nil {
		rt.Fatalf("oracle: %v", err)
	}
	got, err := m.store.Append(context.Background(), p)
	what := fmt.Sprintf("ephemeral %v to %q", p.Kind, p.Users)
	if err != nil || got != want {
		rt.Fatalf("%s: result %+v, %v, want %+v", what, got, err, want)
	}
	m.compareDeliveries(rt, what)
	m.clock.Advance(time.Millisecond)
}

// burst makes a log long enough for retention by count.
func (m *machine) burst(rt *rapid.T) {
	p := history.Push{Kind: history.Broadcast}
	if rapid.Bool().Draw(rt, "inbox") {
		p = drawUnicast(rt)
	}
	for range rapid.IntRange(2, 8).Draw(rt, "burst") {
		m.append(rt, p)
	}
}

func (m *machine) page(rt *rapid.T) {
	q := history.Query{
		Direction: rapid.SampledFrom([]history.Direction{history.Newest, history.Forward, history.Backward}).Draw(rt, "direction"),
		After:     m.drawCursor(rt),
		Before:    m.drawID(rt),
		Unread:    rapid.Bool().Draw(rt, "unread"),
		Limit:     rapid.IntRange(1, 6).Draw(rt, "limit"),
		MaxBytes:  drawMaxBytes(rt),
	}
	m.comparePages(rt, drawUser(rt), q)
}

// pageOn reads a whole history forward by the engine's own cursors.
func (m *machine) pageOn(rt *rapid.T) {
	user := drawUser(rt)
	q := history.Query{
		Direction: history.Forward, After: m.drawCursor(rt), Unread: rapid.Bool().Draw(rt, "unread"),
		Limit: rapid.IntRange(1, 3).Draw(rt, "limit"), MaxBytes: drawMaxBytes(rt),
	}
	for {
		p, ok := m.comparePages(rt, user, q)
		if !ok || !p.HasMore {
			return
		}
		q.After = p.Cursor
	}
}

// comparePages returns the engine's page, and whether there is one.
func (m *machine) comparePages(rt *rapid.T, user string, q history.Query) (history.Page, bool) {
	rt.Helper()
	want, wantErr := m.oracle.Page(context.Background(), user, q)
	got, err := m.store.Page(context.Background(), user, q)
	what := fmt.Sprintf("page %+v of %q", q, user)
	m.compareErrors(rt, what, err, wantErr)
	if wantErr == nil {
		m.comparePage(rt, what, user, got, want)
	}
	return got, err == nil
}

func (m *machine) ack(rt *rapid.T) {
	user, c := drawUser(rt), m.drawCursor(rt)
	want, wantErr := m.oracle.Ack(context.Background(), user, c, "")
	got, err := m.store.Ack(context.Background(), user, c, "")
	what := fmt.Sprintf("ack of %+v by %q", c, user)
	m.compareErrors(rt, what, err, wantErr)
	if got != want {
		rt.Fatalf("%s: %+v, want %+v", what, got, want)
	}
}

func (m *machine) attach(rt *rapid.T) {
	user := drawUser(rt)
	s := history.Start{
		At:       rapid.SampledFrom([]history.StartAt{history.StartNow, history.StartAfter, history.StartUnread}).Draw(rt, "at"),
		Cursor:   m.drawCursor(rt),
		Limit:    rapid.IntRange(1, 6).Draw(rt, "limit"),
		MaxBytes: drawMaxBytes(rt),
	}
	want, wantErr := m.oracle.Attach(context.Background(), user, s)
	got, err := m.store.Attach(context.Background(), user, s)
	what := fmt.Sprintf("attach of %q at %+v", user, s)
	m.compareErrors(rt, what, err, wantErr)
	if wantErr != nil {
		return
	}
	m.compareCursors(rt, what+", from", user, got.From, want.From)
	m.comparePage(rt, what, user, got.Page, want.Page)
	if got.Connections != want.Connections {
		rt.Fatalf("%s: %d connections, want %d", what, got.Connections, want.Connections)
	}
	m.attached = append(m.attached, user)
}

func (m *machine) detach(rt *rapid.T) {
	if len(m.attached) == 0 {
		m.attach(rt)
		return
	}
	i := rapid.IntRange(0, len(m.attached)-1).Draw(rt, "connection")
	m.oracle.Detach(m.attached[i])
	m.store.Detach(m.attached[i])
	m.attached = slices.Delete(m.attached, i, i+1)
}

func (m *machine) advance(rt *rapid.T) {
	if rapid.Bool().Draw(rt, "to an end") && m.advanceToEnd(rt) {
		return
	}
	m.clock.Advance(drawPause(rt))
}

// advanceToEnd moves to where a TTL, an age or a key of some message ends, or
// just past it, unless that lies behind.
func (m *machine) advanceToEnd(rt *rapid.T) bool {
	id := rapid.SampledFrom(append([]history.ID{0}, m.ids...)).Draw(rt, "of")
	period := rapid.SampledFrom([]time.Duration{
		m.keep.IdempotencyKeys, m.keep.InboxAge, m.keep.BroadcastAge, time.Second,
	}).Draw(rt, "period")
	past := time.Duration(rapid.IntRange(0, 1).Draw(rt, "past")) * time.Millisecond
	d := id.Time().Add(period + past).Sub(m.clock.Now())
	if d <= 0 {
		return false
	}
	m.clock.Advance(d)
	return true
}

// reopen closes the engine and opens what it left. Its connections are gone.
func (m *machine) reopen(rt *rapid.T) {
	if err := m.store.Close(); err != nil {
		rt.Fatalf("closing: %v", err)
	}
	m.store = m.engine.Reopen()
	m.watching = machineWatch{} // events need not outlive the store
	m.store.Follow(recordInto(&m.delivered))
	for _, user := range m.attached {
		m.oracle.Detach(user)
	}
	m.attached = nil
}
