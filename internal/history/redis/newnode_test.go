package redis_test

import (
	"crypto/rand"
	"testing"
	"time"

	"pushd.example/internal/history"
	"pushd.example/internal/history/redis"
)

// TestNewNodesGetWhatIsPushedElsewhere: a node gets pushes and recalls from a node
// that has not had a beat since it joined.
func TestNewNodesGetWhatIsPushedElsewhere(t *testing.T) {
	c := redis.Config{URL: shared.URL(), Node: "n", Prefix: rand.Text() + ":", Lease: time.Hour} // no beats
	old := openStore(t, c)
	for name, push := range map[string]func(t *testing.T) history.ID{
		"unicast": func(t *testing.T) history.ID {
			return appended(t, old, history.Push{Kind: history.Unicast, Users: []string{"ann"}})
		},
		"ephemeral unicast": func(t *testing.T) history.ID {
			return appended(t, old, history.Push{Kind: history.Unicast, Users: []string{"ann"}, Ephemeral: true})
		},
		"ephemeral broadcast": func(t *testing.T) history.ID {
			return appended(t, old, history.Push{Kind: history.Broadcast, Ephemeral: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			joined := openStore(t, c)
			got := map[history.ID]bool{}
			defer joined.Follow(func(batch []history.Delivery) {
				for _, d := range batch {
					got[d.Message.ID] = true
				}
			})()
			attach(t, joined, "ann")
			id := push(t)
			if err := redis.Settle(t.Context(), joined); err != nil {
				t.Fatal(err)
			}
			if !got[id] {
				t.Errorf("the new node got %v, not %d", got, id)
			}
		})
	}
	for name, p := range map[string]history.Push{
		"unicast": {Kind: history.Unicast, Users: []string{"ann"}}, "broadcast": {Kind: history.Broadcast},
	} {
		t.Run("recall of a "+name, func(t *testing.T) {
			id := appended(t, old, p)
			joined := openStore(t, c)
			recalled := map[history.ID]bool{}
			defer joined.Follow(func(batch []history.Delivery) {
				for _, d := range batch {
					if d.Recall {
						recalled[d.Message.ID] = true
					}
				}
			})()
			attach(t, joined, "ann")
			if err := old.Recall(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			if err := redis.Settle(t.Context(), joined); err != nil {
				t.Fatal(err)
			}
			if !recalled[id] {
				t.Errorf("the new node got the recalls %v, not %d", recalled, id)
			}
		})
	}
}
