package historytest

import (
	"context"
	"fmt"
	"time"

	"pgregory.net/rapid"

	"pushd.example/internal/history"
)

func (m *machine) recall(rt *rapid.T) {
	id := m.drawID(rt)
	engine, oracle := m.store.(history.Messages), m.oracle.(history.Messages)
	what := fmt.Sprintf("recall of %d", id)
	wantKind, wantErr := oracle.KindOf(context.Background(), id)
	kind, err := engine.KindOf(context.Background(), id)
	m.compareErrors(rt, what+", its kind", err, wantErr)
	if kind != wantKind {
		rt.Fatalf("%s: it is a %v, want a %v", what, kind, wantKind)
	}
	wantErr = oracle.Recall(context.Background(), id)
	m.compareErrors(rt, what, engine.Recall(context.Background(), id), wantErr)
	m.compareDeliveries(rt, what)
}

func (m *machine) receipt(rt *rapid.T) {
	id, most := m.drawID(rt), rapid.IntRange(0, 3).Draw(rt, "most")
	engine, oracle := m.store.(history.Messages), m.oracle.(history.Messages)
	want, wantErr := oracle.Receipt(context.Background(), id, most)
	got, err := engine.Receipt(context.Background(), id, most)
	what := fmt.Sprintf("receipt of %d", id)
	m.compareErrors(rt, what, err, wantErr)
	if g, w := receiptText(got), receiptText(want); wantErr == nil && g != w {
		rt.Fatalf("%s:\n got %s\nwant %s", what, g, w)
	}
}

func (m *machine) recordDelivered(rt *rapid.T) {
	d := history.Deliveries{Broadcasts: map[history.ID]int{}}
	for range rapid.IntRange(0, 4).Draw(rt, "ranges") {
		u := history.UserRange{User: drawUser(rt)}
		u.From, u.To, u.At = min(m.drawID(rt), history.MaxID), min(m.drawID(rt), history.MaxID), m.clock.Now().Truncate(time.Millisecond)
		d.Inboxes = append(d.Inboxes, u)
	}
	for range rapid.IntRange(0, 2).Draw(rt, "broadcasts") {
		d.Broadcasts[m.drawID(rt)] = rapid.IntRange(1, 1000).Draw(rt, "connections")
	}
	if err := m.oracle.(history.Messages).RecordDelivered(context.Background(), d); err != nil {
		rt.Fatalf("oracle: %v", err)
	}
	if err := m.store.(history.Messages).RecordDelivered(context.Background(), d); err != nil {
		rt.Fatalf("recording %+v: %v", d, err)
	}
}
