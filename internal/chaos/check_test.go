package chaos_test

import (
	"slices"
	"testing"
	"time"

	"pushd.example/internal/chaos"
	"pushd.example/internal/history"
)

const (
	uni   = history.Unicast
	multi = history.Multicast
	broad = history.Broadcast
)

// ms is a time in a run.
func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// good is a run in which everything went well: two users, each with a client
// that was cut once.
func good() *chaos.Record {
	ann := []chaos.Seen{{10, uni, "a1"}, {11, broad, "b1"}, {12, multi, "m1"}, {14, uni, "a2"}}
	bob := []chaos.Seen{{11, broad, "b1"}, {12, multi, "m1"}}
	return &chaos.Record{
		Pushes: []chaos.Push{
			{"a1", uni, []string{"ann"}, chaos.OK, 10, false, ms(0), ms(1)},
			{"b1", broad, nil, chaos.OK, 11, false, ms(2), ms(3)},
			{"m1", multi, []string{"ann", "bob"}, chaos.OK, 12, false, ms(2), ms(4)},
			{"a2", uni, []string{"ann"}, chaos.Unknown, 0, false, ms(5), ms(9)},
			{"a3", uni, []string{"ann"}, chaos.Unknown, 0, false, ms(5), ms(9)},
			{"a4", uni, []string{"ann"}, chaos.Failed, 0, false, ms(5), ms(9)},
		},
		Clients: []chaos.Client{
			{"ann", []chaos.Session{
				{Seen: []chaos.Seen{ann[1], ann[0]}}, // across logs any order is right
				{From: history.Cursor{Inbox: 10, Broadcast: 11}, Seen: ann[2:]},
			}},
			{"bob", []chaos.Session{{}, {Seen: bob}}},
		},
		Histories: map[string]chaos.History{"ann": {ann, 4}, "bob": {bob, 2}},
	}
}

func TestGoodRun(t *testing.T) {
	if got := good().Check(); len(got) > 0 {
		t.Errorf("violations of a good run: %v", got)
	}
}

// setHistory replaces ann's history, counted rightly.
func setHistory(r *chaos.Record, messages ...chaos.Seen) {
	r.Histories["ann"] = chaos.History{Messages: messages, Unread: len(messages)}
}

