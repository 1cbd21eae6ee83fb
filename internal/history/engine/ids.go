package engine

import (
	"time"

	"pushd.example/internal/history"
)

// NextID returns the id that follows last at time now.
func NextID(last history.ID, now time.Time) history.ID {
	return max(history.FirstIDAt(now), last+1)
}

// SinceEpoch returns t in milliseconds since [history.Epoch], 0 before it.
func SinceEpoch(t time.Time) int64 { return max(0, t.Sub(history.Epoch).Milliseconds()) }

// AcksKept is how many of a user's last acks of the inbox are kept with their
// times, for receipts.
const AcksKept = 8
