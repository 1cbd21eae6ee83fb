package history

import (
	"context"
	"fmt"
	"time"
	"unicode/utf8"
)

// Kind is how a message was sent.
type Kind uint8

// The kinds. Unicasts and multicasts lie in inboxes, broadcasts in the
// broadcast log.
const (
	Unicast Kind = iota + 1
	Multicast
	Broadcast
)

// String returns the word that the API uses.
func (k Kind) String() string {
	switch k {
	case Unicast:
		return "unicast"
	case Multicast:
		return "multicast"
	case Broadcast:
		return "broadcast"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Log returns the word for the log that messages of this kind lie in.
func (k Kind) Log() string {
	if k == Broadcast {
		return "broadcast"
	}
	return "inbox"
}

// Durability is what must have happened to a push before Append returns nil.
type Durability uint8

const (
	// AsConfigured: what the engine was opened with.
	AsConfigured Durability = iota
	// Memory: the server that keeps the history has it in memory.
	Memory
	// Replicated: one of its replicas has it as well.
	Replicated
)

// Push is a message on its way in.
type Push struct {
	Kind Kind
	// Users are the recipients: exactly one of a Unicast, one or more of a
	// Multicast (a user named twice counts once), none of a Broadcast.
	Users []string
	// Data is stored as it is. The store keeps no reference to it after
	// Append returns, but followers may: the caller must not change it.
	Data []byte
	// TTL is how long the message is shown, in whole milliseconds, rounded up; 0
	// means as long as retention lets. It counts from the store's clock when the
	// message is stored, which is ID.Time() unless the clock was set back. An engine
	// of several processes counts from ID.Time().
	TTL time.Duration
	// IdempotencyKey makes retries harmless: while it is remembered
	// ([Retention].IdempotencyKeys) an Append with the same key stores nothing,
	// whatever else it asks for. Empty means none. Keys are one name space for all
	// users and kinds. An engine with partitions promises that for a retry of the
	// same push only: two pushes with one key may both be stored.
	IdempotencyKey string
	// CollapseKey, of at most MaxCollapseKey bytes, makes the push replace an older
	// one: in each inbox the newest entry with the same key, unless it lies at or
	// before the read mark; a broadcast replaces the newest broadcast with the same
	// key, for everybody. A replaced message is hidden as if its TTL had ended.
	// Empty means none.
	CollapseKey string
	// UnackedAfter, if not 0, asks for an event Unacked (package watch) for each
	// recipient who has not acked it so long after it was stored, counted as
	// the TTL is. MinUnackedAfter to
	// MaxUnackedAfter, and less than the TTL if there is one; not for a Broadcast.
	// A message that retention has dropped by then has no event.
	UnackedAfter time.Duration
	// Ephemeral: it goes to the connections of now, in its turn among the other
	// appends, and is not kept: no entry, no key, no place in a log. TTL,
	// IdempotencyKey, CollapseKey, UnackedAfter and Durability must be zero.
	Ephemeral bool
	// Durability; an engine of one machine has only one, its sync policy's.
	Durability Durability
	// ExcludeConnection names a connection that need not get the message live,
	// since the message comes from it; at most MaxConnection bytes. The store only
	// passes it on with the delivery. Empty means none.
	ExcludeConnection string
}

// AppendResult is what became of a Push.
type AppendResult struct {
	ID ID
	// Duplicate: the idempotency key was seen before. Nothing was stored, ID is
	// that of the first call, and the counts are 0.
	Duplicate bool
	// Recipients counts the users whom it was stored for, each once; 0 for a
	// broadcast.
	Recipients int
	// Online counts the attached connections that it goes to now, including an
	// excluded one. OnlineUsers counts their users. If several processes share the
	// data, a broadcast counts a user once per process with a connection.
	Online, OnlineUsers int
	// Unknown counts the Recipients whom nothing was stored for before: newcomers,
	// or names that are spelt wrong.
	Unknown int
}

// Message is one message of a history. Its time is ID.Time(). Data is shared and
// must not be changed.
type Message struct {
	ID   ID
	Kind Kind
	Data []byte
	// CollapseKey is the Push's.
	CollapseKey string
	// Ephemeral: it lies in no log. Its id is above those before it; after the
	// store is opened again, another message may get the same id.
	Ephemeral bool
}

// Log returns the word for the log that m lies in.
func (m *Message) Log() string {
	if m.Ephemeral {
		return "none"
	}
	return m.Kind.Log()
}

// Direction is where a page lies.
type Direction uint8

const (
	// Newest: the last Limit messages.
	Newest Direction = iota
	// Forward: the first messages after Query.After.
	Forward
	// Backward: the last messages with an id below Query.Before.
	Backward
)

// Query asks for one page of history.
type Query struct {
	Direction Direction
	After     Cursor // with Forward
	Before    ID     // with Backward
	// Unread leaves out what lies at or before the user's read mark, each
	// message in its own log. A Forward page then begins at max(After, read
	// mark), also for Truncated and Gaps.
	Unread bool
	// Limit is the most messages in the page; at least 1.
	Limit int
	// MaxBytes ends a page before the message whose Data would take the sum
	// past it, though never before the first; 0 means no bound. Newest and
	// Backward count from the newest message of the page.
	MaxBytes int
}

// Page is one page of history, oldest message first. Messages past their TTL
// or retention are not in it.
type Page struct {
	Messages []Message
	// Cursor continues forward after this page: in each log it lies at or
	// after every entry (shown or not) that comes before the next message, and
	// never past the log's head. Next is the message that made HasMore true
	// for Forward, and Before for Backward. If nothing is ahead, and for Newest,
	// it is the head of both logs.
	Cursor Cursor
	// HasMore: there is another message to show in the direction asked (Newest
	// looks backward).
	HasMore bool
	// Unread counts the messages after the read mark that pages would list now.
	Unread int
	// Truncated: retention dropped an entry after Query.After in either log,
	// whether or not its TTL had ended by then. A message that only expired, or
	// was replaced or recalled, truncates nothing. False unless Forward.
	Truncated bool
	// Gaps are the ids, in order, of inbox messages in the page that are directly
	// preceded by omitted inbox entries. The entries lie after the inbox message
	// before it in the page, or after Query.After, and have expired, were recalled
	// or replaced, or retention dropped them. Empty unless Forward.
	Gaps []ID
}

// StartAt is where a connection's messages begin.
type StartAt uint8

const (
	// StartNow: with what is appended after Attach.
	StartNow StartAt = iota
	// StartAfter: after a given cursor.
	StartAfter
	// StartUnread: after the user's read mark.
	StartUnread
)

// Start says where a connection begins and how much of what it missed comes
// with Attach.
type Start struct {
	At     StartAt
	Cursor Cursor // with StartAfter
	// Limit and MaxBytes bound the first page, as in Query.
	Limit    int
	MaxBytes int
}

// Attachment is where a new connection stands.
type Attachment struct {
	// From is where it begins: Page is the Forward page after From. It never
	// lies past the heads. For StartNow it is the head of both logs, and Page
	// holds only Cursor and Unread.
	From Cursor
	Page Page
	// Connections counts the attached connections of the user, on all nodes,
	// this one included.
	Connections int
}

// Recipient is one addressee of a Delivery.
type Recipient struct {
	User string
	// Prev is the id of the entry before this one in the user's inbox, whether
	// or not it is still kept; 0 if there never was one, and for an ephemeral
	// message. A connection whose last inbox id is below Prev has missed an entry,
	// and reads the page after its cursor.
	Prev ID
}

// ReadMark is where a user's read mark lies, and what it leaves unread.
type ReadMark struct {
	Cursor Cursor
	// Unread counts the messages after Cursor that pages would list.
	Unread int
}

// Delivery is one append, recall or ack, as followers get it. They may keep it, but must not
// change what it refers to.
type Delivery struct {
	Message Message
	// Recipients of a unicast or multicast: the users attached to this process,
	// each once, in no particular order.
	Recipients []Recipient
	// Prev of a broadcast: the id of the broadcast before it, whether or not it
	// is still kept; 0 if there never was one, and of an ephemeral one.
	Prev ID
	// ExcludeConnection is the Push's, or that of Ack.
	ExcludeConnection string
	// Recall: the message was taken back (Messages.Recall). Data and all Prev are
	// zero.
	Recall bool
	// Acked, unless nil: the read mark of a user, the one recipient, has moved here.
	// Message has only its ID: the newest message that Unread takes into account
	// has this id. Prev is zero.
	Acked *ReadMark
	// Resync: earlier deliveries may be missing, in all logs. Every connection
	// reads the page after its cursor. Nothing else is set.
	Resync bool
}

// Store keeps histories. All methods may be called from any goroutine, and
// after Close return [ErrClosed].
//
// If its context ends, a method returns the context's error early. The outcome of
// an Append is then unknown: retry with the same idempotency key. If the context
// had ended before the call, the method does nothing.
//
// A cursor past the head of a log counts as that head, since the store may have
// lost its tail. A cursor that lies more than a minute in the future is ErrCursor.
// An argument that Push.Check, Query.Check or Start.Check refuses changes nothing.
type Store interface {
	// Append stores p for all its recipients or for none.
	//
	// Durable: when it returns nil, as the engine's sync policy says.
	// Visible: at once and everywhere (Page, Attach, followers) when it is
	// durable, never before. Ordered: ids rise in the order of visibility, over
	// all users and both logs of an engine that is one process, and always
	// within each log. Idempotent: by p.IdempotencyKey. An ephemeral p is neither
	// durable nor visible: only followers get it. Errors: ErrUser, ErrReadOnly,
	// ErrUnavailable, ErrUnknown.
	//
	// If several processes share the data, followers get it soon after, and a
	// multicast to many is not one step: some inboxes have it before others. After
	// ErrUnknown some may lack it until a retry with the same key completes it. Its
	// id is AppendResult.ID, except in an inbox that got a later id meanwhile:
	// there it has an id of its own.
	Append(ctx context.Context, p Push) (AppendResult, error)

	// Attach registers one connection of user and reads the first page after
	// its start, in one atomic step: every message is either covered by the
	// heads that Attach saw or delivered to the follower after it. One Detach
	// undoes one Attach. Errors: ErrUser, ErrCursor.
	Attach(ctx context.Context, user string, s Start) (Attachment, error)

	// Detach undoes one Attach of user that returned no error.
	Detach(user string)

	// Page reads one page of user's history, as it is at one moment. Any user
	// has a history. Errors: ErrUser, ErrCursor.
	Page(ctx context.Context, user string, q Query) (Page, error)

	// Ack moves user's read mark to c, in each log only ever forward and at
	// most to the head, and returns where it lies now. Durable like an Append. If
	// the mark moves, followers get a Delivery with Acked, under the same promises
	// as that of an append. exclude names a connection that need not get it, since
	// it acks and has the answer; empty means none. Errors: ErrUser, ErrCursor,
	// ErrReadOnly.
	//
	// Acks of one user that run at the same time may be delivered with the mark
	// that the last of them reached.
	Ack(ctx context.Context, user string, c Cursor, exclude string) (ReadMark, error)

	// Follow calls deliver with every later append, recall and ack that concerns an attached
	// connection: in id order, one call at a time, never two for the same append,
	// and before Append returns. deliver must not keep the slice, nor call the
	// store. While deliver blocks, appends wait, so that a slow node slows its
	// publishers down; so do recalls and acks, and reads do not. There is one follower at a time: Follow
	// panics on a second. stop returns when deliver will not be called any more;
	// then another may follow. Broadcasts concern every connection; while none is
	// attached, deliver is not called.
	//
	// An ephemeral append is delivered in its turn, once or not at all. If several
	// processes share the data, its turn is that among the appends of one
	// partition.
	//
	// If several processes share the data, a delivery comes soon after its Append
	// returned in whichever process, in id order within each log. No append waits
	// for deliver; if it is too slow, deliveries are left out. After any that may
	// be missing comes a Delivery with Resync. deliver may also get messages that
	// an Attach has covered, and broadcasts while nothing is attached.
	Follow(deliver func([]Delivery)) (stop func())

	// Ready returns nil while appends are possible, else why not.
	Ready() error

	// Close waits for running appends, syncs what was appended under any
	// policy, and closes the data. The second Close returns nil.
	Close() error
}

// Retention says how long things are kept. The zero value of each field takes
// the default. Entries count whether or not their TTL has ended. At time now
// an age drops the entries with an id below FirstIDAt(now - age). An engine of one
// process deletes them only when two readings of the clock, an hour or an opening
// apart, call them old, so that a clock that was wrong once loses nothing.
type Retention struct {
	// InboxCount is the most entries that an inbox shows. Default 1,000.
	InboxCount int
	// InboxAge is how long an inbox shows an entry. Default 30 days.
	InboxAge time.Duration
	// BroadcastCount is the most broadcasts kept. Default 10,000.
	BroadcastCount int
	// BroadcastAge is how long a broadcast is shown. Default 30 days.
	BroadcastAge time.Duration
	// IdempotencyKeys is how long an idempotency key is remembered, from the ID.Time() of
	// the message that it names. Default 24 hours.
	IdempotencyKeys time.Duration
}

// WithDefaults returns r with its zero fields set to the defaults.
func (r Retention) WithDefaults() Retention {
	set := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	if r.InboxCount == 0 {
		r.InboxCount = 1000
	}
	if r.BroadcastCount == 0 {
		r.BroadcastCount = 10000
	}
	set(&r.InboxAge, 30*24*time.Hour)
	set(&r.BroadcastAge, 30*24*time.Hour)
	set(&r.IdempotencyKeys, 24*time.Hour)
	return r
}

// MinUnackedAfter and MaxUnackedAfter bound Push.UnackedAfter.
const (
	MinUnackedAfter = time.Second
	MaxUnackedAfter = 7 * 24 * time.Hour
)

// MaxUser is the most bytes in a user.
const MaxUser = 128

// MaxCollapseKey is the most bytes in a collapse key.
const MaxCollapseKey = 128

// MaxConnection is the most bytes in the name of a connection.
const MaxConnection = 128

// CheckUser returns an error wrapping [ErrUser] unless user is 1 to MaxUser
// bytes of UTF-8.
func CheckUser(user string) error { return checkName(ErrUser, user, MaxUser) }

// checkName returns an error wrapping bad unless name is 1 to most bytes of UTF-8.
func checkName(bad error, name string, most int) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: it is empty", bad)
	case len(name) > most:
		return fmt.Errorf("%w: at most %d bytes, got %d", bad, most, len(name))
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: not valid UTF-8", bad)
	}
	return nil
}
