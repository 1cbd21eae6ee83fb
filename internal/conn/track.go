package conn

import (
	"pushd.example/internal/history"
)

// track is how far a connection was sent its user's inbox.
type track struct {
	// inbox is the last id sent, or passed over because there was nothing to
	// send.
	inbox history.ID
	// noted is from where on, up to inbox, it was sent every entry, none of which
	// receipts know of yet.
	noted history.ID
}

// pass moves past id without sending what lies there, and returns what was sent
// before it, empty if that is nothing.
func (t *track) pass(id history.ID) history.Range {
	run := history.Range{From: t.noted, To: t.inbox}
	t.inbox, t.noted = id, id
	return run
}

// follow moves over a page that is sent, and gives done what was sent before each
// of its gaps.
func (t *track) follow(p *history.Page, done func(history.Range)) {
	gaps := p.Gaps
	for i := range p.Messages {
		m := &p.Messages[i]
		if m.Kind == history.Broadcast || m.Ephemeral || m.ID <= t.inbox {
			continue
		}
		for len(gaps) > 0 && gaps[0] < m.ID {
			gaps = gaps[1:]
		}
		if len(gaps) > 0 && gaps[0] == m.ID {
			done(t.pass(m.ID - 1))
		}
		t.inbox = m.ID
	}
	if p.Cursor.Inbox > t.inbox {
		done(t.pass(p.Cursor.Inbox))
	}
}

// leaveOut takes messages out of a page; where they were is a gap.
func leaveOut(p *history.Page, out func(*history.Message) bool) {
	var gaps []history.ID
	messages, left, old := p.Messages[:0], false, p.Gaps
	for i := range p.Messages {
		m := &p.Messages[i]
		inbox := m.Kind != history.Broadcast
		if inbox && len(old) > 0 && old[0] == m.ID {
			old, left = old[1:], true
		}
		if out(m) {
			left = left || inbox
			continue
		}
		if inbox && left {
			gaps, left = append(gaps, m.ID), false
		}
		messages = append(messages, *m)
	}
	clear(p.Messages[len(messages):])
	p.Messages, p.Gaps = messages, gaps
}
