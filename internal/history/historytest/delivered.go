package historytest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"pushd.example/internal/history"
	"pushd.example/internal/history/engine"
)

func deliveredPromises() []promise {
	five := history.Retention{InboxCount: 5, BroadcastCount: 3}
	return []promise{
		{name: "SaysToWhomAndWhen", check: deliveredToWhom},
		{name: "ARangeHoldsAllThatLiesInIt", check: deliveredRanges},
		{name: "IsOfTheFirstTime", check: deliveredAgain},
		{name: "TouchingRangesAreNeverForgotten", check: deliveredTouching},
		{name: "TheLastAreKeptIfNoneTouch", check: deliveredApart},
		{name: "NotBeforeItWasStored", check: deliveredEarly},
		{name: "OfABroadcastCountsConnections", retention: five, check: deliveredBroadcasts},
		{name: "OfWhatRetentionDropped", retention: five, check: deliveredDropped},
		{name: "ToMany", check: deliveredCrowd},
		{name: "AtOnceLosesNothing", check: deliveredAtOnce},
		{name: "BadUserRecordsNothing", check: deliveredBad},
	}
}

func reopenDeliveredPromises() []promise {
	return []promise{{name: "KeepsWhatWasRecorded", check: reopenKeepsDelivered}}
}

// deliver records that user was sent what lies after one message up to another.
func (r *rig) deliver(user string, from, to history.ID) {
	r.Helper()
	r.recordDelivered(history.Deliveries{Inboxes: []history.UserRange{r.delivery(user, from, to)}})
}

// delivery is a range of an inbox that was delivered now.
func (r *rig) delivery(user string, from, to history.ID) history.UserRange {
	return history.UserRange{User: user, Range: history.Range{From: from, To: to, At: r.clock.Now().Truncate(time.Millisecond)}}
}

func (r *rig) recordDelivered(d history.Deliveries) {
	r.Helper()
	if err := r.messages().RecordDelivered(r.ctx, d); err != nil {
		r.Fatalf("recording %d ranges and %d broadcasts: %v", len(d.Inboxes), len(d.Broadcasts), err)
	}
}

// wantDelivered checks to whom m was delivered, and when: one line each,
// "ann 12:00:00.000", the zero time where it is not known any more.
func (r *rig) wantDelivered(m history.Message, want ...string) {
	r.Helper()
	o := r.receipt(m)
	var got []string
	for _, u := range o.Users {
		if u.Delivered {
			got = append(got, u.User+" "+clockTime(u.DeliveredAt))
		} else if !u.DeliveredAt.IsZero() {
			r.Errorf("%d was not delivered to %s, and that at %v", m.ID, u.User, u.DeliveredAt)
		}
	}
	if !slices.Equal(got, want) || m.Kind != history.Broadcast && o.Delivered != len(want) {
		r.Errorf("%d was delivered to %d: %q, want %q", m.ID, o.Delivered, got, want)
	}
}

func clockTime(t time.Time) string { return t.UTC().Format("15:04:05.000") }

var unknownTime = clockTime(time.Time{})

func deliveredToWhom(r *rig) {
	one, two := r.multicast("bob", "ann", "cleo"), r.unicast("ann")
	r.wantDelivered(one)
	first := clockTime(r.tick())
	r.deliver("ann", one.ID-1, one.ID)
	r.wantDelivered(one, "ann "+first)
	r.wantDelivered(two)
	second := clockTime(r.tick())
	r.recordDelivered(history.Deliveries{Inboxes: []history.UserRange{r.delivery("cleo", 0, two.ID), r.delivery("ann", one.ID, two.ID), r.delivery("dora", 0, two.ID)}})
	r.wantDelivered(one, "ann "+first, "cleo "+second)
	r.wantDelivered(two, "ann "+second)
	at := r.tick()
	r.ack("bob", r.heads("bob"))
	r.wantDelivered(one, "ann "+first, "cleo "+second) // bob read it in the history
	if o := r.receipt(one); o.Acked != 1 || !o.Users[1].AckedAt.Equal(at) {
		r.Errorf("after one ack: %s", receiptText(o))
	}
}

