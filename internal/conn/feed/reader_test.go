package feed

import (
	"fmt"
	"slices"
	"testing"
	"unsafe"

	"pgregory.net/rapid"

	"pushd.example/internal/history"
)

// A session holds a reader for each connection, so its size is memory for each.
func TestReaderIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(Reader{}); n > 40 {
		t.Errorf("a reader has %d bytes, want at most 40", n)
	}
}

// entry is a message in one of the logs of the naive history.
type entry struct {
	id     history.ID
	log    Log
	hidden bool // expired, or replaced, or recalled: pages leave it out
	passed bool // the reader was excluded when it came live
}

// naive is a history and a reader that remembers everything.
type naive struct {
	t       *rapid.T
	r       Reader
	entries []*entry // in the order of ids
	heads   [2]history.ID
	sent    []history.ID
	told    map[history.ID]int // how often each was reported
	closed  []Run
	page    *history.Page // under way
	waiting []offer       // deliveries on their way, in order
	lost    bool          // a delivery was lost, and no page was read since
	last    history.ID
}

type offer struct {
	Delivery
	excluded bool
}

// append puts a message into a log.
func (n *naive) append(log Log) Delivery {
	d := Delivery{Log: log, Prev: n.heads[log]}
	n.last += history.ID(rapid.IntRange(1, 3).Draw(n.t, "step"))
	n.entries = append(n.entries, &entry{id: n.last, log: log})
	n.heads[log], d.First, d.Last = n.last, n.last, n.last
	return d
}

// deliver offers what waits first, together with broadcasts that follow it.
func (n *naive) deliver() {
	if len(n.waiting) == 0 {
		return
	}
	d := n.waiting[0]
	n.waiting = n.waiting[1:]
	for len(n.waiting) > 0 && d.Log == Broadcasts {
		next := n.waiting[0]
		if next.Log != Broadcasts || next.Prev != d.Last || next.excluded != d.excluded {
			break
		}
		d.Last, n.waiting = next.Last, n.waiting[1:]
	}
	n.offer(d.Delivery, d.excluded)
}

// offer offers a delivery, as a whole or one by one, and does what the reader
// says.
func (n *naive) offer(d Delivery, excluded bool) {
	action, run := n.r.Offer(d, excluded)
	n.end(run)
	switch action {
	case Send:
		n.send(d)
	case SendEach:
		prev := d.Prev
		for _, e := range n.between(d) {
			n.offer(Delivery{Log: d.Log, Prev: prev, First: e.id, Last: e.id}, excluded)
			prev = e.id
		}
	case Read:
		n.fetch()
	case Skip:
		if excluded && n.r.State() >= Live {
			for _, e := range n.between(d) {
				e.passed = e.passed || !slices.Contains(n.sent, e.id)
			}
		}
	default:
		n.t.Fatalf("a stored message is answered %v", action)
	}
}

func (n *naive) between(d Delivery) (some []*entry) {
	for _, e := range n.entries {
		if e.log == d.Log && d.First <= e.id && e.id <= d.Last {
			some = append(some, e)
		}
	}
	return some
}

func (n *naive) send(d Delivery) {
	for _, e := range n.between(d) {
		n.sent = append(n.sent, e.id)
	}
}

func (n *naive) end(run Run) {
	if !run.Empty() {
		n.closed = append(n.closed, run)
	}
}

// fetch reads the page after the reader's position as the history has it now.
func (n *naive) fetch() {
	n.lost = false
	at, limit := n.r.Fetch(), rapid.IntRange(1, 4).Draw(n.t, "limit")
	p := &history.Page{Cursor: at}
	gap := false
	for _, e := range n.entries {
		kind := history.Unicast
		if e.log == Broadcasts {
			kind = history.Broadcast
		}
		switch {
		case e.id <= at.In(kind):
		case e.hidden:
			gap = gap || e.log == Inbox
			p.Cursor = with(p.Cursor, e)
		case len(p.Messages) == limit:
			p.HasMore = true
			n.page = p
			return
		default:
			if e.log == Inbox && gap {
				p.Gaps, gap = append(p.Gaps, e.id), false
			}
			p.Messages = append(p.Messages, history.Message{ID: e.id, Kind: kind})
			p.Cursor = with(p.Cursor, e)
		}
	}
	n.page = p
}

func with(c history.Cursor, e *entry) history.Cursor {
	if e.log == Broadcasts {
		c.Broadcast = e.id
	} else {
		c.Inbox = e.id
	}
	return c
}

// turn brings the page that is under way.
func (n *naive) turn() {
	p := n.page
	n.page = nil
	LeaveOut(p, func(id history.ID) bool { return n.find(id).hidden })
	n.r.Page(p, n.end)
	for _, m := range p.Messages {
		n.sent = append(n.sent, m.ID)
	}
	if n.r.Next() {
		n.fetch()
	}
}

func (n *naive) find(id history.ID) *entry {
	i := slices.IndexFunc(n.entries, func(e *entry) bool { return e.id == id })
	return n.entries[i]
}

// taken reports what was sent.
func (n *naive) taken() {
	inbox, broadcasts := n.r.Taken(n.r.At())
	for _, run := range append(n.closed, inbox, broadcasts) {
		for _, e := range n.entries {
			if e.log == run.Log && run.From < e.id && e.id <= run.To {
				n.told[e.id]++
			}
		}
	}
	n.closed = nil
}

