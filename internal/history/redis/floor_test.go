package redis_test

import (
	"crypto/rand"
	"testing"
	"time"

	"pushd.example/internal/history"
	"pushd.example/internal/history/engine"
	"pushd.example/internal/history/historytest"
	"pushd.example/internal/history/redis"
)

// TestFloors: an id lies above the highest that the node saw, as after a failover to
// a server with a slow clock, but no further ahead of the clock than
// engine.CursorSkew.
func TestFloors(t *testing.T) {
	clock := historytest.NewClock()
	s := openStore(t, redis.Config{URL: shared.URL(), Node: "n", Prefix: rand.Text() + ":", Now: clock.Now})
	near, most := history.FirstIDAt(clock.Now().Add(30*time.Second)), history.FirstIDAt(clock.Now().Add(engine.CursorSkew))
	for _, p := range []history.Push{
		{Kind: history.Unicast, Users: []string{"ann"}},
		{Kind: history.Broadcast},
		{Kind: history.Multicast, Users: []string{"ann", "bob"}, Ephemeral: true},
	} {
		redis.Saw(s, "ann", near)
		if id := appended(t, s, p); id <= near || id > most {
			t.Errorf("%v: id %d after %d was seen, want the next, at most %d", p.Kind, id, near, most)
		}
	}
	redis.Saw(s, "ann", history.FirstIDAt(clock.Now().Add(time.Hour)))
	if id := appended(t, s, history.Push{Kind: history.Unicast, Users: []string{"ann"}}); id <= most || id > most+16 {
		t.Errorf("id %d after one of an hour ahead was seen, want about %d", id, most)
	}
}
