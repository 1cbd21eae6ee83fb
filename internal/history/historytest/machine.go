package historytest

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"pushd.example/internal/history"
	"pushd.example/internal/history/memory"
	"pushd.example/internal/history/watch"
)

// StateMachine compares the engines that open returns with the memory engine,
// operation by operation: everything that they answer and deliver must be the
// same, ids included, since both are on one clock. Cursors are the same if no
// entry lies between them. The clock is never set back: what an engine has
// dropped need not come back with the time.
func StateMachine(t *testing.T, open Opener) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newMachine(t, rt, open)
		defer m.close(t)
		rt.Repeat(m.actions())
	})
}

// machine is an engine and its oracle. Only the test's goroutine touches it;
// followers too are called while it waits in Append.
type machine struct {
	keep   history.Retention // with its defaults
	clock  *Clock
	engine Engine
	store  history.Store
	oracle history.Store

	delivered, expected []history.Delivery // since the last comparison

	watching machineWatch

	attached []string                // a user as often as it has connections
	logs     map[string][]history.ID // all that was appended, by user; broadcasts under ""
	ids      []history.ID            // all that were given
	cursors  []history.Cursor        // some that were given
	bodies   int                     // how many were sent
	steps    int                     // how many were taken
}

// newcomer is a user who only gets broadcasts.
const newcomer = "new"

var addressees = []string{"ann", "bob", "cleo"}

func newMachine(t *testing.T, rt *rapid.T, open Opener) *machine {
	keep := drawRetention(rt)
	m := &machine{keep: keep.WithDefaults(), clock: NewClock(), logs: map[string][]history.ID{}}
	m.engine = open(t, Options{Retention: keep, Now: m.clock.Now})
	oracle, err := memory.New(memory.Config{Retention: keep, Now: m.clock.Now, Align: m.engine.Align})
	if err != nil {
		rt.Fatal(err)
	}
	m.oracle = oracle
	m.store = m.engine.Store
	m.oracle.Follow(recordInto(&m.expected))
	m.store.Follow(recordInto(&m.delivered))
	return m
}

func (m *machine) close(t *testing.T) {
	if err := errors.Join(m.store.Close(), m.oracle.Close()); err != nil {
		t.Errorf("closing: %v", err)
	}
}

func recordInto(list *[]history.Delivery) func([]history.Delivery) {
	return func(batch []history.Delivery) { *list = append(*list, batch...) }
}

// actions lists the operations, the more often the more likely.
func (m *machine) actions() map[string]func(*rapid.T) {
	a := map[string]func(*rapid.T){
		"":          m.invariant,
		"Unicast":   func(rt *rapid.T) { m.append(rt, drawUnicast(rt)) },
		"Multicast": func(rt *rapid.T) { m.append(rt, drawMulticast(rt)) },
		"Broadcast": func(rt *rapid.T) { m.append(rt, history.Push{Kind: history.Broadcast}) },
		"Ephemeral": m.ephemeral,
		"Burst":     m.burst,
		"Page":      m.page,
		"PageOn":    m.pageOn,
		"Ack":       m.ack,
		"Attach":    m.attach,
		"Detach":    m.detach,
		"Advance":   m.advance,
	}
	if _, ok := m.store.(history.Groups); ok {
		a["ChangeMembers"] = m.changeMembers
		a["DeleteGroup"] = m.deleteGroup
		a["ListGroups"] = m.listGroups
	}
	if _, ok := m.store.(history.Messages); ok {
		a["Recall"], a["Receipt"], a["RecordDelivered"] = m.recall, m.receipt, m.recordDelivered
	}
	if _, ok := m.store.(watch.Events); ok {
		a["Watch"] = m.watch
	}
	if m.engine.Reopen != nil {
		a["Reopen"] = m.reopen
	}
	return a
}

// invariant checks that everybody sees the same. Newest pages, which cost as
// much again, are read by one user after each step.
func (m *machine) invariant(rt *rapid.T) {
	everybody := append(addressees, newcomer)
	for _, user := range everybody {
		m.comparePages(rt, user, history.Query{Direction: history.Forward, Limit: all})
	}
	m.steps++
	user := everybody[m.steps%len(everybody)]
	m.comparePages(rt, user, history.Query{Direction: history.Newest, Limit: 2})
}

func (m *machine) compareErrors(rt *rapid.T, what string, got, want error) {
	rt.Helper()
	for _, sentinel := range []error{nil, history.ErrUser, history.ErrGroup, history.ErrCursor, history.ErrNotFound, history.ErrReadOnly, history.ErrClosed} {
		if errors.Is(got, sentinel) != errors.Is(want, sentinel) {
			rt.Fatalf("%s: error %v, want %v", what, got, want)
		}
	}
}

// comparePage checks got, the answer to what, and keeps its cursor for later.
func (m *machine) comparePage(rt *rapid.T, what, user string, got, want history.Page) {
	rt.Helper()
	if !slices.Contains(m.cursors, want.Cursor) {
		m.cursors = append(m.cursors, want.Cursor)
	}
	m.compareCursors(rt, what, user, got.Cursor, want.Cursor)
	got.Cursor = want.Cursor
	if g, w := pageText(got), pageText(want); g != w {
		rt.Fatalf("%s:\n got %s\nwant %s", what, g, w)
	}
}

func (m *machine) compareCursors(rt *rapid.T, what, user string, got, want history.Cursor) {
	rt.Helper()
	if m.settle(user, got) != m.settle(user, want) {
		rt.Fatalf("%s: cursor %+v, want %+v", what, got, want)
	}
	if heads := m.settle(user, history.Cursor{Inbox: history.MaxID, Broadcast: history.MaxID}); got.Min(heads) != got {
		rt.Fatalf("%s: cursor %+v lies past the heads %+v", what, got, heads)
	}
}

// settle takes c back to the entries that lie at or below it, so that cursors
// between which nothing lies become equal.
func (m *machine) settle(user string, c history.Cursor) history.Cursor {
	floor := func(ids []history.ID, most history.ID) history.ID {
		i, found := slices.BinarySearch(ids, most)
		switch {
		case found:
			return most
		case i == 0:
			return 0
		}
		return ids[i-1]
	}
	return history.Cursor{Inbox: floor(m.logs[user], c.Inbox), Broadcast: floor(m.logs[""], c.Broadcast)}
}

func (m *machine) compareDeliveries(rt *rapid.T, what string) {
	rt.Helper()
	m.engine.settle()
	delivered := m.engine.inOrder(m.delivered)
	if len(m.attached) == 0 {
		delivered = m.engine.forNobody(delivered)
	}
	// Acks have no ids of their own, so that they come in another order here too.
	expected := m.engine.inOrder(m.expected)
	if got, want := deliveryTexts(delivered), deliveryTexts(expected); !slices.Equal(got, want) {
		rt.Fatalf("%s delivered:\n got %q\nwant %q", what, got, want)
	}
	m.delivered, m.expected = nil, nil
}

// remember keeps what was appended.
func (m *machine) remember(p history.Push, r history.AppendResult) {
	if r.Duplicate {
		return
	}
	m.ids = append(m.ids, r.ID)
	if p.Kind == history.Broadcast {
		m.logs[""] = append(m.logs[""], r.ID)
	}
	users := slices.Compact(slices.Sorted(slices.Values(p.Users)))
	for _, user := range users {
		m.logs[user] = append(m.logs[user], r.ID)
	}
}

func (m *machine) body(size int) []byte {
	m.bodies++
	b := fmt.Appendf(nil, "%d:", m.bodies)
	for len(b) < size {
		b = append(b, byte(len(b)))
	}
	return b[:size]
}
