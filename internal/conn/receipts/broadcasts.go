package receipts

import (
	"slices"

	"pushd.example/internal/conn/feed"
	"pushd.example/internal/history"
)

// broadcasts counts to how many readers each broadcast went. Live ones are
// counted as a difference array over their ids: a reader adds one to all from
// one id to another in two steps, however many there are. The zero value is
// empty.
type broadcasts struct {
	ids   []history.ID // of live broadcasts, in order
	diffs []int        // one more than ids
	// single counts broadcasts that came with pages: runs of one.
	single map[history.ID]int
}

// maxLive is how many live broadcasts are kept that slow clients may still take.
const maxLive = 1 << 13

// live adds a broadcast that is about to go out, and forgets the oldest of too
// many.
func (b *broadcasts) live(id history.ID) {
	if n := len(b.ids); n > 0 && id <= b.ids[n-1] {
		return // handed over again; no reader gets it twice
	}
	if len(b.ids) == maxLive {
		drop := len(b.ids) / 2
		for i := range drop {
			b.diffs[i+1] += b.diffs[i]
		}
		b.ids = slices.Delete(b.ids, 0, drop)
		b.diffs = slices.Delete(b.diffs, 0, drop)
	}
	if len(b.diffs) == 0 {
		b.diffs = append(b.diffs, 0)
	}
	b.ids, b.diffs = append(b.ids, id), append(b.diffs, 0)
}

// add counts one reader for each broadcast in run.
func (b *broadcasts) add(run feed.Run) {
	switch {
	case run.Empty():
	case run.To == run.From+1:
		if b.single == nil {
			b.single = map[history.ID]int{}
		}
		b.single[run.To]++
	case len(b.ids) > 0:
		i, _ := slices.BinarySearch(b.ids, run.From+1)
		j, _ := slices.BinarySearch(b.ids, run.To+1)
		b.diffs[i]++
		b.diffs[j]--
	}
}

// take returns the counts and begins anew. Live broadcasts above one stay known,
// since readers may still take them.
func (b *broadcasts) take(above history.ID) map[history.ID]int {
	counts := b.single
	b.single = nil
	n := 0
	for i, id := range b.ids {
		if n += b.diffs[i]; n > 0 {
			if counts == nil {
				counts = map[history.ID]int{}
			}
			counts[id] += n
		}
	}
	i, _ := slices.BinarySearch(b.ids, above+1)
	b.ids = slices.Delete(b.ids, 0, i)
	b.diffs = b.diffs[:min(len(b.diffs), len(b.ids)+1)]
	clear(b.diffs)
	return counts
}
