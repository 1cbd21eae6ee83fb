package conn_test

import (
	"fmt"
	"testing"

	"pushd.example/internal/history"
	"pushd.example/internal/testkit"
)

// When the store says that deliveries may have been missed, every connection
// gets what it lacks, also those that no later message concerns.
func TestResync(t *testing.T) {
	r, f := serveFaulty(t, nil)
	const users = 100
	var clients []*client
	for i := range users {
		clients = append(clients, r.connect(fmt.Sprint(i)))
	}
	f.set(func() { f.deliver = func([]history.Delivery) []history.Delivery { return nil } })
	r.broadcast(`"missed by all"`)
	for i := range users {
		r.unicast(fmt.Sprint(i), fmt.Sprint(i))
	}
	f.set(func() {
		f.deliver = func([]history.Delivery) []history.Delivery { return []history.Delivery{{Resync: true}} }
	})
	r.unicast("0", `"last"`) // comes as nothing but the resync
	for i, c := range clients {
		c.wantData(`"missed by all"`, fmt.Sprint(i))
	}
	clients[0].wantData(`"last"`)
	if n := f.pages.Load(); n != users {
		t.Errorf("%d pages were read, want one for each of %d connections", n, users)
	}
	f.set(func() { f.deliver = nil })
	r.broadcast(`"live again"`)
	for _, c := range clients {
		c.wantData(`"live again"`)
	}
}

// Connections that come and go while a resync is under way are neither missed
// nor waited for.
func TestResyncWithComingsAndGoings(t *testing.T) {
	r, f := serveFaulty(t, nil)
	var stay, leave []*client
	for i := range 60 {
		stay = append(stay, r.connect(fmt.Sprint("stay", i)))
		leave = append(leave, r.connect(fmt.Sprint("leave", i)))
	}
	f.set(func() { f.deliver = func([]history.Delivery) []history.Delivery { return nil } })
	r.broadcast("1")
	gate := make(chan struct{})
	f.set(func() {
		f.gate = gate
		f.deliver = func([]history.Delivery) []history.Delivery { return []history.Delivery{{Resync: true}} }
	})
	r.unicast("nobody", "0")
	r.broadcast("2")
	testkit.WaitFor(t, "pages to be asked for", func() bool { return f.waiting.Load() > 0 })
	for _, c := range leave {
		c.ws.CloseNow()
	}
	f.set(func() { f.gate = nil })
	close(gate)
	for _, c := range stay {
		c.wantData("1", "2")
	}
	r.connect("new", "cursor", "0").wantData("1", "2")
}
