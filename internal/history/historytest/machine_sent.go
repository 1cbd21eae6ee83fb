package historytest

import (
	"context"
	"fmt"

	"pgregory.net/rapid"

	"pushd/internal/history"
)

func (m *machine) recall(rt *rapid.T) {
	id := m.drawID(rt)
	engine, oracle := m.store.(history.Sent), m.oracle.(history.Sent)
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
