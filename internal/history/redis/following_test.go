package redis

import (
	"fmt"
	"slices"
	"testing"

	"pushd.example/internal/history"
)

// TestFollowingOfBroadcasts: a broadcast is delivered when all copies of it were
// read. Connections that may have read a copy before it had the broadcast read again.
func TestFollowingOfBroadcasts(t *testing.T) {
	var got []string
	f := following{heads: make([]history.ID, 3), deliver: func(batch []history.Delivery) {
		for _, d := range batch {
			if d.Resync {
				got = append(got, "resync")
			} else {
				got = append(got, fmt.Sprint(d.Message.ID))
			}
		}
	}}
	read := func(partition int, ids ...history.ID) {
		var broadcasts []history.Delivery
		for _, id := range ids {
			broadcasts = append(broadcasts, history.Delivery{Message: history.Message{ID: id, Kind: history.Broadcast}})
		}
		f.take(partition, nil, broadcasts)
	}
	want := func(what string, want ...string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
		got = nil
	}
	for p := range f.heads {
		f.join(p, 100)
	}
	read(1, 101)
	read(0, 101, 102)
	want("before all have it")
	read(2, 101, 102)
	want("when all have the first", "101")
	read(1, 102)
	want("when all have the second", "102")

	// The home is joined again behind 104, which one copy lacks.
	read(1, 103, 104)
	f.join(0, 104)
	want("the home was joined again")
	read(2, 103, 104)
	want("the copy that lacked them", "resync")
	for p := range f.heads {
		read(p, 105)
	}
	want("from then on", "105")
}
