package rpc

import (
	"hash/maphash"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestSequencer adds random tasks and ends running ones in any order: each runs
// once, and after all that were added before it and share a stripe with it.
func TestSequencer(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := &sequencer{seed: maphash.MakeSeed()}
		var added, running, ended []*task
		start := func(ready ...*task) {
			for _, t := range ready {
				for _, before := range added[:slices.Index(added, t)] {
					if share(t, before) && !slices.Contains(ended, before) {
						rt.Fatalf("task %d runs before task %d", slices.Index(added, t), slices.Index(added, before))
					}
				}
			}
			running = append(running, ready...)
		}
		add := func(rt *rapid.T) {
			all := rapid.SliceOfNDistinct(rapid.IntRange(0, 4), 0, 5, rapid.ID[int]).Draw(rt, "stripes")
			tk := &task{stripes: all}
			added = append(added, tk)
			if l.add(tk) {
				start(tk)
			}
		}
		end := func(rt *rapid.T) {
			if len(running) == 0 {
				return
			}
			i := rapid.IntRange(0, len(running)-1).Draw(rt, "ends")
			tk := running[i]
			running = slices.Delete(running, i, i+1)
			ended = append(ended, tk)
			start(l.done(tk, nil)...)
		}
		rt.Repeat(map[string]func(*rapid.T){"add": add, "end": end})
		for len(running) > 0 {
			end(rt)
		}
		if len(ended) != len(added) {
			rt.Fatalf("%d of %d tasks ran", len(ended), len(added))
		}
	})
}

func share(a, b *task) bool {
	return slices.ContainsFunc(a.stripes, func(n int) bool { return slices.Contains(b.stripes, n) })
}
