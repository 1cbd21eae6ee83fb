package historytest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"pushd.example/internal/history"
)

// grace is how long a test watches for what must not happen. Too short a time
// can only miss a fault.
const grace = 20 * time.Millisecond

func followPromises() []promise {
	few := history.Retention{InboxCount: 2, BroadcastCount: 2}
	return []promise{
		{name: "HandsOverBeforeAppendReturns", check: handsOver},
		{name: "OnlyWhatConcernsTheAttached", check: onlyTheAttached},
		{name: "OneDeliveryHoweverManyConnections", check: oneDelivery},
		{name: "PrevIsTheEntryBefore", retention: few, check: prevIsTheEntryBefore},
		{name: "OnlyWhatIsAppendedLater", check: onlyLater},
		{name: "ExcludedConnectionIsHandedOver", check: excludedIsHandedOver},
		{name: "DeliveriesMayBeKept", check: deliveriesMayBeKept},
		{name: "VisibleBeforeDeliveredAndReadsGoOn", check: readsGoOn},
		{name: "AppendsWaitWhileDeliverBlocks", of: oneProcess, check: appendsWait},
		{name: "EndedContextDoesNotWaitForDeliver", of: oneProcess, check: endedContextDoesNotWait},
		{name: "EndedContextLeavesItsOwnDelivery", of: oneProcess, check: endedContextLeaves},
		{name: "StopWaitsForDeliver", check: stopWaits},
		{name: "AfterStopNothingIsDelivered", check: afterStop},
		{name: "SecondFollowerPanics", check: secondFollower},
	}
}

// deliveryText writes all of d but the order of its recipients.
func deliveryText(d history.Delivery) string {
	to := slices.SortedFunc(slices.Values(d.Recipients), func(a, b history.Recipient) int {
		return cmp.Compare(a.User, b.User)
	})
	what := ""
	switch {
	case d.Recall:
		what = "recall of "
	case d.Acked != nil:
		what = fmt.Sprintf("ack to %+v ", *d.Acked)
	}
	return fmt.Sprintf("%s%s prev %d to %+v but %q", what, list([]history.Message{d.Message}), d.Prev, to, d.ExcludeConnection)
}

func deliveryTexts(all []history.Delivery) []string {
	texts := make([]string, len(all))
	for i, d := range all {
		texts[i] = deliveryText(d)
	}
	return texts
}

func (r *rig) wantDeliveries(got []history.Delivery, want ...history.Delivery) {
	r.Helper()
	same := slices.EqualFunc(got, want, func(a, b history.Delivery) bool { return deliveryText(a) == deliveryText(b) })
	if same {
		return
	}
	text := func(all []history.Delivery) (s string) {
		for _, d := range all {
			s += "\n  " + deliveryText(d)
		}
		return s
	}
	r.Errorf("delivered:%s\nwant:%s", text(got), text(want))
}

// to returns the recipients, each with its previous entry.
func to(recipients ...any) (out []history.Recipient) {
	for i := 0; i < len(recipients); i += 2 {
		out = append(out, history.Recipient{User: recipients[i].(string), Prev: recipients[i+1].(history.ID)})
	}
	return out
}

const none = history.ID(0)

func handsOver(r *rig) {
	r.attach("ann", history.Start{})
	f := r.follow()
	u := r.unicast("ann")
	r.wantDeliveries(f.take(), history.Delivery{Message: u, Recipients: to("ann", none)})
	m := r.multicast("ann", "bob")
	r.wantDeliveries(f.take(), history.Delivery{Message: m, Recipients: to("ann", u.ID)})
	b := r.broadcast()
	r.wantDeliveries(f.take(), history.Delivery{Message: b})
	expiring := r.send(history.Push{Kind: history.Broadcast, TTL: time.Millisecond})
	r.wantDeliveries(f.take(), history.Delivery{Message: expiring, Prev: b.ID})
}

func onlyTheAttached(r *rig) {
	f := r.follow()
	r.unicast("ann")
	m1 := r.multicast("ann", "bob")
	b1 := r.broadcast()
	r.wantDeliveries(f.takeUnattached())

	r.attach("bob", history.Start{})
	r.unicast("ann")
	m2 := r.multicast("ann", "bob", "cleo")
	b2 := r.broadcast()
	r.wantDeliveries(f.take(),
		history.Delivery{Message: m2, Recipients: to("bob", m1.ID)},
		history.Delivery{Message: b2, Prev: b1.ID})

	r.store.Detach("bob")
	r.unicast("bob")
	r.broadcast()
	r.wantDeliveries(f.takeUnattached())
}

