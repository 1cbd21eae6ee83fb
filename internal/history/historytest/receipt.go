package historytest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pushd.example/internal/history"
	"pushd.example/internal/history/engine"
)

func receiptPromises() []promise {
	five := history.Retention{InboxCount: 5, BroadcastCount: 3}
	ages := history.Retention{InboxAge: time.Hour, BroadcastAge: time.Hour}
	return []promise{
		{name: "SaysWhoHasAckedAndWhen", check: receiptOfAcks},
		{name: "AnAckCoversAllBeforeIt", check: receiptCovered},
		{name: "TimesOfTheLastAcksAreKept", check: receiptTimesAreKept},
		{name: "NamesTheFirst", check: receiptNames},
		{name: "OfABroadcastCountsReadMarks", check: receiptOfBroadcasts},
		{name: "OutlivesTheCountOfAnInbox", retention: five, check: receiptOutlives},
		{name: "OfABroadcastIsKeptAsLongAsIt", retention: five, check: receiptOfDropped},
		{name: "OfWhatIsRecalledOrExpired", check: receiptOfGone},
		{name: "UnknownIsNotFound", retention: ages, check: receiptUnknown},
		{name: "OfAMulticastToMany", check: receiptOfCrowd},
	}
}

func reopenReceiptPromises() []promise {
	return []promise{{name: "KeepsReceipts", check: reopenKeepsReceipts}}
}

func (r *rig) receipt(m history.Message) history.Receipt {
	r.Helper()
	o, err := r.messages().Receipt(r.ctx, m.ID, 1000)
	if err != nil {
		r.Fatalf("receipt of %d: %v", m.ID, err)
	}
	return o
}

// receiptText writes all of o.
func receiptText(o history.Receipt) string {
	s := fmt.Sprintf("%v to %d, delivered to %d, acked by %d:", o.Kind, o.Recipients, o.Delivered, o.Acked)
	for _, u := range o.Users {
		s += fmt.Sprintf(" %s %v %s %v %s", u.User, u.Delivered, u.DeliveredAt.UTC().Format(time.RFC3339Nano),
			u.Acked, u.AckedAt.UTC().Format(time.RFC3339Nano))
	}
	return s
}

// by is what becomes of a message that user acked at a time; the zero time: that
// is not known, or not acked.
func by(user string, acked bool, at time.Time) history.UserReceipt {
	return history.UserReceipt{User: user, Acked: acked, AckedAt: at}
}

func (r *rig) wantReceipt(m history.Message, acked int, users ...history.UserReceipt) {
	r.Helper()
	want := history.Receipt{Kind: m.Kind, Recipients: len(users), Acked: acked, Users: users}
	if got := r.receipt(m); receiptText(got) != receiptText(want) {
		r.Errorf("receipt of %d:\n got %s\nwant %s", m.ID, receiptText(got), receiptText(want))
	}
}

// tick lets time pass and returns what it is then.
func (r *rig) tick() time.Time {
	r.clock.Advance(time.Second)
	return r.clock.Now()
}

func receiptOfAcks(r *rig) {
	one, two := r.unicast("ann"), r.multicast("bob", "ann", "cleo")
	no := time.Time{}
	r.wantReceipt(one, 0, by("ann", false, no))
	r.wantReceipt(two, 0, by("ann", false, no), by("bob", false, no), by("cleo", false, no))
	first := r.tick()
	r.ack("ann", history.Cursor{Inbox: one.ID})
	r.wantReceipt(one, 1, by("ann", true, first))
	r.wantReceipt(two, 0, by("ann", false, no), by("bob", false, no), by("cleo", false, no))
	second := r.tick()
	r.ack("cleo", history.Cursor{Inbox: two.ID})
	third := r.tick()
	r.ack("ann", history.Cursor{Inbox: two.ID})
	r.wantReceipt(two, 2, by("ann", true, third), by("bob", false, no), by("cleo", true, second))
	r.tick()
	r.ack("ann", history.Cursor{Inbox: one.ID}) // behind: moves nothing
	r.wantReceipt(one, 1, by("ann", true, first))
}

func receiptCovered(r *rig) {
	one, two, three := r.unicast("ann"), r.multicast("ann", "bob"), r.unicast("ann")
	at := r.tick()
	r.ack("ann", r.heads("ann"))
	r.wantReceipt(one, 1, by("ann", true, at))
	r.wantReceipt(two, 1, by("ann", true, at), by("bob", false, time.Time{}))
	r.wantReceipt(three, 1, by("ann", true, at))
}

func receiptTimesAreKept(r *rig) {
	const more = 3
	var sent []history.Message
	var times []time.Time
	for range engine.AcksKept + more {
		sent = append(sent, r.unicast("ann"))
		times = append(times, r.tick())
		r.ack("ann", r.heads("ann"))
		r.ack("ann", r.heads("ann")) // moves nothing
	}
	for i, m := range sent {
		at := times[i]
		if i < more {
			at = time.Time{}
		}
		r.wantReceipt(m, 1, by("ann", true, at))
	}
}

func receiptNames(r *rig) {
	m := r.multicast("dora", "bob", "ann", "cleo")
	r.ack("cleo", r.heads("cleo"))
	for n, want := range [][]string{{}, {"ann"}, {"ann", "bob"}} {
		o, err := r.messages().Receipt(r.ctx, m.ID, n)
		var got []string
		for _, u := range o.Users {
			got = append(got, u.User)
		}
		if err != nil || !slices.Equal(got, want) || o.Recipients != 4 || o.Acked != 1 {
			r.Errorf("the first %d: %s, %v", n, receiptText(o), err)
		}
	}
}

