package historytest

import (
	"context"
	"slices"
	"time"

	"pgregory.net/rapid"

	"pushd/internal/history"
)

// machineWatch is how far events were compared.
type machineWatch struct {
	engine, oracle history.Position
	last           time.Time
}

// watch compares the acks since it looked last. (Connections it cannot compare:
// one that is refused may count as one that came and went.) Where engines may
// have ceased to record, it begins anew.
func (m *machine) watch(rt *rapid.T) {
	w := &m.watching
	if m.clock.Now().Sub(w.last) > history.WatchedFor/2 {
		*w = machineWatch{}
	}
	w.last = m.clock.Now()
	got := m.acks(rt, m.store, &w.engine)
	want := m.acks(rt, m.oracle, &w.oracle)
	if !slices.Equal(got, want) {
		rt.Fatalf("acks: %q, want %q", got, want)
	}
}

// acks reads what was acked, in an order that does not depend on partitions.
func (m *machine) acks(rt *rapid.T, store history.Store, at *history.Position) []string {
	p, err := store.(history.Events).ReadEvents(context.Background(), history.EventQuery{Kinds: history.Acked, After: *at, Limit: all})
	if err != nil || p.Lost {
		rt.Fatalf("reading events: lost: %v, %v", p.Lost, err)
	}
	*at = p.Next
	words := make([]string, len(p.Events))
	for i, e := range p.Events {
		e.Cursor = m.settle(e.User, e.Cursor)
		words[i] = eventText([]history.Event{e})
	}
	slices.Sort(words)
	return words
}
