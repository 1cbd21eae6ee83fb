package historytest

import (
	"fmt"

	"pushd.example/internal/history"
)

func ephemeralPromises() []promise {
	return []promise{
		{name: "GoesToThoseWhoAreConnected", check: ephemeralIsHandedOver},
		{name: "LeavesNothingBehind", check: ephemeralLeavesNothing},
		{name: "HasItsTurn", check: ephemeralHasItsTurn},
		{name: "ManyUsers", check: ephemeralToMany},
		{name: "RefusedWithWhatIsForMessagesThatAreKept", check: ephemeralRefused},
	}
}

func ephemeral(kind history.Kind, users ...string) history.Push {
	return history.Push{Kind: kind, Users: users, Ephemeral: true}
}

// wantOnline checks a result of which only the connection counts are set.
func (r *rig) wantOnline(got history.AppendResult, users, connections int) {
	r.Helper()
	want := history.AppendResult{ID: got.ID, Online: connections, OnlineUsers: users}
	if got.ID == 0 || got != want {
		r.Errorf("result %+v, want %+v", got, want)
	}
}

func ephemeralIsHandedOver(r *rig) {
	f := r.follow()
	r.wantOnline(r.push(ephemeral(history.Unicast, "ann")), 0, 0)
	r.wantOnline(r.push(ephemeral(history.Broadcast)), 0, 0)
	r.wantDeliveries(f.takeUnattached())
	for range 2 {
		r.attach("ann", history.Start{})
	}
	r.attach("bob", history.Start{})
	stored := r.unicast("ann")
	f.take()
	all := ephemeral(history.Broadcast)
	all.ExcludeConnection = "c1"
	r.wantOnline(r.push(ephemeral(history.Unicast, "ann")), 1, 2)
	r.wantOnline(r.push(ephemeral(history.Multicast, "ann", "cleo", "bob", "ann")), 2, 3)
	r.wantOnline(r.push(all), 2, 3)
	f.take()
	u, m, b := r.send(ephemeral(history.Unicast, "ann")), r.send(ephemeral(history.Multicast, "bob", "ann")), r.send(all)
	last := r.unicast("ann")
	r.wantDeliveries(f.take(),
		history.Delivery{Message: u, Recipients: to("ann", none)},
		history.Delivery{Message: m, Recipients: to("ann", none, "bob", none)},
		history.Delivery{Message: b, ExcludeConnection: "c1"},
		history.Delivery{Message: last, Recipients: to("ann", stored.ID)})
}

func ephemeralLeavesNothing(r *rig) {
	r.attach("ann", history.Start{})
	before := []history.Message{r.unicast("ann"), r.broadcast()}
	r.ack("ann", r.heads("ann"))
	heads := r.heads("ann")
	for _, p := range []history.Push{ephemeral(history.Unicast, "ann"), ephemeral(history.Multicast, "ann", "bob"), ephemeral(history.Broadcast)} {
		r.send(p)
	}
	r.wantHistory("ann", before...)
	r.wantHistory("bob", before[1])
	if got := r.heads("ann"); got != heads {
		r.Errorf("heads %+v, want %+v as before", got, heads)
	}
	if n := r.unread("ann"); n != 0 {
		r.Errorf("%d unread, want none", n)
	}
}

// ephemeralHasItsTurn: it is delivered between what was appended before and
// after it.
func ephemeralHasItsTurn(r *rig) {
	r.attach("ann", history.Start{})
	f := r.follow()
	var want []history.Delivery
	prev := none
	for i := range 30 {
		p := history.Push{Kind: history.Unicast, Users: []string{"ann"}, Ephemeral: i%2 == 0}
		d := history.Delivery{Message: r.send(p), Recipients: to("ann", none)}
		if !p.Ephemeral {
			d.Recipients[0].Prev = prev
			prev = d.Message.ID
		}
		want = append(want, d)
	}
	r.wantDeliveries(f.take(), want...)
}

// ephemeralToMany: to more than an engine takes in one step.
func ephemeralToMany(r *rig) {
	var users []string
	for i := range 2500 {
		users = append(users, fmt.Sprint("user", i))
	}
	r.attach(users[3], history.Start{})
	r.attach(users[2400], history.Start{})
	f := r.follow()
	m := r.send(ephemeral(history.Multicast, users...))
	// An engine that takes several steps may make several deliveries.
	there := map[string]int{}
	for _, d := range f.take() {
		r.wantMessages("delivered", []history.Message{d.Message}, m)
		for _, to := range d.Recipients {
			there[to.User]++
		}
	}
	if len(there) != 2 || there[users[3]] != 1 || there[users[2400]] != 1 {
		r.Errorf("delivered to %v, want user3 and user2400 once each", there)
	}
}

func ephemeralRefused(r *rig) {
	for _, p := range []history.Push{{TTL: 1}, {IdempotencyKey: "k"}, {Durability: history.Memory}, {CollapseKey: "c"}} {
		p.Kind, p.Ephemeral = history.Broadcast, true
		if _, err := r.store.Append(r.ctx, p); err == nil {
			r.Errorf("%+v was taken", p)
		}
	}
}