func oneDelivery(r *rig) {
	for range 3 {
		r.attach("ann", history.Start{})
	}
	r.attach("bob", history.Start{})
	f := r.follow()
	u, m, b := r.unicast("ann"), r.multicast("ann", "bob", "ann"), r.broadcast()
	r.wantDeliveries(f.take(),
		history.Delivery{Message: u, Recipients: to("ann", none)},
		history.Delivery{Message: m, Recipients: to("ann", u.ID, "bob", none)},
		history.Delivery{Message: b})
}

// prevIsTheEntryBefore: also when that entry has expired or was dropped, and
// when nobody was attached when it came.
func prevIsTheEntryBefore(r *rig) {
	var inbox, broadcasts history.ID
	for i := range 6 {
		ttl := time.Duration(i%2) * time.Millisecond
		inbox = r.send(history.Push{Kind: history.Unicast, Users: []string{"ann"}, TTL: ttl}).ID
		broadcasts = r.send(history.Push{Kind: history.Broadcast, TTL: ttl}).ID
	}
	r.clock.Advance(365 * 24 * time.Hour)
	r.attach("ann", history.Start{})
	r.attach("bob", history.Start{})
	f := r.follow()
	m, b := r.multicast("bob", "ann"), r.broadcast()
	u := r.unicast("bob")
	r.wantDeliveries(f.take(),
		history.Delivery{Message: m, Recipients: to("ann", inbox, "bob", none)},
		history.Delivery{Message: b, Prev: broadcasts},
		history.Delivery{Message: u, Recipients: to("bob", m.ID)})
}

func onlyLater(r *rig) {
	r.attach("ann", history.Start{})
	mixed(r, 5)
	f := r.follow()
	r.wantDeliveries(f.take())
	heads := r.heads("ann")
	b := r.broadcast()
	r.wantDeliveries(f.take(), history.Delivery{Message: b, Prev: heads.Broadcast})
}

// excludedIsHandedOver: and the message is everybody's all the same.
func excludedIsHandedOver(r *rig) {
	r.attach("ann", history.Start{})
	f := r.follow()
	long := strings.Repeat("c", history.MaxConnection)
	u := r.send(history.Push{Kind: history.Unicast, Users: []string{"ann"}, ExcludeConnection: "c1"})
	m := r.send(history.Push{Kind: history.Multicast, Users: []string{"bob", "ann"}, ExcludeConnection: long})
	b := r.send(history.Push{Kind: history.Broadcast, ExcludeConnection: "c1", TTL: time.Hour})
	last := r.unicast("ann")
	r.wantDeliveries(f.take(),
		history.Delivery{Message: u, Recipients: to("ann", none), ExcludeConnection: "c1"},
		history.Delivery{Message: m, Recipients: to("ann", u.ID), ExcludeConnection: long},
		history.Delivery{Message: b, ExcludeConnection: "c1"},
		history.Delivery{Message: last, Recipients: to("ann", m.ID)})
	r.wantHistory("ann", u, m, b, last)
	r.wantHistory("bob", m, b)
}

func deliveriesMayBeKept(r *rig) {
	r.attach("ann", history.Start{})
	r.attach("bob", history.Start{})
	f := r.follow()
	var want []history.Delivery
	var heads history.Cursor
	for i := range 60 {
		d := history.Delivery{}
		if i%3 == 0 {
			d.Message, d.Prev = r.broadcast(), heads.Broadcast
		} else {
			d.Message = r.multicast("ann", "bob")
			d.Recipients = to("ann", heads.Inbox, "bob", heads.Inbox)
		}
		heads = cursorOf(heads, d.Message)
		want = append(want, d)
	}
	r.wantDeliveries(f.take(), want...)
}

// blocked makes f's next deliver block, starts an append to ann and waits
// until it is in deliver. release lets deliver return and waits for the append.
func blocked(r *rig, f *follower) (release func()) {
	r.Helper()
	open, appended := blockedAppend(r.ctx, r, f)
	return func() {
		r.Helper()
		open()
		if err := await(r, "append", appended); err != nil {
			r.Errorf("appending: %v", err)
		}
	}
}

// blockedAppend is blocked for an append with a context of its own. open lets
// deliver return, and is called when the test ends in any case.
func blockedAppend(ctx context.Context, r *rig, f *follower) (open func(), appended <-chan error) {
	r.Helper()
	entered, gate := make(chan struct{}), make(chan struct{})
	open = sync.OnceFunc(func() { close(gate) })
	r.Cleanup(open)
	first := true
	f.onDelivery(func(history.Delivery) {
		if first {
			first = false
			close(entered)
			<-gate
		}
	})
	done := make(chan error, 1)
	go func() {
		_, err := r.store.Append(ctx, history.Push{Kind: history.Unicast, Users: []string{"ann"}, Data: []byte("blocked")})
		done <- err
	}()
	await(r, "delivery", entered)
	return open, done
}

