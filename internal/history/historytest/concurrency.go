package historytest

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"pushd.example/internal/history"
)

func concurrencyPromises() []promise {
	return []promise{
		{name: "EveryAppendIsInHistoryOnce", check: everyAppendIsInHistory},
		{name: "NoGapBetweenAttachAndFollow", check: noGap},
		{name: "WhatAnAttachDidNotSeeIsDelivered", check: attachOwes},
		{name: "NoIDAppearsBehindAReader", check: noIDBehindAReader},
		{name: "APageIsOfOneMoment", check: pageIsOfOneMoment},
		{name: "BackwardPagesSeeNoHole", check: backwardSeesNoHole},
		{name: "AcksEndAtTheLatest", check: concurrentAcks},
		{name: "LargeMulticastsAmongOtherAppends", retention: history.Retention{InboxCount: 150}, check: largeMulticasts},
		{name: "ALargeMulticastIsRetried", check: largeRetry},
		{name: "WhatGathersWhileAFollowerIsSlow", check: gathered},
	}
}

var crowd = []string{"ann", "bob", "cleo", "dan"}

// traffic is appends by several callers at once, to the crowd.
type traffic struct {
	*rig
	done chan struct{} // closed when all appends have returned

	mu   sync.Mutex
	sent map[string][]history.Message // by user; broadcasts under ""
}

// startTraffic begins to append; wait for done before you read sent.
func startTraffic(r *rig, callers, each int) *traffic {
	t := &traffic{rig: r, done: make(chan struct{}), sent: map[string][]history.Message{}}
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() { t.caller(rand.New(rand.NewPCG(1, uint64(i))), each) })
	}
	go func() {
		wg.Wait()
		close(t.done)
	}()
	r.Cleanup(func() { <-t.done })
	return t
}

func (t *traffic) caller(rnd *rand.Rand, n int) {
	for range n {
		p := history.Push{Kind: history.Unicast, Users: []string{crowd[rnd.IntN(len(crowd))]}}
		switch rnd.IntN(4) {
		case 0:
			p.Kind, p.Users = history.Broadcast, nil
		case 1:
			first := rnd.IntN(len(crowd))
			p.Kind, p.Users = history.Multicast, crowd[first:first+1+rnd.IntN(len(crowd)-first)]
		}
		if rnd.IntN(3) == 0 {
			t.clock.Advance(time.Duration(rnd.IntN(2000)) * time.Microsecond)
		}
		p.Data = []byte("m" + history.ID(t.count.Add(1)).String())
		result, err := t.store.Append(t.ctx, p)
		if err != nil {
			t.Errorf("appending: %v", err)
			return
		}
		t.record(p, history.Message{ID: result.ID, Kind: p.Kind, Data: p.Data})
	}
}

func (t *traffic) record(p history.Push, m history.Message) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p.Kind == history.Broadcast {
		t.sent[""] = append(t.sent[""], m)
	}
	for _, user := range p.Users {
		t.sent[user] = append(t.sent[user], m)
	}
}

// running says whether appends still go on.
func (t *traffic) running() bool {
	select {
	case <-t.done:
		return false
	default:
		return true
	}
}

func everyAppendIsInHistory(r *rig) {
	t := startTraffic(r, 4, 150)
	await(r, "end of traffic", t.done)
	for _, user := range crowd {
		r.wantHistory(user, r.asStored(user, append(t.sent[""], t.sent[user]...))...)
	}
}

// asStored returns sent in order of id, multicasts with the ids that they have
// in user's inbox: where several processes share the data, another message may
// have come before them with a later id.
func (r *rig) asStored(user string, sent []history.Message) []history.Message {
	r.Helper()
	if r.engine.Settle == nil {
		return byID(sent...)
	}
	ids := map[string]history.ID{}
	for _, m := range r.forward(user, history.Cursor{}).Messages {
		ids[string(m.Data)] = m.ID
	}
	sent = slices.Clone(sent)
	for i := range sent {
		if id := ids[string(sent[i].Data)]; sent[i].Kind == history.Multicast && id > sent[i].ID {
			sent[i].ID = id
		}
	}
	return byID(sent...)
}

// noIDBehindAReader polls forward while messages arrive. A message that becomes visible
// with an id behind the reader's cursor would be missing in the end.
func noIDBehindAReader(r *rig) {
	t := startTraffic(r, 4, 150)
	users := crowd[:2] // more readers at full speed only starve the callers
	got := make([][]history.Message, len(users))
	var readers sync.WaitGroup
	for i, user := range users {
		readers.Go(func() { got[i] = t.poll(user) })
	}
	readers.Wait()
	for i, user := range users {
		r.wantInOrder("what a reader of "+user+" saw", got[i], r.forward(user, history.Cursor{}).Messages)
	}
}

