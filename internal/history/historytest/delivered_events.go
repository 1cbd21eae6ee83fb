package historytest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"pushd.example/internal/history"
	"pushd.example/internal/history/watch"
)

func deliveredEventPromises() []promise {
	five := history.Retention{InboxCount: 5}
	return []promise{
		{name: "OnePerEntryAndUser", check: deliveredEventsOnce},
		{name: "AtTheTimeOfTheReceipt", check: deliveredEventTimes},
		{name: "AlsoOfWhatIsNoLongerShown", check: deliveredEventsOfHidden},
		{name: "NotOfWhatRetentionDropped", retention: five, check: deliveredEventsDropped},
		{name: "MissedIsLost", check: deliveredEventsMissed},
		{name: "NothingUnwatched", check: deliveredEventsUnwatched},
		{name: "AgreeWithReceipts", check: deliveredEventsAgree},
		{name: "AtOnceAreOneEvent", check: deliveredEventsAtOnce},
		{name: "RefusedRecordsNothing", check: deliveredEventsRefused},
	}
}

// delivered is that m was delivered to user for the first time, now.
func (r *rig) delivered(user string, m history.Message) watch.Event {
	e := r.event(watch.Delivered, user)
	e.ID = m.ID
	return e
}

func deliveredEventsOnce(r *rig) {
	w := r.watch(watch.Delivered)
	one, two, three := r.unicast("ann"), r.multicast("ann", "bob"), r.unicast("ann")
	b := r.broadcast()
	r.tick()
	r.deliver("ann", one.ID, three.ID)
	w.want(r.delivered("ann", two), r.delivered("ann", three))
	r.deliver("ann", one.ID, three.ID)
	r.deliver("ann", two.ID, two.ID)
	r.deliver("ann", three.ID, one.ID)
	w.want()
	r.recordDelivered(history.Deliveries{Broadcasts: map[history.ID]int{b.ID: 1}})
	w.want()
	r.tick()
	r.deliver("ann", 0, history.MaxID) // over all: only the first is new
	w.want(r.delivered("ann", one))
	// Two ranges of a user in one call that overlap.
	four := r.unicast("bob")
	r.tick()
	r.recordDelivered(history.Deliveries{Inboxes: []history.UserRange{
		r.delivery("bob", two.ID, four.ID), r.delivery("nobody", 0, four.ID), r.delivery("bob", 0, four.ID)}})
	w.want(r.delivered("bob", four), r.delivered("bob", two))
}

func deliveredEventTimes(r *rig) {
	w := r.watch(watch.Delivered)
	one := r.unicast("ann")
	early := r.delivery("ann", 0, one.ID)
	first := r.delivered("ann", one)
	r.tick()
	two := r.unicast("ann")
	early.To = two.ID
	second := r.delivered("ann", two)
	r.tick()
	r.recordDelivered(history.Deliveries{Inboxes: []history.UserRange{early}})
	w.want(first, second) // not before it was stored
	three := r.unicast("ann")
	r.tick()
	r.recordDelivered(history.Deliveries{Inboxes: []history.UserRange{{User: "ann", Range: history.Range{From: two.ID, To: three.ID}}}})
	w.want(r.delivered("ann", three))
	r.wantDelivered(three, "ann "+unknownTime)
}

func deliveredEventsOfHidden(r *rig) {
	w := r.watch(watch.Delivered)
	expired := r.send(history.Push{Kind: history.Unicast, Users: []string{"ann"}, TTL: time.Second})
	recalled := r.unicast("ann")
	replaced := r.send(history.Push{Kind: history.Unicast, Users: []string{"ann"}, CollapseKey: "k"})
	shown := r.send(history.Push{Kind: history.Unicast, Users: []string{"ann"}, CollapseKey: "k"})
	if err := r.messages().Recall(r.ctx, recalled.ID); err != nil {
		r.Fatalf("recalling: %v", err)
	}
	r.clock.Advance(time.Minute)
	r.deliver("ann", 0, shown.ID)
	for _, m := range []history.Message{expired, recalled, replaced, shown} {
		r.wantDelivered(m, "ann "+clockTime(r.clock.Now()))
	}
	w.want(r.delivered("ann", expired), r.delivered("ann", recalled), r.delivered("ann", replaced), r.delivered("ann", shown))
}

