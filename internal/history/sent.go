package history

import (
	"context"
	"time"
)

// Sent is about messages after they were sent. A message is known by the id
// that Append returned as long as retention by age keeps what was sent with it,
// a broadcast as long as the log keeps it, whether or not its TTL has ended or
// it was recalled.
//
// All methods may be called from any goroutine. Errors: ErrNotFound for an id
// that no message has, or none any more, and those of [Store].
type Sent interface {
	// KindOf returns how message id was sent.
	KindOf(ctx context.Context, id ID) (Kind, error)

	// Recall takes message id back from everybody: pages, Attach and unread
	// leave it out as they do when a TTL has ended, and its place counts with
	// retention as before. Followers get a Delivery with Recall, under the same
	// promises as one of an append. It is one write for a broadcast and for a
	// multicast, whatever the number of recipients, and durable like an Append.
	// A message may be recalled again: nothing changes, and followers are told
	// again.
	//
	// Where several processes share the data, an inbox in which a multicast has
	// an id of its own knows it by that one too, and its followers are told that
	// one. After ErrUnknown the message may be gone for some recipients only,
	// until Recall is called again.
	Recall(ctx context.Context, id ID) error

	// Outcome returns who has acked message id. It is arithmetic on read marks:
	// nothing is written when a message is stored or delivered, and an ack writes
	// the same however many messages it covers. It names the first most
	// recipients, in the order of their bytes. Recalled or expired messages are
	// counted as any other.
	Outcome(ctx context.Context, id ID, most int) (Outcome, error)
}

// Outcome is what became of a message.
type Outcome struct {
	Kind Kind
	// Recipients counts those whom it was stored for; 0 for a broadcast.
	Recipients int
	// Acked counts the users whose read mark lies at or after it.
	Acked int
	// Users are recipients by name; none of a broadcast.
	Users []UserOutcome
}

// UserOutcome is what one recipient has done with a message.
type UserOutcome struct {
	User  string
	Acked bool
	// AckedAt is when, in milliseconds' precision; zero if that is not known any
	// more: of each user the last AckMoves moves of the read mark are kept.
	AckedAt time.Time
}

// AckMoves is how many moves of a user's read mark are kept with their times.
const AckMoves = 8