// TestCheckCatches breaks the good run in one way after the other.
func TestCheckCatches(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(r *chaos.Record, ann []chaos.Seen)
		want   []chaos.Kind
	}{
		"an answered message is lost": {func(r *chaos.Record, ann []chaos.Seen) {
			setHistory(r, ann[1:]...)
			r.Clients = r.Clients[1:]
		}, []chaos.Kind{chaos.Lost}},
		"a multicast is lost for one": {func(r *chaos.Record, ann []chaos.Seen) {
			setHistory(r, ann[0], ann[1], ann[3])
			r.Clients = r.Clients[1:]
		}, []chaos.Kind{chaos.Lost}},
		"a delivered message is lost, though nobody was promised it": {func(r *chaos.Record, ann []chaos.Seen) {
			setHistory(r, ann[:3]...)
		}, []chaos.Kind{chaos.Lost}},
		"a client misses one": {func(r *chaos.Record, ann []chaos.Seen) {
			r.Clients[0].Sessions[1].Seen = ann[3:]
		}, []chaos.Kind{chaos.Lost}},
		"a client misses the end": {func(r *chaos.Record, ann []chaos.Seen) {
			r.Clients[0].Sessions[1].Seen = ann[2:3]
		}, []chaos.Kind{chaos.Lost}},
		"stored twice": {func(r *chaos.Record, ann []chaos.Seen) {
			again := chaos.Seen{ID: 15, Kind: uni, Key: "a2"}
			setHistory(r, append(slices.Clone(ann), again)...)
			r.Clients = r.Clients[1:]
		}, []chaos.Kind{chaos.Twice}},
		"sent twice in a session": {func(r *chaos.Record, ann []chaos.Seen) {
			r.Clients[0].Sessions[1].Seen = []chaos.Seen{ann[2], ann[2], ann[3]}
		}, []chaos.Kind{chaos.Twice}},
		"sent again at another id": {func(r *chaos.Record, ann []chaos.Seen) {
			r.Clients[0].Sessions[1].Seen = []chaos.Seen{ann[2], {13, uni, "a2"}, ann[3]}
		}, []chaos.Kind{chaos.Twice}},
		"sent again in another session": {func(r *chaos.Record, ann []chaos.Seen) {
			r.Clients[0].Sessions[1] = chaos.Session{Seen: []chaos.Seen{ann[0], ann[2], ann[3]}}
		}, []chaos.Kind{chaos.Twice}},
		"sent what the cursor had": {func(r *chaos.Record, ann []chaos.Seen) {
			r.Clients[0].Sessions[1].Seen = []chaos.Seen{ann[0], ann[2], ann[3]}
		}, []chaos.Kind{chaos.OutOfOrder, chaos.Twice}},
		"the history's ids fall": {func(r *chaos.Record, ann []chaos.Seen) {
			setHistory(r, ann[1], ann[0], ann[2], ann[3])
		}, []chaos.Kind{chaos.OutOfOrder}},
		"a session's ids fall": {func(r *chaos.Record, ann []chaos.Seen) {
			r.Clients[0].Sessions[1].Seen = []chaos.Seen{ann[3], ann[2]}
		}, []chaos.Kind{chaos.OutOfOrder}},
		"who was answered first comes later": {func(r *chaos.Record, ann []chaos.Seen) {
			r.Pushes[0].Invoked, r.Pushes[0].Returned = ms(20), ms(21)
		}, []chaos.Kind{chaos.OutOfOrder}},
		"nobody sent it": {func(r *chaos.Record, ann []chaos.Seen) {
			r.Pushes = slices.DeleteFunc(r.Pushes, func(p chaos.Push) bool { return p.Key == "a2" })
		}, []chaos.Kind{chaos.Phantom}},
		"it was for somebody else": {func(r *chaos.Record, ann []chaos.Seen) {
			r.Pushes[0].Users = []string{"bob"}
		}, []chaos.Kind{chaos.Lost, chaos.Phantom}},
		"it was sent otherwise": {func(r *chaos.Record, ann []chaos.Seen) {
			r.Pushes[3].Kind = multi
		}, []chaos.Kind{chaos.Phantom}},
		"it had failed": {func(r *chaos.Record, ann []chaos.Seen) {
			r.Pushes[3].Outcome = chaos.Failed
		}, []chaos.Kind{chaos.Phantom}},
		"it had failed, and a client saw it": {func(r *chaos.Record, ann []chaos.Seen) {
			r.Clients[0].Sessions[1].Seen = append(slices.Clone(ann[2:]), chaos.Seen{ID: 15, Kind: uni, Key: "a4"})
		}, []chaos.Kind{chaos.Lost, chaos.Phantom}},
		"two messages at one id in the history": {func(r *chaos.Record, ann []chaos.Seen) {
			setHistory(r, append(slices.Clone(ann), chaos.Seen{ID: 14, Kind: uni, Key: "a3"})...)
			r.Clients = r.Clients[1:]
		}, []chaos.Kind{chaos.OneID}},
		"a client saw another message at an id": {func(r *chaos.Record, ann []chaos.Seen) {
			r.Clients[0].Sessions[1].Seen = []chaos.Seen{ann[2], {14, uni, "a3"}}
		}, []chaos.Kind{chaos.Lost, chaos.OneID}},
		"answered with another id": {func(r *chaos.Record, ann []chaos.Seen) {
			r.Pushes[0].ID = 9
		}, []chaos.Kind{chaos.OtherID}},
		"another id for each user": {func(r *chaos.Record, ann []chaos.Seen) {
			r.Pushes[2].Outcome = chaos.Unknown
			m := chaos.Seen{ID: 13, Kind: multi, Key: "m1"}
			setHistory(r, ann[0], ann[1], m, ann[3])
			r.Clients[0].Sessions[1].Seen = []chaos.Seen{m, ann[3]}
		}, []chaos.Kind{chaos.OtherID}},
		"stored for some": {func(r *chaos.Record, ann []chaos.Seen) {
			r.Pushes[2].Outcome = chaos.Unknown
			setHistory(r, ann[0], ann[1], ann[3])
			r.Clients = r.Clients[1:]
		}, []chaos.Kind{chaos.Torn}},
		"a broadcast for some": {func(r *chaos.Record, ann []chaos.Seen) {
			r.Pushes[1].Outcome = chaos.Unknown
			setHistory(r, ann[0], ann[2], ann[3])
			r.Clients = r.Clients[1:]
		}, []chaos.Kind{chaos.Torn}},
		"truncated for no reason": {func(r *chaos.Record, ann []chaos.Seen) {
			r.Clients[0].Sessions[0].Truncated = true
		}, []chaos.Kind{chaos.Truncated}},
		"unread is wrong": {func(r *chaos.Record, ann []chaos.Seen) {
			r.Histories["ann"] = chaos.History{Messages: ann, Unread: 3}
		}, []chaos.Kind{chaos.Unread}},
	} {
		t.Run(name, func(t *testing.T) {
			r := good()
			c.damage(r, r.Histories["ann"].Messages)
			wantKinds(t, r.Check(), c.want)
		})
	}
}

