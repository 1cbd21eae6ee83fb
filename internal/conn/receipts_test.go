package conn_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pushd/internal/conn"
	"pushd/internal/history"
)

func (r *rig) outcome(id history.ID) history.Outcome {
	r.t.Helper()
	o, err := r.sent().Outcome(r.ctx, id, 1000)
	if err != nil {
		r.t.Fatal(err)
	}
	return o
}

// delivered waits until the store knows that a message was delivered to so many,
// and returns to whom.
func (r *rig) delivered(id history.ID, n int) (users string) {
	r.t.Helper()
	waitFor(r.t, fmt.Sprintf("%d deliveries to be noted", n), func() bool { return r.outcome(id).Delivered >= n })
	o := r.outcome(id)
	if o.Delivered != n {
		r.t.Errorf("delivered to %d, want %d", o.Delivered, n)
	}
	for _, u := range o.Users {
		if u.Delivered {
			users += " " + u.User
			if age := time.Since(u.DeliveredAt); age < 0 || age > patience {
				r.t.Errorf("delivered to %s at %v", u.User, u.DeliveredAt)
			}
		}
	}
	return strings.TrimSpace(users)
}

func (r *rig) wantDelivered(id history.ID, users ...string) {
	r.t.Helper()
	if got := r.delivered(id, len(users)); got != strings.Join(users, " ") {
		r.t.Errorf("delivered to %q, want %q", got, users)
	}
}

func TestReceiptsOfInboxes(t *testing.T) {
	r := serve(t, nil)
	before := r.send(history.Multicast, "0", "a", "b", "c")
	a1, a2 := r.connect("a"), r.connect("a")
	b := r.connect("b")
	one := r.send(history.Multicast, "1", "a", "b", "c")
	a1.wantData("1")
	a2.wantData("1")
	b.wantData("1")
	r.wantDelivered(one.ID, "a", "b")
	two := r.send(history.Unicast, "2", "a")
	a1.wantData("2")
	r.wantDelivered(two.ID, "a")
	r.wantDelivered(before.ID) // they began with what came then
	c := r.connect("c", "cursor", "0")
	c.wantData("0", "1")
	r.wantDelivered(one.ID, "a", "b", "c")
	r.wantDelivered(before.ID, "c")
}

// What a page leaves out was not delivered with it.
func TestReceiptsOfPagesWithGaps(t *testing.T) {
	r := serve(t, nil)
	one := r.send(history.Unicast, "1", "a")
	brief := r.append(history.Push{Kind: history.Unicast, Users: []string{"a"}, Data: []byte("2"), TTL: time.Millisecond})
	topic := history.Push{Kind: history.Unicast, Users: []string{"a"}, Data: []byte("3"), Collapse: "t"}
	replaced := r.append(topic)
	four := r.append(topic)
	recalled := r.send(history.Unicast, "5", "a")
	r.recall(recalled)
	waitFor(t, "a TTL to end", func() bool { return time.Since(brief.ID.Time()) > 2*time.Millisecond })
	r.connect("a", "cursor", "0").wantData("1", "3")
	six := r.send(history.Unicast, "6", "a")
	r.wantDelivered(six.ID, "a")
	r.wantDelivered(one.ID, "a")
	r.wantDelivered(four.ID, "a")
	for _, id := range []history.ID{brief.ID, replaced.ID, recalled.ID} {
		r.wantDelivered(id)
	}
}

// What was recalled while its page was on its way was not delivered.
func TestReceiptsOfRecalledMeanwhile(t *testing.T) {
	r, f := serveFaulty(t, nil)
	one, two, three := r.send(history.Unicast, "1", "a"), r.send(history.Unicast, "2", "a"), r.send(history.Unicast, "3", "a")
	other := r.connect("a")
	late := make(chan struct{})
	f.set(func() { f.late = late })
	connected := make(chan *client)
	go func() { connected <- r.connect("a", "cursor", "0") }()
	waitFor(t, "the page to be read", func() bool { return f.waiting.Load() > 0 })
	r.recall(two)
	other.wantRecall(two)
	f.set(func() { f.late = nil })
	close(late)
	(<-connected).wantData("1", "3")
	r.wantDelivered(three.ID, "a")
	r.wantDelivered(one.ID, "a")
	r.wantDelivered(two.ID)
}

func TestReceiptsOfExcludedConnections(t *testing.T) {
	r := serve(t, nil)
	a := r.connect("a")
	one := r.send(history.Unicast, "1", "a")
	p := history.Push{Kind: history.Multicast, Users: []string{"a", "b"}, Data: []byte("2"), Exclude: a.hello.Connection}
	two := r.append(p)
	three := r.send(history.Unicast, "3", "a")
	a.wantData("1", "3")
	r.wantDelivered(three.ID, "a")
	r.wantDelivered(one.ID, "a")
	r.wantDelivered(two.ID)
	r.connect("a")
	r.wantDelivered(r.append(p).ID, "a")
}

func TestReceiptsOfBroadcasts(t *testing.T) {
	r := serve(t, nil)
	a1, _, b := r.connect("a"), r.connect("a"), r.connect("b")
	one := r.send(history.Broadcast, "1")
	r.delivered(one.ID, 3)
	two := r.append(history.Push{Kind: history.Broadcast, Data: []byte("2"), Exclude: a1.hello.Connection})
	r.delivered(two.ID, 2)
	r.append(history.Push{Kind: history.Broadcast, Data: []byte("3"), Ephemeral: true})
	b.wantData("1", "2", "3")
	r.connect("c", "cursor", "0").wantData("1", "2")
	r.delivered(one.ID, 4)
	r.delivered(two.ID, 3)
	for i := range 300 { // in groups
		r.broadcast(fmt.Sprint(i))
	}
	r.delivered(r.send(history.Broadcast, "4").ID, 4)
}