func deliveredRanges(r *rig) {
	sent := []history.Message{r.unicast("ann"), r.unicast("ann"), r.unicast("ann"), r.unicast("ann")}
	at := clockTime(r.tick())
	r.deliver("ann", sent[0].ID, sent[2].ID)
	r.deliver("ann", sent[3].ID, sent[3].ID)
	r.deliver("ann", sent[3].ID, sent[0].ID)
	r.wantDelivered(sent[0])
	r.wantDelivered(sent[1], "ann "+at)
	r.wantDelivered(sent[2], "ann "+at)
	r.wantDelivered(sent[3])
	r.deliver("ann", sent[2].ID+1, sent[3].ID)
	r.deliver("ann", 0, sent[0].ID)
	r.wantDelivered(sent[0], "ann "+at)
	r.wantDelivered(sent[3], "ann "+at)
}

func deliveredAgain(r *rig) {
	one, two, three := r.unicast("ann"), r.unicast("ann"), r.unicast("ann")
	first := clockTime(r.tick())
	r.deliver("ann", one.ID, two.ID)
	second := clockTime(r.tick())
	r.deliver("ann", one.ID-1, three.ID) // over all
	r.deliver("ann", one.ID, three.ID)
	r.deliver("ann", two.ID, three.ID)
	r.wantDelivered(one, "ann "+second)
	r.wantDelivered(two, "ann "+first)
	r.wantDelivered(three, "ann "+second)
}

func deliveredTouching(r *rig) {
	var sent []history.Message
	var times []string
	before := r.unicast("ann") // nobody got it
	for range 3 * engine.MergeBeyond {
		sent = append(sent, r.unicast("ann"))
		times = append(times, clockTime(r.tick()))
		from := before.ID
		if n := len(sent); n > 1 {
			from = sent[n-2].ID
		}
		r.deliver("ann", from, sent[len(sent)-1].ID)
	}
	r.wantDelivered(before)
	for i, m := range sent {
		at := times[i]
		if i <= len(sent)-engine.MergeBeyond {
			at = unknownTime
		}
		r.wantDelivered(m, "ann "+at)
	}
}

func deliveredApart(r *rig) {
	const more = 3
	var sent []history.Message

	for range engine.MaxRanges + more {
		r.unicast("ann")
		sent = append(sent, r.unicast("ann"))
	}
	at := clockTime(r.tick())
	for _, m := range sent {
		r.deliver("ann", m.ID-1, m.ID)
	}
	for i, m := range sent {
		if i < more {
			r.wantDelivered(m)
		} else {
			r.wantDelivered(m, "ann "+at)
		}
	}
	// If two touch, they are merged and the oldest stays.
	r.deliver("ann", sent[len(sent)-1].ID, sent[len(sent)-1].ID+1)
	r.wantDelivered(sent[more], "ann "+at)
	r.wantDelivered(sent[len(sent)-1], "ann "+unknownTime)
}

func deliveredEarly(r *rig) {
	one := r.unicast("ann")
	early := r.delivery("ann", 0, one.ID)
	r.tick()
	two := r.unicast("ann")
	early.To = two.ID
	r.recordDelivered(history.Deliveries{Inboxes: []history.UserRange{early}})
	r.wantDelivered(one, "ann "+clockTime(early.At))
	r.wantDelivered(two, "ann "+clockTime(two.ID.Time()))
}

func (r *rig) wantConnections(m history.Message, want int) {
	r.Helper()
	if o := r.receipt(m); o.Delivered != want || o.Recipients != 0 || len(o.Users) != 0 {
		r.Errorf("receipt of broadcast %d: %s, want delivered to %d", m.ID, receiptText(o), want)
	}
}

func deliveredBroadcasts(r *rig) {
	one, two := r.broadcast(), r.broadcast()
	r.wantConnections(one, 0)
	r.recordDelivered(history.Deliveries{Broadcasts: map[history.ID]int{one.ID: 3}})
	r.recordDelivered(history.Deliveries{Broadcasts: map[history.ID]int{one.ID: 2, two.ID: 100_000, two.ID + 1: 7, 1: 7, history.MaxID: 7}})
	r.deliver("ann", 0, two.ID) // an inbox: nothing to broadcasts
	r.wantConnections(one, 5)
	r.wantConnections(two, 100_000)
	for range 3 {
		r.recordDelivered(history.Deliveries{Broadcasts: map[history.ID]int{r.broadcast().ID: 1, two.ID: 1}})
	}
	if _, err := r.messages().Receipt(r.ctx, two.ID, 1); !errors.Is(err, history.ErrNotFound) {
		r.Errorf("receipt of a broadcast that the count dropped: %v, want ErrNotFound", err)
	}
	last := r.broadcast()
	r.wantConnections(last, 0)
}

