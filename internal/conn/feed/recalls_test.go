package feed

import (
	"testing"
	"time"

	"pushd.example/internal/history"
)

// Recalls that are old are forgotten.
func TestRecallsAreBounded(t *testing.T) {
	var r Recalls
	now := time.Now()
	for i := range history.ID(10_000) {
		now = now.Add(time.Second)
		r.Add(i, now, 10*time.Second)
		if len(r.ids) > 11 || len(r.ages) != len(r.ids) {
			t.Fatalf("%d recalls are remembered, %d ages", len(r.ids), len(r.ages))
		}
	}
	if r.Has(1) || !r.Has(9_995) {
		t.Error("it remembers the wrong ones")
	}
}
