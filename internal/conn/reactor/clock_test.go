package reactor

import (
	"testing"
	"time"
)

// The clock by which clients are judged leaves out the time for which the loop
// stood still, and nothing else.
func TestClockLeavesOutStandstills(t *testing.T) {
	began := time.Now()
	l := &Loop{now: began}
	at := began
	for range 10_000 {
		at = at.Add(1300 * time.Microsecond)
		l.tell(at)
	}
	if l.clock != 13_000 {
		t.Errorf("after 13 s in steps of 1.3 ms the clock shows %d ms", l.clock)
	}
	at = at.Add(time.Hour)
	l.tell(at)
	if step := l.clock - 13_000; step != uint32(mostStep.Milliseconds()) || !l.Now().Equal(at) {
		t.Errorf("over a standstill of an hour the clock advanced by %d ms, want %v", step, mostStep)
	}
}