// TestMayLose: a tail may go when that was allowed, and nothing else.
func TestMayLose(t *testing.T) {
	r := good()
	r.MayLose = true
	ann := r.Histories["ann"].Messages
	setHistory(r, ann[0], ann[1], ann[2])
	wantKinds(t, r.Check(), nil)

	// Its id goes to another message: who saw the first never sees the second.
	setHistory(r, ann[0], ann[1], ann[2], chaos.Seen{ID: 14, Kind: uni, Key: "a3"})
	wantKinds(t, r.Check(), []chaos.Kind{chaos.OneID})

	// Messages that a replica had must be there.
	r = good()
	r.MayLose = true
	r.Pushes[0].Replicated = true
	setHistory(r, ann[1:]...)
	wantKinds(t, r.Check(), []chaos.Kind{chaos.Lost})

	// Messages that are kept must still come.
	r = good()
	r.MayLose = true
	r.Clients[0].Sessions[1].Seen = ann[2:3]
	wantKinds(t, r.Check(), []chaos.Kind{chaos.Lost})
}

func TestPartitioned(t *testing.T) {
	r := good()
	r.Partitioned = true
	r.Pushes[2].Outcome = chaos.Unknown
	ann := r.Histories["ann"].Messages
	setHistory(r, ann[0], ann[1], ann[3])
	r.Clients = r.Clients[1:]
	wantKinds(t, r.Check(), nil)

	// Another id than was answered, or than somebody else has: only a later one.
	for id, want := range map[history.ID][]chaos.Kind{13: nil, 9: {chaos.OtherID}} {
		r = good()
		r.Partitioned = true
		m := chaos.Seen{ID: id, Kind: multi, Key: "m1"}
		if id > 12 {
			setHistory(r, ann[0], ann[1], m, ann[3])
		} else {
			setHistory(r, m, ann[0], ann[1], ann[3])
		}
		r.Clients = r.Clients[1:]
		wantKinds(t, r.Check(), want)
	}

	// A unicast has one id.
	r = good()
	r.Partitioned = true
	r.Pushes[0].ID = 9
	wantKinds(t, r.Check(), []chaos.Kind{chaos.OtherID})
}

// wantKinds requires exactly these kinds of violations.
func wantKinds(t *testing.T, got []chaos.Violation, want []chaos.Kind) {
	t.Helper()
	var kinds []chaos.Kind
	for _, v := range got {
		if v.User == "" || v.Detail == "" {
			t.Errorf("%+v names no messages", v)
		}
		if !slices.Contains(kinds, v.Kind) {
			kinds = append(kinds, v.Kind)
		}
	}
	slices.Sort(kinds)
	if !slices.Equal(kinds, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}
