package engine_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"pushd.example/internal/history"
	"pushd.example/internal/history/engine"
)

// TestDeliveredRanges compares with a set of ids: among few, where nothing has to
// be forgotten, all that was added is found, and among many nothing else.
func TestDeliveredRanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.SampledFrom([]int{10, 1000}).Draw(t, "ids")
		var d engine.DeliveredRanges
		first := map[history.ID]time.Time{}
		for step := range 2 * engine.MaxRanges {
			from := history.ID(rapid.IntRange(0, most).Draw(t, "from"))
			r := history.Range{From: from, To: from + history.ID(rapid.IntRange(0, 3).Draw(t, "length")), At: after(int64(step + 1))}
			d = d.Add(r)
			for id := r.From + 1; id <= r.To; id++ {
				if _, known := first[id]; !known {
					first[id] = r.At
				}
			}
			if len(d) > engine.MaxRanges {
				t.Fatalf("%d ranges", len(d))
			}
		}
		for id := range history.ID(most + 5) {
			at, ok := d.Find(id)
			want, delivered := first[id]
			switch {
			case ok && !delivered:
				t.Errorf("%v holds %d, which was not delivered", d, id)
			case most == 10 && delivered && !ok:
				t.Errorf("%v has forgotten %d", d, id)
			case most == 10 && ok && !at.IsZero() && !at.Equal(want):
				t.Errorf("%d was delivered at %v, want %v", id, at, want)
			}
		}
	})
}

func TestDeliveredAt(t *testing.T) {
	id := history.FirstIDAt(after(5000))
	for _, c := range []struct{ at, want time.Time }{
		{after(6000), after(6000)},
		{after(4000), after(5000)}, // not before it was stored
		{time.Time{}, time.Time{}},
	} {
		if got := engine.DeliveredAt(history.Range{At: c.at}, id); !got.Equal(c.want) {
			t.Errorf("in a range of %v: %v, want %v", c.at, got, c.want)
		}
	}
}
