package embedded

import (
	"errors"
	"slices"
	"testing"
	"time"

	"pushd.example/internal/history"
	"pushd.example/internal/history/engine"
)

func TestTrailAsBytes(t *testing.T) {
	at := history.Epoch.Add(1000 * time.Hour)
	for _, trail := range []engine.DeliveredRanges{
		nil,
		{{From: 0, To: 1}},
		{{From: 5, To: 9, At: at}, {From: 9, To: history.MaxID, At: at.Add(time.Millisecond)}},
		{{From: 900, To: 950}, {From: 7, To: 8, At: at}, {From: 0, To: 6, At: at.Add(-time.Hour)}, {From: 50, To: 51}},
	} {
		b := appendTrail(nil, trail)
		got, err := parseTrail(nil, b)
		if err != nil || !slices.Equal(got, trail) {
			t.Errorf("%v is read as %v, %v", trail, got, err)
		}
		// Whatever is cut off, what remains is damaged or other whole spans.
		for n := range b {
			got, err := parseTrail(nil, b[:n])
			if err == nil && !slices.Equal(got, trail[:len(got)]) || err != nil && !errors.Is(err, errDamaged) {
				t.Errorf("%d of %d bytes of %v are read as %v, %v", n, len(b), trail, got, err)
			}
		}
	}
	if got, err := parseTrail(nil, []byte{2, 0, 2}); !errors.Is(err, errDamaged) {
		t.Errorf("a span of nothing is read as %v, %v", got, err)
	}
}