// poll reads user's history forward until the traffic has ended and all is read.
func (t *traffic) poll(user string) (got []history.Message) {
	var at history.Cursor
	for {
		last := !t.running()
		p, err := t.store.Page(t.ctx, user, history.Query{Direction: history.Forward, After: at, Limit: 7})
		if err != nil {
			t.Errorf("paging: %v", err)
			return got
		}
		got, at = append(got, p.Messages...), p.Cursor
		if last && !p.HasMore {
			return got
		}
		if len(got) > 10_000 {
			t.Errorf("a reader of %s walks in circles", user)
			return nil
		}
	}
}

// wantInOrder checks what was read bit by bit. If ids rise over all logs, it
// must be in the order of history, else in that of each log.
func (r *rig) wantInOrder(what string, got, want []history.Message) {
	r.Helper()
	if r.engine.Partitioned {
		r.wantLogs(what, got, want)
		return
	}
	r.wantMessages(what, got, want...)
}

func (r *rig) wantLogs(what string, got, want []history.Message) {
	r.Helper()
	gotInbox, gotBroadcasts := split(got)
	wantInbox, wantBroadcasts := split(want)
	r.wantMessages(what+", inbox", gotInbox, wantInbox...)
	r.wantMessages(what+", broadcasts", gotBroadcasts, wantBroadcasts...)
}

func split(messages []history.Message) (inbox, broadcasts []history.Message) {
	for _, m := range messages {
		if m.Kind == history.Broadcast {
			broadcasts = append(broadcasts, m)
		} else {
			inbox = append(inbox, m)
		}
	}
	return inbox, broadcasts
}

// pageIsOfOneMoment reads whole histories while messages arrive: what a page
// says besides its messages must be of the same moment.
func pageIsOfOneMoment(r *rig) {
	t := startTraffic(r, 3, 100)
	for t.running() {
		for _, user := range crowd {
			p := r.forward(user, history.Cursor{})
			a := r.attach(user, history.Start{At: history.StartUnread, Limit: all})
			r.store.Detach(user)
			for _, p := range []history.Page{p, a.Page, r.page(user, history.Query{Limit: all})} {
				last := cursorOf(history.Cursor{}, p.Messages...)
				if p.HasMore || p.Unread != len(p.Messages) || p.Cursor != last {
					r.Errorf("page of %d messages up to %+v: has more %v, %d unread, cursor %+v",
						len(p.Messages), last, p.HasMore, p.Unread, p.Cursor)
				}
			}
		}
	}
}

// backwardSeesNoHole walks from the newest page to the oldest while messages
// arrive: each walk must find all up to where it began.
func backwardSeesNoHole(r *rig) {
	t := startTraffic(r, 3, 100)
	walks := map[string][][]history.Message{}
	for t.running() {
		for _, user := range crowd {
			var walk []history.Message
			q := history.Query{Direction: history.Newest, Limit: 20}
			for more := true; more; {
				p := r.page(user, q)
				walk, more = append(p.Messages, walk...), p.HasMore
				if len(walk) > 0 {
					q = history.Query{Direction: history.Backward, Before: walk[0].ID, Limit: 20}
				}
			}
			walks[user] = append(walks[user], walk)
		}
	}
	for _, user := range crowd {
		inbox, broadcasts := split(r.forward(user, history.Cursor{}).Messages)
		for _, walk := range walks[user] {
			i, b := split(walk)
			r.wantMessages("inbox backward", i, inbox[:min(len(i), len(inbox))]...)
			r.wantMessages("broadcasts backward", b, broadcasts[:min(len(b), len(broadcasts))]...)
		}
	}
}

func concurrentAcks(r *rig) {
	sent := mixed(r, 60)
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(2, uint64(i)))
			least := len(sent)
			for range 30 {
				// All but the last two: what remains is known.
				c := cursorOf(history.Cursor{}, sent[:1+rnd.IntN(len(sent)-2)]...)
				mark, err := r.store.Ack(r.ctx, "ann", c, "")
				if err != nil || mark.Unread > least {
					r.Errorf("an ack raised unread from %d to %d: %v", least, mark.Unread, err)
				}
				least = mark.Unread
			}
		})
	}
	wg.Wait()
	if n := r.ack("ann", cursorOf(history.Cursor{}, sent[:len(sent)-2]...)); n != 2 {
		r.Errorf("%d unread, want 2", n)
	}
}
