package conn_test

import (
	"fmt"
	"slices"
	"testing"

	"pushd.example/internal/conn"
	"pushd.example/internal/history"
	"pushd.example/internal/history/watch"
)

// TestDeliveredEvents: what clients were sent, live and in pages, is an event once
// for each user, however many tabs it goes to; broadcasts are none.
func TestDeliveredEvents(t *testing.T) {
	var events watch.Events
	r := serve(t, func(c *conn.Config) {
		events = c.Store.(watch.Events)
		c.Messages = c.Store.(history.Messages)
	})
	tab, other := r.connect("ann"), r.connect("ann")

	q := watch.Query{Kinds: watch.Delivered, Limit: 1000}
	read := func() (got []string) {
		t.Helper()
		p, err := events.ReadEvents(r.ctx, q)
		if err != nil || p.Lost {
			t.Fatalf("reading events: lost: %v, %v", p.Lost, err)
		}
		q.After, q.Wait = p.Next, patience
		for _, e := range p.Events {
			got = append(got, fmt.Sprintf("%s %d", e.User, e.ID))
		}
		return got
	}
	read()
	var want []string
	for i := range 20 {
		p := history.Push{Kind: history.Multicast, Users: []string{"ann", "bob"}, Data: fmt.Append(nil, i)}
		want = append(want, fmt.Sprintf("ann %d", r.append(p).ID))
		tab.wantData(string(p.Data))
		other.wantData(string(p.Data))
		r.broadcast(`"to all"`)
		tab.wantData(`"to all"`)
		other.wantData(`"to all"`)
	}
	var got []string
	for len(got) < len(want) {
		got = append(got, read()...)
	}
	if !slices.Equal(got, want) {
		t.Errorf("delivered %q, want %q", got, want)
	}
	for i := range want {
		want[i] = "bob" + want[i][len("ann"):]
	}
	r.connect("ann", "cursor", "0") // it was delivered to her before
	r.connect("bob", "cursor", "0")
	for got = nil; len(got) < len(want); {
		got = append(got, read()...)
	}
	if !slices.Equal(got, want) {
		t.Errorf("delivered out of history %q, want %q", got, want)
	}
}
