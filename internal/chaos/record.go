package chaos

import (
	"fmt"
	"time"

	"pushd.example/internal/history"
)

// Outcome is what a publisher knows of a push in the end.
type Outcome uint8

const (
	// Unknown: it may have been stored or not.
	Unknown Outcome = iota
	// OK: it was answered with an id.
	OK
	// Failed: the store said that nothing was done.
	Failed
)

// Push is one message as its publisher saw it, all attempts with its key taken
// together.
type Push struct {
	// Key names the message: it is its idempotency key and its data.
	Key   string
	Kind  history.Kind
	Users []string // none of a broadcast

	Outcome Outcome
	ID      history.ID // with OK
	// Replicated: OK means that a replica has it.
	Replicated bool
	// Invoked is when the first attempt began, Returned when the last ended,
	// on one clock for all publishers.
	Invoked, Returned time.Duration
}

// to reports whether user is a recipient.
func (p *Push) to(user string) bool {
	if p.Kind == history.Broadcast {
		return true
	}
	for _, u := range p.Users {
		if u == user {
			return true
		}
	}
	return false
}

// mayGo reports whether p may be gone from r although it was answered OK.
func (r *Record) mayGo(p *Push) bool { return r.MayLose && !p.Replicated }

// Seen is a message as somebody read it.
type Seen struct {
	ID   history.ID
	Kind history.Kind
	Key  string
}

// String writes s for people.
func (s Seen) String() string { return fmt.Sprintf("%d:%s:%q", s.ID, s.Kind.Log(), s.Key) }

// Session is what one connection of a client brought, in the order of arrival.
type Session struct {
	// From is the cursor in hello, at which the session begins.
	From history.Cursor
	Seen []Seen
	// Truncated: the server said that retention cut something.
	Truncated bool
}

// Client is a client's whole life: sessions one after the other, each resuming
// where the one before ended.
type Client struct {
	User     string
	Sessions []Session
}

// History is a user's history, read to its end when all was healed.
type History struct {
	Messages []Seen
	Unread   int
}

// Record is a whole run. Nothing in it was read by anybody (no acks), and
// retention was too long to matter.
type Record struct {
	Pushes    []Push
	Clients   []Client // all began at the beginning of history
	Histories map[string]History
	// MayLose: messages that only a master had when it died may be gone, if they
	// were answered at all at durability "memory". Messages that are
	// Replicated must be there, and everything else is still checked.
	MayLose bool
	// Partitioned: the store's users are cut into parts, as in a Cluster. A
	// multicast may have another, later id at some of its users than was
	// answered, and with an unknown outcome be stored for some of them only.
	Partitioned bool
}

// Violation is a broken promise.
type Violation struct {
	Kind Kind
	User string
	// Detail names the messages.
	Detail string
}

// Kind is a kind of violation.
type Kind string

// The violations.
const (
	Lost       Kind = "lost"                   // answered OK, or in the history, and not there
	Twice      Kind = "twice"                  // one message, two ids; or the same one again in a session
	OutOfOrder Kind = "out of order"           // ids that fall, or that deny who was first
	Phantom    Kind = "phantom"                // never sent, sent to somebody else, or said to have failed
	OneID      Kind = "two messages at one id" // in one log of one user
	OtherID    Kind = "another id"             // than the one that was answered
	Torn       Kind = "torn"                   // stored for some of its users
	Truncated  Kind = "truncated"              // said to be, without a reason
	Unread     Kind = "unread"                 // counted wrongly
)

// String writes v for people.
func (v Violation) String() string { return fmt.Sprintf("%s: %s: %s", v.User, v.Kind, v.Detail) }
