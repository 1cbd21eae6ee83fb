package embedded_test

import (
	"testing"

	"pushd.example/internal/history"
	"pushd.example/internal/history/embedded"
)

// TestCollapsedBroadcastAllocates checks that a broadcast with a collapse key
// allocates as much with many broadcasts kept as with few: it must not copy the
// index.
func TestCollapsedBroadcastAllocates(t *testing.T) {
	few, many := collapsedBroadcastBytes(t, 100), collapsedBroadcastBytes(t, 20_000)
	if many > few+64<<10 {
		t.Errorf("%d bytes with 20,000 broadcasts kept, %d with 100", many, few)
	}
}

// collapsedBroadcastBytes returns what one broadcast with a collapse key allocates
// while kept broadcasts are kept.
func collapsedBroadcastBytes(t *testing.T, kept int) int64 {
	s := mustOpen(t, embedded.Config{Dir: t.TempDir(), Sync: embedded.SyncNever, Retention: everything})
	push := func(key string) {
		if _, err := s.Append(t.Context(), history.Push{Kind: history.Broadcast, CollapseKey: key}); err != nil {
			t.Error(err)
		}
	}
	for range kept {
		push("")
	}
	return testing.Benchmark(func(b *testing.B) {
		for range b.N {
			push("score")
		}
	}).AllocedBytesPerOp()
}
