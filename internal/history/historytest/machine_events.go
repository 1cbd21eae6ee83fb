package historytest

import (
	"context"
	"slices"
	"time"

	"pgregory.net/rapid"

	"pushd.example/internal/history"
	"pushd.example/internal/history/watch"
)

// machineWatch is how far events were compared.
type machineWatch struct {
	engine, oracle watch.Position
	last           time.Time
}

// watch compares acks, deliveries and what was not acked since it ran last.
// (It cannot compare connections: one that is refused may count as one that came
// and went.) If engines may have stopped recording, it begins anew.
func (m *machine) watch(rt *rapid.T) {
	w := &m.watching
	if m.clock.Now().Sub(w.last) > watch.WatchedFor/2 {
		*w = machineWatch{}
	}
	w.last = m.clock.Now()
	got := m.events(rt, m.store, &w.engine)
	want := m.events(rt, m.oracle, &w.oracle)
	if !slices.Equal(got, want) {
		rt.Fatalf("events: %q, want %q", got, want)
	}
}

// events reads what was acked, delivered and not acked, in an order that does not
// depend on partitions.
func (m *machine) events(rt *rapid.T, store history.Store, at *watch.Position) (words []string) {
	for {
		q := watch.Query{Kinds: watch.Acked | watch.Delivered | watch.Unacked, After: *at, Limit: all}
		p, err := store.(watch.Events).ReadEvents(context.Background(), q)
		if err != nil || p.Lost {
			rt.Fatalf("reading events: lost: %v, %v", p.Lost, err)
		}
		*at = p.Next
		for _, e := range p.Events {
			e.Cursor = m.settle(e.User, e.Cursor)
			words = append(words, eventText([]watch.Event{e}))
		}
		if len(p.Events) == 0 {
			slices.Sort(words)
			return words
		}
	}
}
