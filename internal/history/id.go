package history

import (
	"fmt"
	"strconv"
	"time"
)

// ID names a message: milliseconds since [Epoch] shifted left by 12 bits, or
// one more than the id before it, whichever is greater. Ids fit 53 bits, so
// that JavaScript, Lua and doubles hold them exactly; they last until 2093.
// The zero ID lies before every message.
type ID uint64

// MaxID is the greatest ID.
const MaxID ID = 1<<53 - 1

// Epoch is the time of id 0.
var Epoch = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

const idTimeShift = 12

// FirstIDAt returns the smallest id that is given at time t; 0 before Epoch.
func FirstIDAt(t time.Time) ID {
	ms := t.Sub(Epoch).Milliseconds()
	if ms < 0 {
		return 0
	}
	return min(ID(ms)<<idTimeShift, MaxID)
}

// Time returns when the message was stored, in milliseconds' precision, UTC.
func (id ID) Time() time.Time {
	return Epoch.Add(time.Duration(id>>idTimeShift) * time.Millisecond)
}

// String returns id in decimal.
func (id ID) String() string { return strconv.FormatUint(uint64(id), 10) }

// ParseID reads a decimal id between 0 and MaxID; otherwise the error wraps
// [ErrID].
func ParseID(s string) (ID, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || ID(n) > MaxID {
		return 0, fmt.Errorf("%w: want a decimal number below 2^53, got %q", ErrID, clip(s))
	}
	return ID(n), nil
}

// clip shortens s for an error message.
func clip(s string) string {
	const most = 32
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