func receiptOfBroadcasts(r *rig) {
	one, two := r.broadcast(), r.broadcast()
	r.wantReceipt(one, 0)
	r.ack("ann", history.Cursor{Broadcast: one.ID})
	r.ack("bob", history.Cursor{Broadcast: two.ID})
	r.ack("cleo", history.Cursor{Broadcast: one.ID + 1}) // between the two, on the first
	r.ack("dora", history.Cursor{Broadcast: one.ID - 1})
	r.wantReceipt(one, 3)
	r.wantReceipt(two, 1)
	r.ack("ann", history.Cursor{Broadcast: two.ID})
	r.ack("ann", history.Cursor{Broadcast: two.ID})
	three := r.broadcast()
	r.wantReceipt(one, 3)
	r.wantReceipt(two, 2)
	r.wantReceipt(three, 0)
	r.ack("dora", history.Cursor{Broadcast: three.ID})
	r.wantReceipt(one, 4)
	r.wantReceipt(three, 1)
}

func receiptOutlives(r *rig) {
	m := r.unicast("ann")
	at := r.tick()
	r.ack("ann", r.heads("ann"))
	for range 200 {
		r.unicast("ann")
	}
	r.wantReceipt(m, 1, by("ann", true, at))
}

func receiptOfDropped(r *rig) {
	one := r.broadcast()
	r.ack("ann", history.Cursor{Broadcast: one.ID})
	two := r.broadcast()
	r.ack("bob", history.Cursor{Broadcast: two.ID})
	for range 2 {
		r.broadcast()
	}
	r.wantReceipt(two, 1)
	if _, err := r.messages().Receipt(r.ctx, one.ID, 1); !errors.Is(err, history.ErrNotFound) {
		r.Errorf("receipt of a broadcast that the count dropped: %v, want ErrNotFound", err)
	}
	r.ack("ann", history.Cursor{Broadcast: two.ID})
	r.wantReceipt(two, 2)
}

func receiptOfGone(r *rig) {
	one := r.send(history.Push{Kind: history.Unicast, Users: []string{"ann"}, TTL: time.Second})
	two, three := r.multicast("ann", "bob"), r.broadcast()
	r.recall(two)
	r.recall(three)
	at := r.tick()
	r.ack("ann", r.heads("ann"))
	r.wantReceipt(one, 1, by("ann", true, at))
	r.wantReceipt(two, 1, by("ann", true, at), by("bob", false, time.Time{}))
	r.wantReceipt(three, 1)
}

func receiptUnknown(r *rig) {
	sent := []history.Message{r.unicast("ann"), r.broadcast()}
	r.clock.Advance(2 * time.Hour)
	for _, id := range []history.ID{0, sent[0].ID, sent[0].ID + 1, sent[1].ID, history.MaxID} {
		if _, err := r.messages().Receipt(r.ctx, id, 1); !errors.Is(err, history.ErrNotFound) {
			r.Errorf("receipt of %d: %v, want ErrNotFound", id, err)
		}
	}
	m := r.unicast("ann")
	ctx, cancel := context.WithCancel(r.ctx)
	cancel()
	if _, err := r.messages().Receipt(ctx, m.ID, 1); !errors.Is(err, context.Canceled) {
		r.Errorf("receipt with a context that had ended: %v", err)
	}
}

func receiptOfCrowd(r *rig) {
	users := make([]string, 2500)
	for i := range users {
		users[i] = fmt.Sprintf("user-%d", i*7919%len(users))
	}
	m := r.send(history.Push{Kind: history.Multicast, Users: users})
	at := r.tick()
	acked := map[string]bool{}
	for i := 0; i < len(users); i += 100 {
		r.ack(users[i], r.heads(users[i]))
		acked[users[i]] = true
	}
	o := r.receipt(m)
	if o.Recipients != len(users) || o.Acked != len(acked) || len(o.Users) != 1000 {
		r.Fatalf("%d recipients, %d acked, %d named", o.Recipients, o.Acked, len(o.Users))
	}
	slices.Sort(users)
	for i, u := range o.Users {
		want := by(users[i], acked[users[i]], time.Time{})
		if want.Acked {
			want.AckedAt = at
		}
		if u.User != want.User || u.Acked != want.Acked || !u.AckedAt.Equal(want.AckedAt) {
			r.Errorf("recipient %d: %+v, want %+v", i, u, want)
		}
	}
}

func reopenKeepsReceipts(r *rig) {
	one, two, three := r.multicast("ann", "bob"), r.broadcast(), r.unicast("ann")
	at := r.tick()
	r.ack("ann", history.Cursor{Inbox: one.ID, Broadcast: two.ID})
	r.reopen()
	r.wantReceipt(one, 1, by("ann", true, at), by("bob", false, time.Time{}))
	r.wantReceipt(two, 1)
	later := r.tick()
	r.ack("ann", history.Cursor{Inbox: three.ID, Broadcast: two.ID})
	r.wantReceipt(one, 1, by("ann", true, at), by("bob", false, time.Time{}))
	r.wantReceipt(two, 1)
	r.wantReceipt(three, 1, by("ann", true, later))
}
