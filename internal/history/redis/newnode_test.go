package redis_test

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"pushd.example/internal/history"
	"pushd.example/internal/history/redis"
)

// TestNewNodesGetWhatIsPushedElsewhere: a node gets pushes, recalls and acks from a node
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
	t.Run("ack", func(t *testing.T) {
		id := appended(t, old, history.Push{Kind: history.Unicast, Users: []string{"ann"}})
		joined := openStore(t, c)
		var got []history.Delivery
		defer joined.Follow(func(batch []history.Delivery) { got = append(got, batch...) })()
		attach(t, joined, "ann")
		mark, err := old.Ack(t.Context(), "ann", history.Cursor{Inbox: id}, "a socket")
		if err != nil {
			t.Fatal(err)
		}
		if err := redis.Settle(t.Context(), joined); err != nil {
			t.Fatal(err)
		}
		if len(got) != 1 || got[0].Acked == nil || *got[0].Acked != mark || mark.Cursor.Inbox != id || got[0].ExcludeConnection != "a socket" {
			t.Errorf("the new node got %+v, not the ack to %+v", got, mark)
		}
	})
}

// TestMergeKeepsTheOrderOfTheStream: a recall has an older id than what came before
// it, and an ack has the id of a broadcast that it counts.
func TestMergeKeepsTheOrderOfTheStream(t *testing.T) {
	deliveries := func(kind history.Kind, ids ...history.ID) (all []history.Delivery) {
		for _, id := range ids {
			all = append(all, history.Delivery{Message: history.Message{ID: id, Kind: kind}})
		}
		return all
	}
	for _, c := range []struct {
		stream, broadcasts []history.ID
		want               string
	}{
		{nil, []history.ID{1, 2}, "b1 b2"},
		{[]history.ID{1, 2}, nil, "1 2"},
		{[]history.ID{2, 5, 3, 8}, []history.ID{1, 4, 8, 9}, "b1 2 b4 5 3 b8 8 b9"},
	} {
		var got []string
		for _, d := range redis.Merge(deliveries(history.Unicast, c.stream...), deliveries(history.Broadcast, c.broadcasts...)) {
			name := d.Message.ID.String()
			if d.Message.Kind == history.Broadcast {
				name = "b" + name
			}
			got = append(got, name)
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%v and %v are merged to %q, want %q", c.stream, c.broadcasts, text, c.want)
		}
	}
}
