package historytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pushd.example/internal/history"
)

func recallPromises() []promise {
	five := history.Retention{InboxCount: 5, BroadcastCount: 3}
	ages := history.Retention{InboxAge: time.Hour, BroadcastAge: 2 * time.Hour}
	return []promise{
		{name: "KindOfTellsHowItWasSent", check: kindOf},
		{name: "LeavesNoPageListingIt", check: recallHides},
		{name: "IsForAllRecipients", check: recallsForAll},
		{name: "UnreadIsWhatPagesList", check: recalledUnread},
		{name: "LeavesItsPlaceWithRetention", retention: five, check: recallKeepsPlace},
		{name: "TellsFollowers", check: recallTells},
		{name: "TellsNobodyWhoIsNotAttached", check: recallTellsOnlyAttached},
		{name: "AgainChangesNothingAndTellsAgain", check: recallAgain},
		{name: "OfOneWithATTL", check: recallWithTTL},
		{name: "OfWhatNobodyHasIsNotFound", check: recallUnknown},
		{name: "OfWhatRetentionDroppedByAgeIsNotFound", retention: ages, check: recallAged},
		{name: "OfABroadcastThatTheCountDroppedIsNotFound", retention: five, check: recallCounted},
		{name: "OfWhatAnInboxDroppedByCountIsNoError", retention: five, check: recallTrimmed},
		{name: "OfAMulticastToManyIsOneForAll", check: recallCrowd},
		{name: "EndedContextChangesNothing", check: recallEndedContext},
		{name: "AfterCloseEverythingIsErrClosed", check: recallClosed},
	}
}

func reopenRecallPromises() []promise {
	return []promise{{name: "KeepsRecalls", check: reopenKeepsRecalls}}
}

// sent returns the store as what it must be too.
func (r *rig) messages() history.Messages {
	r.Helper()
	s, ok := r.store.(history.Messages)
	if !ok {
		r.Fatalf("%T knows nothing of what was sent", r.store)
	}
	return s
}

func (r *rig) recall(m history.Message) {
	r.Helper()
	if err := r.messages().Recall(r.ctx, m.ID); err != nil {
		r.Fatalf("recalling %v %d: %v", m.Kind, m.ID, err)
	}
	r.engine.settle()
}

// oneOfEach sends one message of each kind to ann, and multicasts whose bodies
// are kept in different ways.
func oneOfEach(r *rig) []history.Message {
	r.Helper()
	large := bytes.Repeat([]byte("large "), 20)
	return []history.Message{
		r.unicast("ann"), r.multicast("ann", "bob"), r.broadcast(), r.multicast("ann"),
		r.send(history.Push{Kind: history.Unicast, Users: []string{"ann"}, Data: large}),
		r.send(history.Push{Kind: history.Multicast, Users: []string{"bob", "ann", "cleo"}, Data: large}),
		r.send(history.Push{Kind: history.Broadcast, Data: large}),
	}
}

// without returns sent but for message i.
func without(sent []history.Message, i int) []history.Message {
	return slices.Concat(sent[:i], sent[i+1:])
}

func kindOf(r *rig) {
	for _, m := range oneOfEach(r) {
		if kind, err := r.messages().KindOf(r.ctx, m.ID); kind != m.Kind || err != nil {
			r.Errorf("kind of %d: %v, %v, want %v", m.ID, kind, err, m.Kind)
		}
	}
}

func recallHides(r *rig) {
	first := r.unicast("ann")
	sent := append([]history.Message{first}, oneOfEach(r)...)
	sent = append(sent, r.unicast("ann"))
	heads := r.heads("ann")
	for i := len(sent) - 2; i > 0; i-- {
		r.recall(sent[i])
		sent = without(sent, i)
		r.wantHistory("ann", sent...)
		for _, q := range []history.Query{
			{Limit: all}, {Direction: history.Backward, Before: history.MaxID, Limit: all},
			{Direction: history.Forward, Limit: all, Unread: true},
		} {
			p := r.page("ann", q)
			r.wantMessages(fmt.Sprintf("page %+v", q), p.Messages, sent...)
			if p.Cursor != heads || p.HasMore || p.Truncated || p.Unread != len(sent) {
				r.Errorf("page %+v: %s, want cursor %+v and %d unread", q, pageText(p), heads, len(sent))
			}
		}
		p := r.page("ann", history.Query{Direction: history.Forward, Limit: len(sent) - 1})
		if !p.HasMore {
			r.Errorf("a page of all but one has no more")
		}
	}
	a := r.attach("ann", history.Start{At: history.StartAfter, Limit: all})
	r.wantMessages("attached", a.Page.Messages, sent...)
}

