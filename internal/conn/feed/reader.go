package feed

import "pushd.example/internal/history"

// Reader is how far one reader of a user's history is. The zero Reader is
// attaching.
type Reader struct {
	// at has the last ids that were sent, or passed over because there was
	// nothing to send.
	at history.Cursor
	// unreported is where the run begins that was sent and is not reported: in
	// each log, everything after it and up to at.
	unreported history.Cursor
	state      State
	behind     bool // something was appended that the page asked for last may lack
	more       bool // the last page was not the last

	// Listed and Since are for the owner, who keeps a list of the readers that
	// have something to report: this one is in it, and since when, on a clock of
	// the owner's.
	Listed bool
	Since  uint32
}

// State says what a reader does with what is appended.
type State uint8

const (
	// Attaching: the store is asked where the reader stands.
	Attaching State = iota
	// Replaying: pages are read and sent. One of them has what is appended
	// meanwhile.
	Replaying
	// Live: what is appended is sent as it comes.
	Live
)

// Log is one of the two logs of a history.
type Log uint8

// The logs.
const (
	Inbox Log = iota
	Broadcasts
)

// Run is a part of a log: the entries with From < id <= To.
type Run struct {
	Log      Log
	From, To history.ID
}

// Empty reports whether nothing can lie in r.
func (r Run) Empty() bool { return r.From >= r.To }

// Kind is what a reader is offered.
type Kind uint8

const (
	// Message is in a log.
	Message Kind = iota
	// Ephemeral is a message in no log: it has no place in the reader's order
	// but the moment at which it comes.
	Ephemeral
	// Recall takes a message back.
	Recall
	// Acked tells where the user's read mark lies now.
	Acked
)

// Delivery is what is offered: one message, recall or ack, or several broadcasts that
// follow one another in their log.
type Delivery struct {
	Kind Kind
	Log  Log
	// First and Last are the ids of the first and the last message, Prev is the
	// id in the log before First. They mean nothing unless Kind is Message.
	Prev, First, Last history.ID
}

// Action is what the owner of a reader does with a delivery.
type Action uint8

const (
	// Skip: there is nothing to do.
	Skip Action = iota
	// Send: send it now.
	Send
	// SendEach: offer the messages one by one, since the reader has the first
	// of them already.
	SendEach
	// SendIfIdle: send it if nothing waits for the reader to take it, else drop
	// it. It would come late, and take the room of what must not be lost.
	SendIfIdle
	// Miss: the reader does not get it: it is ephemeral, and the reader is not
	// live yet.
	Miss
	// Read: something before it is missing. Call Fetch and read the page, which
	// has the delivery too.
	Read
)

// State returns the reader's state.
func (r *Reader) State() State { return r.state }

// At returns the last ids that were sent or passed over.
func (r *Reader) At() history.Cursor { return r.at }

// Begin takes the store's answer to an attach: the reader stands at from. The
// page that came with it follows.
func (r *Reader) Begin(from history.Cursor) {
	r.at, r.unreported, r.state = from, from, Replaying
}

// Offer moves the reader past d if it is to be sent, or is excluded from those
// who get it. An excluded message ends the run that was sent before it: that run
// is returned, else an empty one.
func (r *Reader) Offer(d Delivery, excluded bool) (Action, Run) {
	switch {
	case d.Kind == Recall:
		if r.state == Attaching {
			return Skip, Run{} // its first page is without the message
		}
		return Send, Run{}
	case d.Kind == Acked:
		if excluded || r.state == Attaching {
			return Skip, Run{} // the owner of one that attaches asks for the mark
		}
		return Send, Run{}
	case d.Kind == Ephemeral:
		switch {
		case excluded:
			return Skip, Run{}
		case r.state < Live:
			return Miss, Run{}
		}
		return SendIfIdle, Run{}
	case r.state < Live:
		r.behind = true
		return Skip, Run{}
	}
	at, _ := r.in(d.Log)
	switch {
	case d.Last <= *at:
		return Skip, Run{} // came with a page
	case d.Prev > *at:
		return Read, Run{}
	case excluded:
		return Skip, r.pass(d.Log, d.Last)
	case d.First <= *at:
		return SendEach, Run{}
	}
	*at = d.Last
	return Send, Run{}
}

