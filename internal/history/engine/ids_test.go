package engine_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"pushd.example/internal/history"
	"pushd.example/internal/history/engine"
)

// after returns the time n milliseconds after the epoch.
func after(n int64) time.Time { return history.Epoch.Add(time.Duration(n) * time.Millisecond) }

// TestNextIDRises walks a clock that also stands still and steps back.
func TestNextIDRises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now, last := after(rapid.Int64Range(0, 1<<40).Draw(t, "start")), history.ID(0)
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			step := rapid.Int64Range(-int64(time.Hour), int64(time.Hour)).Draw(t, "step")
			now = now.Add(time.Duration(step) * time.Duration(rapid.IntRange(0, 1).Draw(t, "moves")))
			next := engine.NextID(last, now)
			if next <= last {
				t.Fatalf("%d follows %d at %v", next, last, now)
			}
			if next.Time().Before(now.Truncate(time.Millisecond)) {
				t.Fatalf("%d at %v is of %v", next, now, next.Time())
			}
			if next != last+1 && next != history.FirstIDAt(now) {
				t.Fatalf("%d follows %d at %v: neither the next number nor the time's first", next, last, now)
			}
			last = next
		}
	})
}

func TestFirstIDEver(t *testing.T) {
	if id := engine.NextID(0, after(-1000)); id != 1 {
		t.Errorf("with a clock before the epoch the first id is %d; 0 lies before every message", id)
	}
}