// What waits for a client that does not read is not delivered, until it reads.
func TestReceiptsOfSlowClients(t *testing.T) {
	r := serve(t, nil)
	slow, fast := r.connect("slow"), r.connect("fast")
	filler := strings.Repeat("x", 16<<10)
	backlogged := func() bool { return metric(t, r.metrics, "pushd_conn_backlogged_connections") > 0 }
	sent := 0
	var last history.ID
	for ; !backlogged(); sent++ {
		last = r.append(history.Push{Kind: history.Unicast, Users: []string{"slow"}, Data: fmt.Appendf(nil, `"%d%s"`, sent, filler)}).ID
		waitFor(t, "the message to be sent", func() bool {
			return metric(t, r.metrics, `pushd_conn_deliveries_total{log="inbox"}`) == float64(sent+1)
		})
	}
	b := r.send(history.Broadcast, `"b"`)
	m := r.send(history.Multicast, `"m"`, "slow", "fast")
	fast.wantData(`"b"`, `"m"`)
	r.wantDelivered(m.ID, "fast")
	r.delivered(b.ID, 1)
	r.wantDelivered(last)
	for i := range sent {
		slow.wantData(fmt.Sprintf(`"%d%s"`, i, filler))
	}
	slow.wantData(`"b"`, `"m"`)
	r.wantDelivered(m.ID, "fast", "slow")
	r.wantDelivered(last, "slow")
	r.delivered(b.ID, 2)
}

// Who goes away before that was not delivered what waited.
func TestReceiptsOfWhoWentAway(t *testing.T) {
	r := serve(t, nil)
	a := r.connect("a")
	m := r.send(history.Unicast, "1", "a")
	a.wantData("1")
	a.ws.CloseNow()
	r.wantDelivered(m.ID, "a")

	slow := r.connect("slow")
	filler := strings.Repeat("x", 16<<10)
	var last, b history.Message
	for metric(t, r.metrics, "pushd_conn_backlogged_connections") == 0 {
		last = r.send(history.Unicast, `"`+filler+`"`, "slow")
		b = r.send(history.Broadcast, `"`+filler+`"`)
	}
	last = r.send(history.Unicast, "2", "slow")
	b = r.send(history.Broadcast, "2")
	slow.ws.CloseNow()
	waitFor(t, "it to be gone", func() bool { return metric(t, r.metrics, `pushd_conn_connections{state="open"}`) == 0 })
	after := r.connect("slow")
	third := r.send(history.Unicast, "3", "slow")
	after.wantData("3")
	r.wantDelivered(third.ID, "slow")
	r.wantDelivered(last.ID)
	r.delivered(b.ID, 0)
}

func TestReceiptsOfSubscriptions(t *testing.T) {
	r := serve(t, nil)
	one := r.send(history.Unicast, "1", "a")
	b := r.send(history.Broadcast, "b")
	sub := r.subscribe("a", history.Start{At: history.StartAfter})
	wantNext(t, r.ctx, sub, "1", "b")
	ctx, cancel := context.WithTimeout(r.ctx, time.Second/2)
	defer cancel()
	if _, err := sub.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	r.wantDelivered(one.ID, "a")
	r.delivered(b.ID, 1)
	id, _ := sub.Hello()
	two := r.append(history.Push{Kind: history.Unicast, Users: []string{"a"}, Data: []byte("2"), Exclude: id})
	three := r.send(history.Unicast, "3", "a")
	four := r.send(history.Unicast, "4", "a")
	wantNext(t, r.ctx, sub, "3", "4")
	five := r.send(history.Unicast, "5", "a")
	wantNext(t, r.ctx, sub, "5")
	sub.Close()
	r.wantDelivered(four.ID, "a")
	r.wantDelivered(three.ID, "a")
	r.wantDelivered(two.ID)
	r.wantDelivered(five.ID) // its owner did not come back to say so
}

// Nothing that was delivered is forgotten when the server ends.
func TestReceiptsAtTheEnd(t *testing.T) {
	r := serve(t, nil)
	a := r.connect("a")
	m, b := r.send(history.Unicast, "1", "a"), r.send(history.Broadcast, "2")
	a.wantData("1", "2")
	if err := r.server.Shutdown(r.ctx); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[history.ID]int{m.ID: 1, b.ID: 1} {
		if o := r.outcome(id); o.Delivered != want {
			t.Errorf("%+v", o)
		}
	}
}

// A store that takes no notes costs receipts, and nothing else.
func TestReceiptsOfAStoreThatTakesNone(t *testing.T) {
	r := serve(t, func(c *conn.Config) { c.Sent = noNotes{c.Sent} })
	a := r.connect("a")
	m := r.send(history.Unicast, "1", "a")
	a.wantData("1")
	waitFor(t, "the failure to be counted", func() bool { return metric(t, r.metrics, "pushd_conn_deliveries_unnoted_total") == 1 })
	r.wantDelivered(m.ID)
}

type noNotes struct{ history.Sent }

func (noNotes) NoteDelivered(context.Context, history.Deliveries) error { return history.ErrReadOnly }
