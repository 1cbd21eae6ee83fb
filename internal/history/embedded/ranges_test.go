package embedded

import (
	"errors"
	"slices"
	"testing"
	"time"

	"pushd.example/internal/history"
	"pushd.example/internal/history/engine"
)

func TestRangesAsBytes(t *testing.T) {
	at := history.Epoch.Add(1000 * time.Hour)
	for _, delivered := range []engine.DeliveredRanges{
		nil,
		{{From: 0, To: 1}},
		{{From: 5, To: 9, At: at}, {From: 9, To: history.MaxID, At: at.Add(time.Millisecond)}},
		{{From: 900, To: 950}, {From: 7, To: 8, At: at}, {From: 0, To: 6, At: at.Add(-time.Hour)}, {From: 50, To: 51}},
	} {
		b := appendRanges(nil, delivered)
		got, err := parseRanges(nil, b)
		if err != nil || !slices.Equal(got, delivered) {
			t.Errorf("%v is read as %v, %v", delivered, got, err)
		}
		// A prefix is damaged, or holds fewer whole ranges.
		for n := range b {
			got, err := parseRanges(nil, b[:n])
			if err == nil && !slices.Equal(got, delivered[:len(got)]) || err != nil && !errors.Is(err, errDamaged) {
				t.Errorf("%d of %d bytes of %v are read as %v, %v", n, len(b), delivered, got, err)
			}
		}
	}
	if got, err := parseRanges(nil, []byte{2, 0, 2}); !errors.Is(err, errDamaged) {
		t.Errorf("an empty range is read as %v, %v", got, err)
	}
}
