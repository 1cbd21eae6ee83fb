package conn_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"pushd.example/internal/conn"
	"pushd.example/internal/history"
	"pushd.example/internal/testkit"
)

func (r *rig) outcome(id history.ID) history.Receipt {
	r.t.Helper()
	o, err := r.messages().Receipt(r.ctx, id, 1000)
	if err != nil {
		r.t.Fatal(err)
	}
	return o
}

// delivered waits until the store knows that a message was delivered to so many,
// and returns to whom.
func (r *rig) delivered(id history.ID, n int) (users string) {
	r.t.Helper()
	testkit.WaitFor(r.t, fmt.Sprintf("%d deliveries to be noted", n), func() bool { return r.outcome(id).Delivered >= n })
	o := r.outcome(id)
	if o.Delivered != n {
		r.t.Errorf("delivered to %d, want %d", o.Delivered, n)
	}
	for _, u := range o.Users {
		if u.Delivered {
			users += " " + u.User
			if age := time.Since(u.DeliveredAt); age < 0 || age > patience || u.DeliveredAt.Before(id.Time()) {
				r.t.Errorf("sent at %v, delivered to %s at %v", id.Time(), u.User, u.DeliveredAt)
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

// Messages that a page leaves out were not delivered with it.
func TestReceiptsOfPagesWithGaps(t *testing.T) {
	r := serve(t, nil)
	one := r.send(history.Unicast, "1", "a")
	brief := r.append(history.Push{Kind: history.Unicast, Users: []string{"a"}, Data: []byte("2"), TTL: time.Millisecond})
	topic := history.Push{Kind: history.Unicast, Users: []string{"a"}, Data: []byte("3"), CollapseKey: "t"}
	replaced := r.append(topic)
	four := r.append(topic)
	recalled := r.send(history.Unicast, "5", "a")
	r.recall(recalled)
	testkit.WaitFor(t, "a TTL to end", func() bool { return time.Since(brief.ID.Time()) > 2*time.Millisecond })
	r.connect("a", "cursor", "0").wantData("1", "3")
	six := r.send(history.Unicast, "6", "a")
	r.wantDelivered(six.ID, "a")
	r.wantDelivered(one.ID, "a")
	r.wantDelivered(four.ID, "a")
	for _, id := range []history.ID{brief.ID, replaced.ID, recalled.ID} {
		r.wantDelivered(id)
	}
}

// A message that was recalled while its page was on its way was not delivered.
func TestReceiptsOfRecalledMeanwhile(t *testing.T) {
	r, f := serveFaulty(t, nil)
	one, two, three := r.send(history.Unicast, "1", "a"), r.send(history.Unicast, "2", "a"), r.send(history.Unicast, "3", "a")
	other := r.connect("a")
	late := make(chan struct{})
	f.set(func() { f.late = late })
	connected := make(chan *client)
	go func() { connected <- r.connect("a", "cursor", "0") }()
	testkit.WaitFor(t, "the page to be read", func() bool { return f.waiting.Load() > 0 })
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
	p := history.Push{Kind: history.Multicast, Users: []string{"a", "b"}, Data: []byte("2"), ExcludeConnection: a.hello.Connection}
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
	two := r.append(history.Push{Kind: history.Broadcast, Data: []byte("2"), ExcludeConnection: a1.hello.Connection})
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

// fillUp sends to user, who does not read, until something waits for good, and
// returns what it has sent.
func (r *rig) fillUp(user string, other *client) (ids []history.ID, data []string) {
	r.t.Helper()
	backlogged := func() bool { return metric(r.t, r.metrics, "pushd_conn_backlogged_connections") > 0 }
	filler := strings.Repeat("x", 4<<10)
	for r.ctx.Err() == nil {
		before := metric(r.t, r.metrics, `pushd_conn_deliveries_total{log="inbox"}`)
		data = append(data, fmt.Sprintf(`"%d%s"`, len(ids), filler))
		ids = append(ids, r.send(history.Unicast, data[len(ids)], user).ID)
		testkit.WaitFor(r.t, "the message to be sent", func() bool {
			return metric(r.t, r.metrics, `pushd_conn_deliveries_total{log="inbox"}`) > before
		})
		if backlogged() {
			// The kernel may take some more yet.
			if r.told(other); backlogged() {
				return ids, data
			}
		}
	}
	r.t.Fatal("no backlog however much was sent")
	return nil, nil
}

// told waits until the store was told what was delivered so far.
func (r *rig) told(other *client) {
	r.t.Helper()
	m := r.send(history.Unicast, `"marker"`, "other")
	other.wantData(`"marker"`)
	r.wantDelivered(m.ID, "other")
}

// Messages that wait for a client are not delivered until it reads them.
func TestReceiptsOfSlowClients(t *testing.T) {
	r := serve(t, nil)
	slow, other := r.connect("slow"), r.connect("other")
	ids, data := r.fillUp("slow", other)
	last := ids[len(ids)-1]
	b := r.send(history.Broadcast, `"b"`)
	m := r.send(history.Multicast, `"m"`, "slow", "other")
	other.wantData(`"b"`, `"m"`)
	r.wantDelivered(m.ID, "other")
	r.delivered(b.ID, 1)
	r.wantDelivered(last)
	slow.wantData(data...)
	slow.wantData(`"b"`, `"m"`)
	r.wantDelivered(m.ID, "other", "slow")
	r.wantDelivered(last, "slow")
	r.delivered(b.ID, 2)
}

// If the client goes away before that, they were not delivered.
func TestReceiptsOfWhoWentAway(t *testing.T) {
	r := serve(t, nil)
	a, other := r.connect("a"), r.connect("other")
	m := r.send(history.Unicast, "1", "a")
	a.wantData("1")
	a.ws.CloseNow()
	r.wantDelivered(m.ID, "a")

	slow := r.connect("slow")
	ids, _ := r.fillUp("slow", other)
	last := r.send(history.Unicast, "2", "slow")
	b := r.send(history.Broadcast, "2")
	other.wantData("2")
	slow.ws.CloseNow()
	testkit.WaitFor(t, "it to be gone", func() bool { return metric(t, r.metrics, `pushd_conn_connections{state="open"}`) == 1 })
	r.told(other)
	r.wantDelivered(ids[len(ids)-1])
	r.wantDelivered(last.ID)
	r.delivered(b.ID, 1)
}

// deaf connects user, all of whose history comes at once, and reads nothing.
func (r *rig) deaf(user string) net.Conn {
	r.t.Helper()
	c, err := net.Dial("tcp", r.server.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	if err := c.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		r.t.Fatal(err)
	}
	fmt.Fprintf(c, "GET /push?user=%s&cursor=0 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", user)
	return c
}

// A page that the kernel has not taken whole is not delivered, whatever it has
// beside: gaps, broadcasts.
func TestReceiptsOfPagesNotTaken(t *testing.T) {
	r := serve(t, nil)
	big := `"` + strings.Repeat("x", 20<<10) + `"`
	var ids []history.ID
	for range 40 {
		ids = append(ids, r.send(history.Unicast, big, "a").ID)
		gone := r.send(history.Unicast, "0", "a")
		r.recall(gone)
		ids = append(ids, r.send(history.Broadcast, `"b"`).ID)
	}
	other := r.connect("other")
	c := r.deaf("a")
	testkit.WaitFor(t, "a backlog", func() bool { return metric(t, r.metrics, "pushd_conn_backlogged_connections") > 0 })
	r.told(other)
	most := metric(t, r.metrics, "pushd_conn_bytes_sent_total")
	known := 0
	for _, id := range ids {
		known += r.outcome(id).Delivered
	}
	if known == 0 || float64(known/2*len(big)) > most {
		t.Errorf("%d of %d were delivered, the kernel has %v bytes", known, len(ids), most)
	}
	if n := r.outcome(ids[len(ids)-1]).Delivered; n != 0 {
		t.Errorf("the last broadcast was delivered to %d", n)
	}
	_ = c.Close()
	testkit.WaitFor(t, "it to be gone", func() bool { return metric(t, r.metrics, `pushd_conn_connections{state="open"}`) == 1 })
	r.told(other)
	after := 0
	for _, id := range ids {
		after += r.outcome(id).Delivered
	}
	if after != known {
		t.Errorf("%d were delivered, and when the client was gone %d", known, after)
	}
}

// Deliveries that come at once, one of which a connection is not to get.
func TestReceiptsOfExcludedAmongOthers(t *testing.T) {
	r, f := serveFaulty(t, nil)
	a := r.connect("a")
	var held []history.Delivery
	f.set(func() {
		f.deliver = func(b []history.Delivery) []history.Delivery {
			if held = append(held, b...); len(held) < 6 {
				return nil
			}
			return held
		}
	})
	push := func(data, exclude string) history.ID {
		return r.append(history.Push{Kind: history.Unicast, Users: []string{"a"}, Data: []byte(data), ExcludeConnection: exclude}).ID
	}
	one, two, three := push("1", ""), push("2", ""), push("3", a.hello.Connection)
	b1 := r.send(history.Broadcast, `"b1"`).ID
	b2 := r.append(history.Push{Kind: history.Broadcast, Data: []byte(`"b2"`), ExcludeConnection: a.hello.Connection}).ID
	four := push("4", "")
	a.wantData("1", "2", `"b1"`, "4")
	r.wantDelivered(four, "a")
	r.wantDelivered(one, "a")
	r.wantDelivered(two, "a")
	r.wantDelivered(three)
	r.delivered(b1, 1)
	r.delivered(b2, 0)
}

// A client that says something and goes, in one packet, has what it was sent
// before.
func TestReceiptsOfWhoSaysGoodbye(t *testing.T) {
	r := serve(t, nil)
	c := r.deaf("a")
	testkit.WaitFor(t, "it to be open", func() bool { return metric(t, r.metrics, `pushd_conn_connections{state="open"}`) == 1 })
	m := r.send(history.Unicast, "1", "a")
	testkit.WaitFor(t, "it to be sent", func() bool { return metric(t, r.metrics, `pushd_conn_deliveries_total{log="inbox"}`) == 1 })
	if _, err := io.WriteString(c, "\x81\x8f\x00\x00\x00\x00"+`{"type":"ping"}`+"\x88\x82\x00\x00\x00\x00\x03\xe8"); err != nil {
		t.Fatal(err)
	}
	r.wantDelivered(m.ID, "a")
}

// A store that does not answer keeps nobody from ending in time.
func TestReceiptsOfADeadStoreEndInTime(t *testing.T) {
	asked := make(chan struct{}, 10)
	r := serve(t, func(c *conn.Config) { c.Messages = deadNotes{c.Messages, asked} })
	a := r.connect("a")
	r.unicast("a", "1")
	a.wantData("1")
	<-asked
	ctx, cancel := context.WithCancel(r.ctx)
	cancel()
	began := time.Now()
	if err := r.server.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	if took := time.Since(began); took > 5*time.Second { // the store has 10
		t.Errorf("Shutdown took %v", took)
	}
}

// deadNotes does not answer.
type deadNotes struct {
	history.Messages
	asked chan struct{}
}

func (n deadNotes) RecordDelivered(ctx context.Context, _ history.Deliveries) error {
	n.asked <- struct{}{}
	<-ctx.Done()
	return ctx.Err()
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
	two := r.append(history.Push{Kind: history.Unicast, Users: []string{"a"}, Data: []byte("2"), ExcludeConnection: id})
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
	r := serve(t, func(c *conn.Config) { c.Messages = noNotes{c.Messages} })
	a := r.connect("a")
	m := r.send(history.Unicast, "1", "a")
	a.wantData("1")
	testkit.WaitFor(t, "the failure to be counted", func() bool { return metric(t, r.metrics, "pushd_conn_deliveries_unrecorded_total") == 1 })
	r.wantDelivered(m.ID)
}

type noNotes struct{ history.Messages }

func (noNotes) RecordDelivered(context.Context, history.Deliveries) error { return history.ErrReadOnly }

// A crowd is looked at in stretches, of which nobody is missed.
func TestReceiptsOfACrowd(t *testing.T) {
	const clients = 2600
	r := serve(t, func(c *conn.Config) { c.Limits.MaxPerIP, c.Limits.UpgradeRate = clients, -1 })
	users := make([]string, clients)
	for i := range users {
		users[i] = fmt.Sprintf("u%04d", i)
		r.deaf(users[i])
	}
	testkit.WaitFor(t, "all to be there", func() bool { return metric(t, r.metrics, `pushd_conn_connections{state="open"}`) == clients })
	m := r.send(history.Multicast, `"m"`, users...)
	b := r.send(history.Broadcast, `"b"`)
	r.delivered(b.ID, clients)
	testkit.WaitFor(t, "all deliveries to be noted", func() bool { return r.outcome(m.ID).Delivered == clients })
	if n := metric(t, r.metrics, "pushd_conn_deliveries_unrecorded_total"); n != 0 {
		t.Errorf("%v were not noted", n)
	}
}