func deliveredDropped(r *rig) {
	m := r.unicast("ann")
	at := clockTime(r.tick())
	r.deliver("ann", 0, m.ID)
	for range 200 {
		r.unicast("ann")
	}
	r.wantDelivered(m, "ann "+at)
}

func deliveredCrowd(r *rig) {
	users := make([]string, 2500)
	for i := range users {
		users[i] = fmt.Sprintf("user-%d", i*7919%len(users))
	}
	m := r.send(history.Push{Kind: history.Multicast, Users: users})
	at := r.tick()
	var d history.Deliveries
	had := map[string]bool{}
	for i := 0; i < len(users); i += 3 {
		d.Inboxes = append(d.Inboxes, r.delivery(users[i], 0, m.ID))
		had[users[i]] = true
	}
	r.recordDelivered(d)
	o := r.receipt(m)
	if o.Recipients != len(users) || o.Delivered != len(had) || len(o.Users) != 1000 {
		r.Fatalf("%d recipients, delivered to %d, %d named", o.Recipients, o.Delivered, len(o.Users))
	}
	for _, u := range o.Users {
		if u.Delivered != had[u.User] || u.Delivered && !u.DeliveredAt.Equal(at.Truncate(time.Millisecond)) {
			r.Errorf("%+v, delivered: %v", u, had[u.User])
		}
	}
}

// deliveredAtOnce: callers at the same time, of the same user, lose nothing.
func deliveredAtOnce(r *rig) {
	var sent []history.Message
	for range 12 {
		sent = append(sent, r.unicast("ann"))
	}
	b := r.broadcast()
	var running sync.WaitGroup
	for _, m := range sent {
		running.Go(func() {
			d := history.Deliveries{Broadcasts: map[history.ID]int{b.ID: 1}}
			for i := range 300 {
				d.Inboxes = append(d.Inboxes, r.delivery(fmt.Sprint("user", i), 0, m.ID))
			}
			d.Inboxes = append(d.Inboxes, r.delivery("ann", m.ID-1, m.ID))
			if err := r.messages().RecordDelivered(r.ctx, d); err != nil {
				r.Errorf("recording: %v", err)
			}
		})
	}
	running.Wait()
	for _, m := range sent {
		r.wantDelivered(m, "ann "+clockTime(r.clock.Now()))
	}
	r.wantConnections(b, len(sent))
}

func deliveredBad(r *rig) {
	m, b := r.unicast("ann"), r.broadcast()
	for _, user := range []string{"", strings.Repeat("u", history.MaxUser+1), "a\xc3"} {
		d := history.Deliveries{
			Inboxes:    []history.UserRange{r.delivery("ann", 0, m.ID), r.delivery(user, 0, m.ID)},
			Broadcasts: map[history.ID]int{b.ID: 1},
		}
		if err := r.messages().RecordDelivered(r.ctx, d); !errors.Is(err, history.ErrUser) {
			r.Errorf("recording of %q: %v, want ErrUser", user, err)
		}
	}
	ctx, cancel := context.WithCancel(r.ctx)
	cancel()
	d := history.Deliveries{Inboxes: []history.UserRange{r.delivery("ann", 0, m.ID)}}
	if err := r.messages().RecordDelivered(ctx, d); !errors.Is(err, context.Canceled) {
		r.Errorf("recording with a context that had ended: %v", err)
	}
	r.recordDelivered(history.Deliveries{})
	r.wantDelivered(m)
	r.wantConnections(b, 0)
	if err := r.store.Close(); err != nil {
		r.Fatal(err)
	}
	if err := r.messages().RecordDelivered(r.ctx, d); !errors.Is(err, history.ErrClosed) {
		r.Errorf("recording after Close: %v, want ErrClosed", err)
	}
}

func reopenKeepsDelivered(r *rig) {
	one, b, two := r.multicast("ann", "bob"), r.broadcast(), r.unicast("ann")
	at := clockTime(r.tick())
	d := history.Deliveries{Broadcasts: map[history.ID]int{b.ID: 2}}
	d.Inboxes = append(d.Inboxes, r.delivery("ann", 0, one.ID))
	r.recordDelivered(d)
	r.reopen()
	r.wantDelivered(one, "ann "+at)
	r.wantConnections(b, 2)
	later := clockTime(r.tick())
	d.Inboxes[0] = r.delivery("ann", one.ID, two.ID)
	r.recordDelivered(d)
	r.wantDelivered(one, "ann "+at)
	r.wantDelivered(two, "ann "+later)
	r.wantConnections(b, 4)
}