func recallsForAll(r *rig) {
	kept := r.multicast("ann", "bob")
	for _, p := range []history.Push{
		{Kind: history.Multicast, Users: []string{"ann", "bob"}},
		{Kind: history.Multicast, Users: []string{"bob", "ann"}, Data: bytes.Repeat([]byte("x"), 100)},
		{Kind: history.Broadcast},
	} {
		m := r.send(p)
		r.recall(m)
		for _, user := range []string{"ann", "bob"} {
			r.wantHistory(user, kept)
		}
	}
	r.wantHistory(newcomer)
}

func recalledUnread(r *rig) {
	var sent []history.Message
	for i := range 12 {
		sent = append(sent, oneOfEach(r)...)
		gone := (i * 5) % len(sent)
		r.recall(sent[gone])
		sent = without(sent, gone)
		if i%4 == 3 {
			r.ack("ann", cursorOf(history.Cursor{}, sent[:len(sent)-6]...))
		}
		a := r.attach("ann", history.Start{At: history.StartUnread, Limit: all})
		listed := len(r.forward("ann", a.From).Messages)
		if n := r.unread("ann"); n != listed || a.Page.Unread != listed || len(a.Page.Messages) != listed {
			r.Errorf("step %d: %d unread by page, %d by attach, %d replayed, %d listed after the mark",
				i, n, a.Page.Unread, len(a.Page.Messages), listed)
		}
		if n := r.ack("ann", history.Cursor{}); n != listed {
			r.Errorf("step %d: %d unread by ack, %d listed", i, n, listed)
		}
	}
	r.wantHistory("ann", sent...)
}

func recallKeepsPlace(r *rig) {
	var inbox []history.Message
	for range 5 {
		inbox = append(inbox, r.multicast("ann", "bob"))
	}
	r.recall(inbox[0])
	r.recall(inbox[3])
	wantTruncated(r, history.Cursor{}, false)
	inbox = append(inbox, r.unicast("ann"))
	wantTruncated(r, history.Cursor{}, true)
	wantTruncated(r, history.Cursor{Inbox: inbox[0].ID}, false)
	r.wantHistory("ann", inbox[1], inbox[2], inbox[4], inbox[5])
}

func recallTells(r *rig) {
	for _, user := range []string{"ann", "bob"} {
		r.attach(user, history.Start{})
	}
	f := r.follow()
	ann, bob := history.Recipient{User: "ann"}, history.Recipient{User: "bob"}
	for _, c := range []struct {
		message history.Message
		to      []history.Recipient
	}{
		{r.unicast("ann"), []history.Recipient{ann}},
		{r.multicast("bob", "ann", "cleo"), []history.Recipient{ann, bob}},
		{r.multicast("bob"), []history.Recipient{bob}},
		{r.broadcast(), nil},
	} {
		f.take()
		r.recall(c.message)
		c.message.Data = nil
		r.wantDeliveries(f.take(), history.Delivery{Message: c.message, Recipients: c.to, Recall: true})
	}
}

func recallTellsOnlyAttached(r *rig) {
	f := r.follow()
	sent := oneOfEach(r)
	f.take()
	for _, m := range sent {
		r.recall(m)
		r.wantDeliveries(f.takeUnattached())
	}
}

func recallAgain(r *rig) {
	sent := oneOfEach(r)
	r.attach("ann", history.Start{})
	f := r.follow()
	for i := range sent {
		for range 2 {
			r.recall(sent[i])
			if got := f.take(); len(got) != 1 || !got[0].Recall || got[0].Message.ID != sent[i].ID {
				r.Errorf("recalling %v %d: delivered %q", sent[i].Kind, sent[i].ID, deliveryTexts(got))
			}
			r.wantHistory("ann", sent[i+1:]...)
			if n := r.unread("ann"); n != len(sent)-i-1 {
				r.Errorf("%d unread, want %d", n, len(sent)-i-1)
			}
		}
	}
}

// recallWithTTL: before and after it has ended, nothing is counted twice.
func recallWithTTL(r *rig) {
	var kept, gone []history.Message
	for _, p := range []history.Push{
		{Kind: history.Unicast, Users: []string{"ann"}},
		{Kind: history.Multicast, Users: []string{"ann", "bob"}},
		{Kind: history.Broadcast},
	} {
		p.TTL = time.Minute
		gone = append(gone, r.send(p), r.send(p))
		p.TTL = 0
		kept = append(kept, r.send(p))
	}
	check := func() {
		r.Helper()
		r.wantHistory("ann", kept...)
		if n := r.unread("ann"); n != len(kept) {
			r.Errorf("%d unread, want %d", n, len(kept))
		}
	}
	for i := 0; i < len(gone); i += 2 {
		r.recall(gone[i])
	}
	r.clock.Advance(time.Minute)
	check()
	for i := 1; i < len(gone); i += 2 {
		r.recall(gone[i])
	}
	check()
	r.clock.Advance(time.Minute)
	check()
}