func readsGoOn(r *rig) {
	r.attach("ann", history.Start{})
	release := blocked(r, r.follow())
	read := make(chan struct{})
	go func() {
		defer close(read)
		if p, err := r.store.Page(r.ctx, "ann", history.Query{Limit: 10}); err != nil || len(p.Messages) != 1 {
			r.Errorf("page while its message is being delivered: %+v, %v", p, err)
		}
		a, err := r.store.Attach(r.ctx, "ann", history.Start{At: history.StartAfter, Limit: 10})
		if err != nil || len(a.Page.Messages) != 1 {
			r.Errorf("attached while a message is being delivered: %+v, %v", a, err)
		}
		r.store.Detach("ann")
		if err := r.store.Ready(); err != nil {
			r.Errorf("ready while a message is being delivered: %v", err)
		}
	}()
	await(r, "read while deliver blocks", read)
	release()
}

func appendsWait(r *rig) {
	r.attach("ann", history.Start{})
	f := r.follow()
	release := blocked(r, f)
	second := make(chan error, 1)
	go func() {
		_, err := r.store.Append(r.ctx, history.Push{Kind: history.Unicast, Users: []string{"ann"}, Data: []byte("second")})
		second <- err
	}()
	select {
	case err := <-second:
		r.Errorf("append returned (%v) while deliver blocked", err)
	case <-time.After(grace):
	}
	release()
	if err := await(r, "second append", second); err != nil {
		r.Errorf("appending: %v", err)
	}
	if got := f.take(); len(got) != 2 || string(got[0].Message.Data) != "blocked" || string(got[1].Message.Data) != "second" {
		r.Errorf("delivered %+v", got)
	}
}

func endedContextDoesNotWait(r *rig) {
	r.attach("ann", history.Start{})
	f := r.follow()
	release := blocked(r, f)
	ctx, cancel := context.WithTimeout(r.ctx, grace)
	defer cancel()
	second := make(chan error, 1)
	go func() {
		_, err := r.store.Append(ctx, history.Push{Kind: history.Unicast, Users: []string{"ann"}})
		second <- err
	}()
	if err := await(r, "append whose context ended", second); !errors.Is(err, context.DeadlineExceeded) {
		r.Errorf("append whose context ended: %v", err)
	}
	release()
	last := r.unicast("ann")
	// Whether the second was stored is unknown, but not whether what is stored
	// was delivered.
	var got []history.Message
	for _, d := range f.take() {
		got = append(got, d.Message)
	}
	r.wantHistory("ann", got...)
	if got[len(got)-1].ID != last.ID {
		r.Errorf("the last delivery is %d, want %d", got[len(got)-1].ID, last.ID)
	}
}

func endedContextLeaves(r *rig) {
	r.attach("ann", history.Start{})
	f := r.follow()
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	open, appended := blockedAppend(ctx, r, f)
	cancel()
	if err := await(r, "append whose context ended", appended); !errors.Is(err, context.Canceled) {
		r.Errorf("append whose context ended: %v", err)
	}
	open()
	last := r.unicast("ann")
	// It was visible when it was delivered, so it is stored.
	got := f.take()
	if len(got) != 2 {
		r.Fatalf("delivered %+v, want two messages", got)
	}
	r.wantHistory("ann", got[0].Message, last)
}

func stopWaits(r *rig) {
	r.attach("ann", history.Start{})
	f := r.follow()
	release := blocked(r, f)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		f.stop()
	}()
	select {
	case <-stopped:
		r.Error("stop returned while deliver ran")
	case <-time.After(grace):
	}
	release()
	await(r, "stop", stopped)
}

func afterStop(r *rig) {
	r.attach("ann", history.Start{})
	first := r.follow()
	a := r.broadcast()
	first.stop()
	first.stop()
	b := r.broadcast()
	second := r.follow()
	c := r.broadcast()
	first.stop() // is over, and not the second's
	d := r.broadcast()
	r.wantDeliveries(first.take(), history.Delivery{Message: a})
	r.wantDeliveries(second.take(), history.Delivery{Message: c, Prev: b.ID}, history.Delivery{Message: d, Prev: c.ID})
}

func secondFollower(r *rig) {
	r.attach("ann", history.Start{})
	f := r.follow()
	func() {
		defer func() {
			if recover() == nil {
				r.Error("a second follower was taken")
			}
		}()
		r.store.Follow(func([]history.Delivery) { r.Error("delivered to the second follower") })
	}()
	b := r.broadcast()
	r.wantDeliveries(f.take(), history.Delivery{Message: b})
}
