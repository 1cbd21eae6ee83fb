package receipts

import (
	"maps"
	"testing"

	"pgregory.net/rapid"

	"pushd.example/internal/conn/feed"
	"pushd.example/internal/history"
)

// Each broadcast is counted once for each run that it lies in, in any order of
// runs, single broadcasts and collections.
func TestBroadcastsAgainstNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b broadcasts
		want, got := map[history.ID]int{}, map[history.ID]int{}
		live := []history.ID{10} // 10 is no broadcast: where runs may begin
		kept := history.ID(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				id := live[len(live)-1] + history.ID(rapid.IntRange(1, 3).Draw(t, "step"))
				live = append(live, id)
				b.live(id)
				b.live(id) // handed over again
			case 1:
				id := history.ID(rapid.IntRange(1, 9).Draw(t, "old"))
				b.add(feed.Run{Log: feed.Broadcasts, From: id - 1, To: id})
				want[id]++
			case 2:
				from, to := rapid.SampledFrom(live).Draw(t, "from"), rapid.SampledFrom(live).Draw(t, "to")
				if from < kept {
					break // no reader has these to take
				}
				b.add(feed.Run{Log: feed.Broadcasts, From: from, To: to})
				for _, id := range live {
					if from < id && id <= to {
						want[id]++
					}
				}
			case 3:
				kept = max(kept, rapid.SampledFrom(live).Draw(t, "above"))
				add(got, b.take(kept))
			}
		}
		if add(got, b.take(history.MaxID)); !maps.Equal(got, want) {
			t.Fatalf("counted %v, want %v", got, want)
		}
		if len(b.ids) != 0 {
			t.Fatalf("%d broadcasts are kept that no reader will take", len(b.ids))
		}
	})
}

func add(counts, more map[history.ID]int) {
	for id, n := range more {
		counts[id] += n
	}
}

// If there are more broadcasts than are kept, the oldest go. The counts of the
// others stay right.
func TestBroadcastsAreBounded(t *testing.T) {
	var b broadcasts
	for id := history.ID(2); id <= 2*(maxLive+1); id += 2 {
		b.live(id)
		b.add(feed.Run{From: 0, To: id})
	}
	if len(b.ids) > maxLive {
		t.Errorf("%d broadcasts are kept", len(b.ids))
	}
	counts := b.take(history.MaxID)
	for id, n := range counts {
		// Each counts itself and those after it.
		if want := (2*(maxLive+1)-int(id))/2 + 1; n != want {
			t.Fatalf("broadcast %d went to %d, want %d", id, n, want)
		}
	}
}