// step does one thing that can happen.
func (n *naive) step() {
	switch rapid.SampledFrom([]int{0, 1, 2, 2, 2, 3, 4, 5, 5, 6, 7, 8}).Draw(n.t, "what") {
	case 0:
		n.waiting = append(n.waiting, offer{n.append(Inbox), false})
	case 1:
		n.waiting = append(n.waiting, offer{n.append(Broadcasts), false})
	case 2:
		n.deliver()
	case 3: // a lost delivery: the next one shows the hole
		n.append(rapid.SampledFrom([]Log{Inbox, Broadcasts}).Draw(n.t, "log"))
		n.lost = true
	case 4:
		n.waiting = append(n.waiting, offer{n.append(rapid.SampledFrom([]Log{Inbox, Broadcasts}).Draw(n.t, "log")), true})
	case 5:
		if n.page != nil {
			n.turn()
		}
	case 6:
		n.taken()
	case 7:
		if len(n.entries) > 0 {
			rapid.SampledFrom(n.entries).Draw(n.t, "hide").hidden = true
		}
	case 8:
		n.lost = false
		if n.r.Resync() {
			n.fetch()
		}
	}
}

// finish lets the reader catch up.
func (n *naive) finish() {
	for n.page != nil {
		n.turn()
	}
	n.r.FallBehind()
	for n.fetch(); n.page != nil; {
		n.turn()
	}
	n.taken()
}

// A reader is sent each message that can be had once and in the order of its
// log, whether deliveries come, come late or are lost. It reports what it was sent
// and nothing else.
func TestReaderAgainstNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := &naive{t: t, told: map[history.ID]int{}}
		for range rapid.IntRange(0, 5).Draw(t, "before") {
			n.append(rapid.SampledFrom([]Log{Inbox, Broadcasts}).Draw(t, "log"))
		}
		var from history.Cursor
		if rapid.Bool().Draw(t, "from now") {
			from = history.Cursor{Inbox: n.heads[Inbox], Broadcast: n.heads[Broadcasts]}
		}
		n.offer(n.append(Inbox), false) // while it attaches
		n.r.Begin(from)
		n.fetch()
		for range rapid.IntRange(0, 150).Draw(t, "steps") {
			n.step()
			if heads := (history.Cursor{Inbox: n.heads[Inbox], Broadcast: n.heads[Broadcasts]}); n.r.State() == Live && !n.lost && len(n.waiting) == 0 && n.r.At() != heads {
				t.Fatalf("a live reader is at %v, the logs end at %v", n.r.At(), heads)
			}
		}
		n.finish()
		n.check(from)
	})
}

func (n *naive) check(from history.Cursor) {
	var last [2]history.ID
	for _, id := range n.sent {
		e := n.find(id)
		if id <= last[e.log] {
			n.t.Fatalf("%d was sent after %d", id, last[e.log])
		}
		last[e.log] = id
	}
	for _, e := range n.entries {
		sent := slices.Contains(n.sent, e.id)
		expected := e.id > from.Inbox && e.log == Inbox || e.id > from.Broadcast && e.log == Broadcasts
		if expected && !sent && !e.hidden && !e.passed {
			n.t.Fatalf("%d was not sent", e.id)
		}
		if want := map[bool]int{true: 1}[sent]; n.told[e.id] != want {
			n.t.Fatalf("%d was sent: %v, and reported %d times", e.id, sent, n.told[e.id])
		}
	}
}

func TestOffersOutsideTheLogs(t *testing.T) {
	for state, want := range map[State][5]Action{ // ephemeral, excluded from it, recall, ack, excluded from it
		Attaching: {Miss, Skip, Skip, Skip, Skip},
		Replaying: {Miss, Skip, Send, Send, Skip},
		Live:      {SendIfIdle, Skip, Send, Send, Skip},
	} {
		r := Reader{state: state, at: history.Cursor{Inbox: 5}}
		before := r
		var got [5]Action
		got[0], _ = r.Offer(Delivery{Kind: Ephemeral, First: 9, Last: 9}, false)
		got[1], _ = r.Offer(Delivery{Kind: Ephemeral, First: 9, Last: 9}, true)
		got[2], _ = r.Offer(Delivery{Kind: Recall, First: 3, Last: 3}, false)
		got[3], _ = r.Offer(Delivery{Kind: Acked, First: 9, Last: 9}, false)
		got[4], _ = r.Offer(Delivery{Kind: Acked, First: 9, Last: 9}, true)
		if got != want || r != before {
			t.Errorf("in state %d: %v, want %v; the reader is %+v", state, got, want, r)
		}
	}
}

// A message that a reader was moved past and not sent is not reported. The rest
// is, as far as it is taken.
func TestUnsentAndTaken(t *testing.T) {
	var r Reader
	r.Begin(history.Cursor{})
	r.Next()
	for id := history.ID(1); id <= 6; id++ {
		r.Offer(Delivery{Prev: id - 1, First: id, Last: id}, false)
	}
	runs := []Run{r.Unsent(Inbox, 2), r.Unsent(Inbox, 3)}
	for _, upTo := range []history.ID{5, 5, 99} {
		inbox, _ := r.Taken(history.Cursor{Inbox: upTo})
		runs = append(runs, inbox)
	}
	if got, want := fmt.Sprint(runs), "[{0 0 1} {0 2 2} {0 3 5} {0 5 5} {0 5 6}]"; got != want {
		t.Errorf("runs %s, want %s", got, want)
	}
}

// Broadcasts that are offered together may have come with a page in part.
func TestBroadcastsSeenInPart(t *testing.T) {
	for at, want := range map[history.ID]Action{3: Read, 4: Send, 5: SendEach, 6: SendEach, 7: Skip, 8: Skip} {
		var r Reader
		r.Begin(history.Cursor{Broadcast: at})
		r.Next()
		action, _ := r.Offer(Delivery{Log: Broadcasts, Prev: 4, First: 5, Last: 7}, false)
		if moved := r.At().Broadcast != at; action != want || moved != (want == Send) {
			t.Errorf("at %d: %v, moved: %v; want %v", at, action, moved, want)
		}
	}
}
