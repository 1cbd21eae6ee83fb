package conn

import (
	"slices"

	"pushd.example/internal/history"
)

// reach counts to how many sessions live broadcasts went. A session adds one to
// all from one id to another, whatever number there is, as a difference at either
// end.
type reach struct {
	ids   []history.ID // of broadcasts, in order
	diffs []int        // one more than ids
}

// maxWalked is how many broadcasts are kept that slow clients may still take.
const maxWalked = 1 << 13

// walked adds a broadcast that will go out, and forgets the oldest of too many.
func (r *reach) walked(id history.ID) {
	if n := len(r.ids); n > 0 && id <= r.ids[n-1] {
		return // told again, nobody will get it
	}
	if len(r.ids) == maxWalked {
		drop := len(r.ids) / 2
		for i := range drop {
			r.diffs[i+1] += r.diffs[i]
		}
		r.ids = slices.Delete(r.ids, 0, drop)
		r.diffs = slices.Delete(r.diffs, 0, drop)
	}
	if len(r.diffs) == 0 {
		r.diffs = append(r.diffs, 0)
	}
	r.ids, r.diffs = append(r.ids, id), append(r.diffs, 0)
}

// add counts one for each with from < id <= to.
func (r *reach) add(from, to history.ID) {
	if len(r.ids) == 0 || from >= to {
		return
	}
	i, _ := slices.BinarySearch(r.ids, from+1)
	j, _ := slices.BinarySearch(r.ids, to+1)
	r.diffs[i]++
	r.diffs[j]--
}

// take adds the counts to some others, begins anew, and keeps the ids above one.
func (r *reach) take(counts map[history.ID]int, above history.ID) map[history.ID]int {
	n := 0
	for i, id := range r.ids {
		if n += r.diffs[i]; n > 0 {
			if counts == nil {
				counts = map[history.ID]int{}
			}
			counts[id] += n
		}
	}
	i, _ := slices.BinarySearch(r.ids, above+1)
	r.ids = slices.Delete(r.ids, 0, i)
	r.diffs = r.diffs[:min(len(r.diffs), len(r.ids)+1)]
	clear(r.diffs)
	return counts
}