// Page moves the reader over a page that it is sent. closed gets each run that
// ends on the way: the page's gaps end those of the inbox; broadcasts come as
// runs of one, since a page does not tell what it leaves out of their log.
func (r *Reader) Page(p *history.Page, closed func(Run)) {
	r.more = p.HasMore
	gaps := p.Gaps
	for i := range p.Messages {
		m := &p.Messages[i]
		switch {
		case m.Ephemeral:
		case m.Kind == history.Broadcast:
			end(closed, r.pass(Broadcasts, m.ID-1))
			end(closed, Run{Broadcasts, m.ID - 1, m.ID})
			r.at.Broadcast, r.unreported.Broadcast = m.ID, m.ID
		default:
			for len(gaps) > 0 && gaps[0] < m.ID {
				gaps = gaps[1:]
			}
			if len(gaps) > 0 && gaps[0] == m.ID {
				end(closed, r.pass(Inbox, m.ID-1))
			}
			r.at.Inbox = m.ID
		}
	}
	// Entries between the last message and the page's end are not shown.
	if p.Cursor.Inbox > r.at.Inbox {
		end(closed, r.pass(Inbox, p.Cursor.Inbox))
	}
	if p.Cursor.Broadcast > r.at.Broadcast {
		end(closed, r.pass(Broadcasts, p.Cursor.Broadcast))
	}
}

func end(closed func(Run), run Run) {
	if !run.Empty() {
		closed(run)
	}
}

// Next is called when the reader has taken all that it was sent of a page. It
// reports whether there is another to read, which begins with Fetch; else the
// reader is live.
func (r *Reader) Next() (read bool) {
	if r.more || r.behind {
		return true
	}
	r.state = Live
	return false
}

// Fetch returns where the next page begins. The reader replays from now on.
func (r *Reader) Fetch() history.Cursor {
	r.state, r.behind = Replaying, false // the page has whatever was appended until now
	return r.at
}

// FallBehind makes a live reader replay: it has no room for what comes.
func (r *Reader) FallBehind() {
	r.behind = true
	if r.state == Live {
		r.state = Replaying
	}
}

// Resync is called when deliveries may have been missed. It reports whether the
// reader is live: then its owner calls Fetch and reads the page. Others read a
// page anyway, and are made to read another.
func (r *Reader) Resync() (read bool) {
	r.behind = r.state != Live
	return r.state == Live
}

// Unsent is called for a message that the reader was moved past and that was
// not sent after all. It returns the run before it. Calls come in the order of
// ids, and before Taken.
func (r *Reader) Unsent(log Log, id history.ID) Run {
	_, unreported := r.in(log)
	run := Run{log, *unreported, id - 1}
	*unreported = max(*unreported, id)
	return run
}

// Taken returns what was sent up to a position and not reported yet, in each
// log; from now on it is.
func (r *Reader) Taken(upTo history.Cursor) (inbox, broadcasts Run) {
	upTo = upTo.Min(r.at).Max(r.unreported)
	inbox = Run{Inbox, r.unreported.Inbox, upTo.Inbox}
	broadcasts = Run{Broadcasts, r.unreported.Broadcast, upTo.Broadcast}
	r.unreported = upTo
	return inbox, broadcasts
}

// Unreported returns where the runs begin that were sent and are not reported.
func (r *Reader) Unreported() history.Cursor { return r.unreported }

// pass moves past id without sending what lies there, and returns what was sent
// before it.
func (r *Reader) pass(log Log, id history.ID) Run {
	at, unreported := r.in(log)
	run := Run{log, *unreported, *at}
	*at, *unreported = id, id
	return run
}

// in returns the reader's two positions in a log.
func (r *Reader) in(log Log) (at, unreported *history.ID) {
	if log == Broadcasts {
		return &r.at.Broadcast, &r.unreported.Broadcast
	}
	return &r.at.Inbox, &r.unreported.Inbox
}