// wantNotFound checks that nobody knows the id.
func (r *rig) wantNotFound(id history.ID) {
	r.Helper()
	_, kind := r.messages().KindOf(r.ctx, id)
	if err := r.messages().Recall(r.ctx, id); !errors.Is(err, history.ErrNotFound) || !errors.Is(kind, history.ErrNotFound) {
		r.Errorf("recall of %d: %v, its kind: %v, want ErrNotFound", id, err, kind)
	}
}

func recallUnknown(r *rig) {
	r.wantNotFound(0)
	r.wantNotFound(1)
	sent := oneOfEach(r)
	for _, m := range sent {
		r.wantNotFound(m.ID - 1)
		r.wantNotFound(m.ID + 1)
	}
	r.wantNotFound(history.MaxID)
	r.wantHistory("ann", sent...)
}

func recallAged(r *rig) {
	inbox, shared, broadcast := r.unicast("ann"), r.multicast("ann", "bob"), r.broadcast()
	at := func(m history.Message, age time.Duration) {
		r.clock.Advance(m.ID.Time().Add(age).Sub(r.clock.Now()))
	}
	at(inbox, time.Hour)
	r.recall(inbox)
	r.clock.Advance(time.Millisecond)
	r.wantNotFound(inbox.ID)
	r.recall(shared)
	r.clock.Advance(time.Millisecond)
	r.wantNotFound(shared.ID)
	at(broadcast, 2*time.Hour)
	r.recall(broadcast)
	r.clock.Advance(time.Millisecond)
	r.wantNotFound(broadcast.ID)
}

func recallCounted(r *rig) {
	first := r.broadcast()
	for range 3 {
		r.broadcast()
	}
	r.wantNotFound(first.ID)
}

func recallTrimmed(r *rig) {
	first := r.multicast("ann", "bob")
	var last []history.Message
	for range 200 {
		last = append(last, r.unicast("ann"))
	}
	r.recall(last[0])
	r.recall(first)
	r.wantHistory("ann", last[195:]...)
	r.wantHistory("bob")
}

func recallCrowd(r *rig) {
	users := make([]string, 2500)
	for i := range users {
		users[i] = fmt.Sprintf("user-%d", i*7919%len(users))
	}
	m := r.send(history.Push{Kind: history.Multicast, Users: users, Data: bytes.Repeat([]byte("x"), 1000)})
	present := []string{users[0], users[1234], users[2499]}
	for _, user := range present {
		r.attach(user, history.Start{})
	}
	r.attach("stranger", history.Start{})
	f := r.follow()
	r.recall(m)
	var told []string
	for _, d := range f.take() {
		for _, to := range d.Recipients {
			told = append(told, to.User)
		}
	}
	slices.Sort(told)
	slices.Sort(present)
	if !slices.Equal(told, present) {
		r.Errorf("told %q, want %q", told, present)
	}
	for _, user := range append(present, users[500], users[2000]) {
		r.wantHistory(user)
	}
}

func recallEndedContext(r *rig) {
	sent := oneOfEach(r)
	ctx, cancel := context.WithCancel(r.ctx)
	cancel()
	for _, m := range sent {
		_, kind := r.messages().KindOf(ctx, m.ID)
		if err := r.messages().Recall(ctx, m.ID); !errors.Is(err, context.Canceled) || !errors.Is(kind, context.Canceled) {
			r.Errorf("recall with a context that had ended: %v, kind: %v", err, kind)
		}
	}
	r.wantHistory("ann", sent...)
}

func recallClosed(r *rig) {
	m := r.unicast("ann")
	s := r.messages()
	if err := r.store.Close(); err != nil {
		r.Fatal(err)
	}
	_, kind := s.KindOf(r.ctx, m.ID)
	if err := s.Recall(r.ctx, m.ID); !errors.Is(err, history.ErrClosed) || !errors.Is(kind, history.ErrClosed) {
		r.Errorf("recall after Close: %v, kind: %v, want ErrClosed", err, kind)
	}
}

func reopenKeepsRecalls(r *rig) {
	sent := oneOfEach(r)
	for i := len(sent) - 1; i >= 0; i -= 2 {
		r.recall(sent[i])
		sent = without(sent, i)
	}
	r.reopen()
	r.wantHistory("ann", sent...)
	if n := r.unread("ann"); n != len(sent) {
		r.Errorf("%d unread, want %d", n, len(sent))
	}
	r.recall(sent[0])
	r.wantHistory("ann", sent[1:]...)
}