func deliveredEventsDropped(r *rig) {
	w := r.watch(watch.Delivered)
	var sent []history.Message
	for range 7 {
		sent = append(sent, r.unicast("ann"))
	}
	r.deliver("ann", 0, sent[3].ID)
	w.want(r.delivered("ann", sent[2]), r.delivered("ann", sent[3]))
	r.clock.Advance(40 * 24 * time.Hour) // past the age
	w = r.watch(watch.Delivered)
	r.deliver("ann", 0, sent[6].ID)
	w.want()
}

func deliveredEventsMissed(r *rig) {
	r.recordDelivered(history.Deliveries{Missed: true})
	w, other := r.watch(watch.Delivered), r.watch(watch.Acked)
	one, two := r.unicast("ann"), r.unicast("ann")
	r.recordDelivered(history.Deliveries{Missed: true, Inboxes: []history.UserRange{r.delivery("ann", 0, one.ID)}})
	w.wantLost(r.delivered("ann", one))
	r.recordDelivered(history.Deliveries{Missed: true})
	w.wantLost()
	r.deliver("ann", one.ID, two.ID)
	w.want(r.delivered("ann", two))
	other.want()
}

func deliveredEventsUnwatched(r *rig) {
	one := r.unicast("ann")
	r.deliver("ann", 0, one.ID)
	other, w := r.watch(watch.Acked), r.watch(watch.Delivered)
	r.deliver("ann", 0, one.ID) // known already
	w.want()
	r.clock.Advance(2 * watch.WatchedFor)
	two := r.unicast("ann")
	other.read(0)
	r.deliver("ann", one.ID, two.ID)
	w.wantLost()
}

// deliveredEventsAgree: of many recipients, some in several calls, those have an
// event of whom the receipt says that they have it.
func deliveredEventsAgree(r *rig) {
	users := make([]string, 300)
	for i := range users {
		users[i] = fmt.Sprintf("user-%d", i*7919%len(users))
	}
	w := r.watch(watch.Delivered)
	m := r.send(history.Push{Kind: history.Multicast, Users: users})
	var want []watch.Event
	for step := 2; step <= 3; step++ {
		r.tick()
		var d history.Deliveries
		for i := 0; i < len(users); i += step {
			d.Inboxes = append(d.Inboxes, r.delivery(users[i], 0, m.ID))
		}
		r.recordDelivered(d)
	}
	for _, u := range r.receipt(m).Users {
		if u.Delivered {
			want = append(want, watch.Event{Kind: watch.Delivered, User: u.User, ID: m.ID, Time: u.DeliveredAt})
		}
	}
	if len(want) != 200 {
		r.Errorf("delivered to %d, want 200", len(want))
	}
	w.wantAnyOrder(want...)
}

func deliveredEventsAtOnce(r *rig) {
	w := r.watch(watch.Delivered)
	m := r.multicast("ann", "bob")
	var running sync.WaitGroup
	for range 8 {
		running.Go(func() {
			d := history.Deliveries{Inboxes: []history.UserRange{r.delivery("ann", 0, m.ID), r.delivery("bob", 0, m.ID)}}
			if err := r.messages().RecordDelivered(r.ctx, d); err != nil {
				r.Errorf("recording: %v", err)
			}
		})
	}
	running.Wait()
	w.wantAnyOrder(r.delivered("ann", m), r.delivered("bob", m))
}

func deliveredEventsRefused(r *rig) {
	w := r.watch(watch.Delivered)
	m := r.unicast("ann")
	d := history.Deliveries{Missed: true, Inboxes: []history.UserRange{r.delivery("ann", 0, m.ID), r.delivery("", 0, m.ID)}}
	if err := r.messages().RecordDelivered(r.ctx, d); !errors.Is(err, history.ErrUser) {
		r.Errorf("recording of a bad user: %v, want ErrUser", err)
	}
	w.want()
	r.deliver("ann", 0, m.ID)
	w.want(r.delivered("ann", m))
}
