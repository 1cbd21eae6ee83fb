package historytest

import (
	"bytes"
	"time"

	"pushd.example/internal/history"
)

func reopenPromises() []promise {
	few := history.Retention{InboxCount: 3, BroadcastCount: 3, InboxAge: time.Hour, BroadcastAge: time.Hour}
	return []promise{
		{name: "KeepsHistory", check: reopenKeepsHistory},
		{name: "KeepsReadMarks", check: reopenKeepsMarks},
		{name: "KeepsKeys", retention: history.Retention{IdempotencyKeys: time.Hour}, check: reopenKeepsKeys},
		{name: "KeepsTTLs", check: reopenKeepsTTLs},
		{name: "KeepsHeadsOfEmptiedLogs", retention: few, check: reopenKeepsHeads},
		{name: "KeepsTruncated", retention: few, check: reopenKeepsTruncated},
		{name: "NeverGivesAnIDAgain", retention: few, check: reopenIDsRise},
		{name: "ForgetsConnections", check: reopenForgetsConnections},
	}
}

func reopenKeepsHistory(r *rig) {
	var sent []history.Message
	for i := range 4 {
		sent = append(sent, mixed(r, 8)...)
		big := bytes.Repeat([]byte{byte(i)}, 50_000)
		sent = append(sent,
			r.send(history.Push{Kind: history.Multicast, Users: []string{"ann", "bob"}, Data: big}),
			r.send(history.Push{Kind: history.Broadcast, Data: big}),
			r.send(history.Push{Kind: history.Unicast, Users: []string{"ann"}, Data: big}))
		r.reopen()
		r.wantHistory("ann", sent...)
	}
}

func reopenKeepsMarks(r *rig) {
	sent := mixed(r, 8)
	mark := cursorOf(history.Cursor{}, sent[:4]...)
	r.ack("ann", mark)
	r.reopen()
	a := r.attach("ann", history.Start{At: history.StartUnread, Limit: 10})
	if a.From != mark || a.Page.Unread != 4 {
		r.Errorf("attached at the read mark: %+v, want from %+v", a, mark)
	}
	if n := r.ack("ann", history.Cursor{}); n != 4 {
		r.Errorf("an old ack moved the mark back: %d unread, want 4", n)
	}
}

func reopenKeepsKeys(r *rig) {
	p := history.Push{Kind: history.Broadcast, IdempotencyKey: "k"}
	first := r.send(p)
	r.reopen()
	if got := r.push(p); !got.Duplicate || got.ID != first.ID {
		r.Errorf("retried after reopening: %+v, want a duplicate of %d", got, first.ID)
	}
	r.clock.Advance(time.Hour)
	r.reopen()
	r.send(p)
}

func reopenKeepsTTLs(r *rig) {
	m := r.send(history.Push{Kind: history.Multicast, Users: []string{"ann", "bob"}, TTL: time.Minute})
	b := r.send(history.Push{Kind: history.Broadcast, TTL: time.Minute})
	r.reopen()
	r.wantHistory("ann", m, b)
	r.clock.Advance(time.Minute)
	r.wantHistory("ann")
}

// reopenKeepsHeads: what was dropped is gone, but not where the logs ended.
func reopenKeepsHeads(r *rig) {
	sent := mixed(r, 20)
	heads := cursorOf(history.Cursor{}, sent...)
	r.clock.Advance(24 * time.Hour)
	r.reopen()
	if p := r.forward("ann", history.Cursor{}); p.Cursor != heads || len(p.Messages) != 0 {
		r.Errorf("page of old messages: %+v, want the heads %+v", p, heads)
	}
	r.attach("ann", history.Start{})
	f := r.follow()
	u, b := r.unicast("ann"), r.broadcast()
	r.wantDeliveries(f.take(),
		history.Delivery{Message: u, Recipients: to("ann", heads.Inbox)},
		history.Delivery{Message: b, Prev: heads.Broadcast})
}

func reopenKeepsTruncated(r *rig) {
	var inbox, broadcasts []history.Message
	for range 6 {
		inbox, broadcasts = append(inbox, r.unicast("ann")), append(broadcasts, r.broadcast())
	}
	r.reopen()
	wantTruncated(r, cursorOf(history.Cursor{}, inbox[1], broadcasts[2]), true)
	wantTruncated(r, cursorOf(history.Cursor{}, inbox[2], broadcasts[1]), true)
	wantTruncated(r, cursorOf(history.Cursor{}, inbox[2], broadcasts[2]), false)
}

func reopenIDsRise(r *rig) {
	p := history.Push{Kind: history.Multicast, Users: []string{"ann", "bob"}}
	var last history.ID
	for range 5 {
		for range 4 {
			id := r.push(p).ID
			if id <= last {
				r.Errorf("id %d after %d", id, last)
			}
			last = id
		}
		r.clock.Advance(-time.Hour)
		r.reopen()
	}
}

func reopenForgetsConnections(r *rig) {
	r.attach("ann", history.Start{})
	r.reopen()
	if n := r.online("ann"); n != 0 {
		r.Errorf("%d connections online, want 0", n)
	}
}
