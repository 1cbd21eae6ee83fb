package reactor

import (
	"log/slog"
	"testing"
	"time"
)

// One refusal of each reason in a minute is worth a line at info, which says how
// many there were since the last.
func TestRefusalSamples(t *testing.T) {
	r := refusalLog{reasons: map[string]sample{}}
	now := time.Now()
	want := func(reason string, after time.Duration, level slog.Level, others int) {
		t.Helper()
		if l, n := r.sample(now.Add(after), reason); l != level || n != others {
			t.Errorf("%s after %v: %v, %d others; want %v, %d", reason, after, l, n, level, others)
		}
	}
	want("a", 0, slog.LevelInfo, 0)
	want("b", time.Second, slog.LevelInfo, 0)
	want("a", 2*time.Second, slog.LevelDebug, 0)
	want("a", 59*time.Second, slog.LevelDebug, 0)
	want("a", 60*time.Second, slog.LevelInfo, 2)
	want("a", 61*time.Second, slog.LevelDebug, 0)
	want("a", time.Hour, slog.LevelInfo, 1)
	want("b", time.Hour, slog.LevelInfo, 0)
}
