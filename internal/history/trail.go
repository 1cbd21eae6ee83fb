package history

import (
	"slices"
	"time"
)

// Range is a run of an inbox: the entries with From < id <= To.
type Range struct {
	From, To ID
	// At is when the first of them was delivered, in milliseconds' precision;
	// zero if that is not known any more.
	At time.Time
}

// Trail is the spans of a user's inbox that were delivered, in the order in which
// they were noted. It understates: what it forgets was delivered all the same.
type Trail []Range

const (
	// TrailSpans is how many spans are kept of a user as they are.
	TrailSpans = 16
	// TrailMost is how many are kept where something lies between them.
	TrailMost = 64
)

// Add returns t with what is new in s. Beyond TrailSpans the first two neighbours
// that touch become one, without its time; if none do, beyond TrailMost the oldest
// is forgotten. It may change t in place.
func (t Trail) Add(s Range) Trail {
	for _, k := range t {
		if k.From <= s.From && s.From < k.To {
			s.From = k.To
		}
	}
	if s.From >= s.To {
		return t
	}
	t = append(t, s)
	if len(t) <= TrailSpans {
		return t
	}
	for i := range len(t) - 1 {
		a, b := t[i], t[i+1]
		if a.From <= b.To && b.From <= a.To {
			t[i] = Range{From: min(a.From, b.From), To: max(a.To, b.To)}
			return slices.Delete(t, i+1, i+2)
		}
	}
	return slices.Delete(t, 0, max(0, len(t)-TrailMost))
}

// Find returns whether entry id was delivered, and when first.
func (t Trail) Find(id ID) (at time.Time, ok bool) {
	for _, k := range t {
		if k.From < id && id <= k.To {
			return k.When(id), true
		}
	}
	return time.Time{}, false
}

// When returns when id, which lies in s, was delivered: as s says, but not before
// it was stored.
func (s Range) When(id ID) time.Time {
	if at := id.Time(); !s.At.IsZero() && at.After(s.At) {
		return at
	}
	return s.At
}
