package conn_test

import (
	"fmt"
	"strings"
	"testing"

	"pushd.example/internal/history"
	"pushd.example/internal/testkit"
)

func (r *rig) ephemeral(kind history.Kind, data string, users ...string) {
	r.t.Helper()
	r.append(history.Push{Kind: kind, Users: users, Data: []byte(data), Ephemeral: true})
}

func (r *rig) dropped(reason string) float64 {
	return metric(r.t, r.metrics, `pushd_conn_ephemeral_dropped_total{reason="`+reason+`"}`)
}

// An ephemeral message comes in its turn, moves no cursor, and is not there for
// who comes back.
func TestEphemeral(t *testing.T) {
	r := serve(t, nil)
	a, b, sub := r.connect("a"), r.connect("b"), r.subscribe("a", history.Start{})
	r.unicast("a", "1")
	r.ephemeral(history.Unicast, "2", "a")
	r.ephemeral(history.Unicast, "3", "a")
	r.ephemeral(history.Multicast, "4", "b", "a")
	wantNext(t, r.ctx, sub, numbers(1, 4)...)
	r.broadcast("5")
	r.ephemeral(history.Broadcast, "6")
	r.broadcast("7")
	r.append(history.Push{Kind: history.Broadcast, Data: []byte("8"), Ephemeral: true, ExcludeConnection: a.hello.Connection})
	r.unicast("a", "9")
	b.wantData("4", "5", "6", "7", "8")
	wantNext(t, r.ctx, sub, numbers(5, 9)...)
	logs := ""
	for _, want := range []string{"1", "2", "3", "4", "5", "6", "7", "9"} {
		m := a.read()
		if string(m.Data) != want {
			t.Fatalf("got %s, want %s", m.Data, want)
		}
		logs += m.Log + " "
	}
	if want := "inbox none none none broadcast none broadcast inbox "; logs != want {
		t.Errorf("logs %s, want %s", logs, want)
	}
	r.connect("a", "cursor", a.hello.Cursor).wantData("1", "5", "7", "9")
	if n := r.dropped("slow") + r.dropped("catching_up"); n != 0 {
		t.Errorf("%v dropped, want none", n)
	}
	if n := metric(t, r.metrics, `pushd_conn_deliveries_total{log="none"}`); n != 3+1+2+2-1 {
		t.Errorf("%v delivered, want 7", n)
	}
}

// A client that does not read gets none, and loses nothing else by it.
func TestEphemeralToSlowClient(t *testing.T) {
	r := serve(t, nil)
	slow, good := r.connect("a"), r.connect("b")
	_, data := r.fillUp("a", r.connect("other"))
	for i := range 5 {
		r.ephemeral(history.Broadcast, fmt.Sprint(i))
	}
	good.wantData(numbers(0, 4)...)
	testkit.WaitFor(t, "five to be dropped", func() bool { return r.dropped("slow") == 5 })
	slow.wantData(data...)
	testkit.WaitFor(t, "the backlog to be gone", func() bool { return metric(t, r.metrics, "pushd_conn_backlogged_connections") == 0 })
	r.ephemeral(history.Unicast, "5", "a")
	slow.wantData("5")
}

// A session that is not live yet gets no ephemeral message: it would come before
// messages that were sent earlier.
func TestEphemeralToWhoCatchesUp(t *testing.T) {
	r, f := serveFaulty(t, nil)
	c := r.connect("a")
	f.set(func() { f.deliver = func([]history.Delivery) []history.Delivery { return nil } })
	r.unicast("a", "1")
	gate := make(chan struct{})
	f.set(func() { f.deliver, f.gate = nil, gate })
	r.unicast("a", "2") // finds 1 missing
	testkit.WaitFor(t, "the page to be asked for", func() bool { return f.waiting.Load() > 0 })
	r.ephemeral(history.Unicast, "3", "a")
	testkit.WaitFor(t, "it to be dropped", func() bool { return r.dropped("catching_up") == 1 })
	f.set(func() { f.gate = nil })
	close(gate)
	c.wantData("1", "2")
	r.unicast("a", "4")
	c.wantData("4")
	r.ephemeral(history.Unicast, "5", "a")
	c.wantData("5")
}

// A subscription holds a few, until it is asked.
func TestEphemeralToSlowSubscription(t *testing.T) {
	r := serve(t, nil)
	sub := r.subscribe("a", history.Start{})
	for i := range 20 {
		r.ephemeral(history.Unicast, fmt.Sprint(i), "a")
	}
	wantNext(t, r.ctx, sub, numbers(0, 15)...)
	long := strings.Repeat("x", 40<<10)
	r.ephemeral(history.Unicast, long, "a")
	r.ephemeral(history.Unicast, long, "a")
	wantNext(t, r.ctx, sub, long)
	if n := r.dropped("slow"); n != 5 {
		t.Errorf("%v dropped, want 5", n)
	}
	for i := range 300 { // more than are held
		r.unicast("a", fmt.Sprint(i))
	}
	r.ephemeral(history.Unicast, `"late"`, "a")
	wantNext(t, r.ctx, sub, numbers(0, 299)...)
	if n := r.dropped("catching_up"); n != 1 {
		t.Errorf("%v dropped while it caught up, want 1", n)
	}
}

// Clients are told what a message is the latest word on, live as in history.
func TestCollapseKeyInFrames(t *testing.T) {
	r := serve(t, nil)
	c := r.connect("a")
	p := history.Push{Kind: history.Unicast, Users: []string{"a"}, Data: []byte("1"), CollapseKey: "job \"7\" ü"}
	r.append(p)
	_, live, err := c.ws.Read(r.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if want := `,"collapse_key":"job \"7\" ü","data":1}`; !strings.HasSuffix(string(live), want) {
		t.Errorf("got %s, want it to end with %s", live, want)
	}
	_, again, err := r.connect("a", "cursor", c.hello.Cursor).ws.Read(r.ctx)
	if err != nil || string(again) != string(live) {
		t.Errorf("out of history %s, %v, live %s", again, err, live)
	}
	p.Data = []byte("2")
	r.append(p)
	r.connect("a", "cursor", c.hello.Cursor).wantData("2")
}
