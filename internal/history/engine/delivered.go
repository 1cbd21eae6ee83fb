package engine

import (
	"slices"
	"time"

	"pushd.example/internal/history"
)

// DeliveredRanges are the ranges of a user's inbox that were delivered, in the
// order in which they were recorded. They understate: what they forget was
// delivered all the same.
type DeliveredRanges []history.Range

const (
	// MergeBeyond is how many ranges are kept of a user before neighbours in this
	// list are merged that touch.
	MergeBeyond = 16
	// MaxRanges is how many are kept where none touch.
	MaxRanges = 64
)

// Add returns d with what is new in r. Beyond MergeBeyond the first two neighbours
// that touch become one, without its time; if none do, beyond MaxRanges the oldest
// is forgotten. It may change d in place.
func (d DeliveredRanges) Add(r history.Range) DeliveredRanges {
	for _, k := range d {
		if k.From <= r.From && r.From < k.To {
			r.From = k.To
		}
	}
	if r.From >= r.To {
		return d
	}
	d = append(d, r)
	if len(d) <= MergeBeyond {
		return d
	}
	for i := range len(d) - 1 {
		a, b := d[i], d[i+1]
		if a.From <= b.To && b.From <= a.To {
			d[i] = history.Range{From: min(a.From, b.From), To: max(a.To, b.To)}
			return slices.Delete(d, i+1, i+2)
		}
	}
	return slices.Delete(d, 0, max(0, len(d)-MaxRanges))
}

// Find returns whether entry id was delivered, and when first; zero if that is
// not known any more.
func (d DeliveredRanges) Find(id history.ID) (at time.Time, ok bool) {
	for _, r := range d {
		if r.From < id && id <= r.To {
			return DeliveredAt(r, id), true
		}
	}
	return time.Time{}, false
}

// DeliveredAt returns when entry id, which lies in r, was delivered: at the time of
// r, but not before it was stored.
func DeliveredAt(r history.Range, id history.ID) time.Time {
	if at := id.Time(); !r.At.IsZero() && at.After(r.At) {
		return at
	}
	return r.At
}
