package conn_test

import (
	"fmt"
	"testing"

	"pushd.example/internal/history"
)

// An excluded connection is passed over without a hole; what it did not get
// live lies in the history.
func TestExcludedConnection(t *testing.T) {
	r := serve(t, nil)
	sender, other, stranger := r.connect("a"), r.connect("a"), r.connect("b")
	send := func(p history.Push, data string) {
		t.Helper()
		p.Data, p.ExcludeConnection = []byte(data), sender.hello.Connection
		r.append(p)
	}
	send(history.Push{Kind: history.Unicast, Users: []string{"a"}}, "1")
	r.unicast("a", "2")
	send(history.Push{Kind: history.Multicast, Users: []string{"a", "b"}}, "3")
	r.broadcast("4")
	send(history.Push{Kind: history.Broadcast}, "5")
	send(history.Push{Kind: history.Broadcast}, "6")
	r.broadcast("7")
	r.multicast("8", "a", "b")
	other.wantData("1", "2", "3", "4", "5", "6", "7", "8")
	stranger.wantData("3", "4", "5", "6", "7", "8")
	sender.wantData("2", "4", "7", "8")
	if n := metric(t, r.metrics, "pushd_conn_holes_total"); n != 0 {
		t.Errorf("%v holes, want none", n)
	}
	again := r.connect("a", "cursor", sender.hello.Cursor)
	again.wantData("1", "2", "3", "4", "5", "6", "7", "8")
}

// A name that is nobody's excludes nobody.
func TestExcludedNobody(t *testing.T) {
	r := serve(t, nil)
	c, sub := r.connect("a"), r.subscribe("a", history.Start{})
	own := c.hello.Connection
	for i, name := range []string{"?", own + "0", own[1:], own[:len(own)-1], "x" + own} {
		r.append(history.Push{Kind: history.Unicast, Users: []string{"a"}, Data: fmt.Append(nil, i), ExcludeConnection: name})
	}
	c.wantData(numbers(0, 4)...)
	wantNext(t, r.ctx, sub, numbers(0, 4)...)
}

// A subscription that has caught up never gets what excludes it, however much
// is published meanwhile.
func TestExcludedSubscription(t *testing.T) {
	r := serve(t, nil)
	sub, other := r.subscribe("a", history.Start{}), r.subscribe("a", history.Start{})
	id, _ := sub.Hello()
	const messages = 600
	published := make(chan error, 1)
	go func() { published <- publishExcluding(r, id, messages) }()
	var want []string
	for i := range messages {
		if i%3 != 0 {
			want = append(want, fmt.Sprint(i))
		}
	}
	wantNext(t, r.ctx, sub, want...)
	wantNext(t, r.ctx, other, numbers(0, messages-1)...)
	if err := <-published; err != nil {
		t.Fatal(err)
	}
}

// publishExcluding publishes in both logs, and every third message with exclude.
func publishExcluding(r *rig, exclude string, messages int) error {
	for i := range messages {
		p := history.Push{Kind: history.Unicast, Users: []string{"a"}, Data: fmt.Append(nil, i)}
		if i%2 == 0 {
			p.Kind, p.Users = history.Broadcast, nil
		}
		if i%3 == 0 {
			p.ExcludeConnection = exclude
		}
		if _, err := r.store.Append(r.ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// After a gap in what the node was told, a subscription reads all that there is.
func TestSubscriptionAfterResync(t *testing.T) {
	r, f := serveFaulty(t, nil)
	sub := r.subscribe("a", history.Start{})
	r.unicast("a", "0")
	wantNext(t, r.ctx, sub, "0")
	f.set(func() { f.deliver = func([]history.Delivery) []history.Delivery { return nil } })
	r.unicast("a", "1")
	r.broadcast("2")
	f.set(func() {
		f.deliver = func([]history.Delivery) []history.Delivery { return []history.Delivery{{Resync: true}} }
	})
	r.unicast("a", "3")
	wantNext(t, r.ctx, sub, "1", "2", "3")
	f.set(func() { f.deliver = nil })
	r.unicast("a", "4")
	wantNext(t, r.ctx, sub, "4")
}

// So it does where that is more than a page.
func TestSubscriptionAfterLongResync(t *testing.T) {
	r, f := serveFaulty(t, nil)
	const missed = 200
	sub := r.subscribe("a", history.Start{Limit: 10})
	f.set(func() { f.deliver = func([]history.Delivery) []history.Delivery { return nil } })
	for i := range missed {
		r.unicast("a", fmt.Sprint(i))
	}
	f.set(func() {
		f.deliver = func([]history.Delivery) []history.Delivery { return []history.Delivery{{Resync: true}} }
	})
	r.broadcast(fmt.Sprint(missed))
	wantNext(t, r.ctx, sub, numbers(0, missed)...)
}
