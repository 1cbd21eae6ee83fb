package watch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"pushd.example/internal/history"
)

// ErrPosition: not a position in the events of this system, or damaged.
var ErrPosition = errors.New("bad position")

// Kind is what an [Event] says, one bit each; several together are a set of
// kinds.
type Kind uint8

// The kinds of events.
const (
	// Connected: the user has a connection, and had none before.
	Connected Kind = 1 << iota
	// Disconnected: for [Linger] the user has had no connection.
	Disconnected
	// Acked: the user's read mark moved, over any transport.
	Acked
	// Delivered: a unicast or multicast was delivered to the user for the first
	// time, to whichever connection, live or in a page. It is recorded when a
	// receipt begins to tell it, up to about a second after the delivery.
	Delivered
	// Unacked: Push.UnackedAfter has passed, the user has not acked the message,
	// and it is still there: not expired, recalled, replaced or dropped.
	Unacked

	// AllKinds is all of them.
	AllKinds Kind = 1<<iota - 1
)

var kindWords = [...]string{"connected", "disconnected", "acked", "delivered", "unacked"}

// ParseKind returns the kind that the API calls so, or false.
func ParseKind(word string) (Kind, bool) {
	for i, w := range kindWords {
		if w == word {
			return 1 << i, true
		}
	}
	return 0, false
}

// words returns the words that the API uses for kinds, in a fixed order.
func words(kinds Kind) (words []string) {
	for i, w := range kindWords {
		if kinds.Has(1 << i) {
			words = append(words, w)
		}
	}
	return words
}

// String returns the words of k.
func (k Kind) String() string { return strings.Join(words(k), ", ") }

// Has says whether k holds all of some kinds.
func (k Kind) Has(some Kind) bool { return k&some == some }

// Presence are the kinds that are recorded together, so that those of each user
// alternate.
const Presence = Connected | Disconnected

// WithPairs returns k with what is recorded together with it.
func (k Kind) WithPairs() Kind {
	if k&Presence != 0 {
		k |= Presence
	}
	return k
}

// Event is something that happened to a user.
type Event struct {
	Kind Kind // one
	// Time is when, in milliseconds' precision, UTC.
	Time time.Time
	User string
	// ID of Delivered is the id under which the user's inbox has the message,
	// and which its connections were sent; ID of Unacked is the one that Append
	// returned. They differ only for a multicast that was given an id of its own
	// in some inbox ([history.Store.Append]).
	ID history.ID
	// Cursor of Acked: where the read mark lies now.
	Cursor history.Cursor
}

const (
	// Linger is how long a user counts as connected after the last connection
	// ended.
	Linger = 3 * time.Second
	// WatchedFor is how long at least a kind is recorded after the last read that
	// asked for it.
	WatchedFor = 10 * time.Minute
	// EventsKept is about how many events are kept.
	EventsKept = 1 << 16
)

// Query asks for some of the events.
type Query struct {
	// Kinds are those to return; at least one.
	Kinds Kind
	// After is where to begin. The zero Position is now: the page has no events,
	// and Next is that place.
	After Position
	// Limit is the most events to return, or one of each part of the log if it
	// has more parts than that; at least 1.
	Limit int
	// Wait is how long to wait if there is none yet.
	Wait time.Duration
}

// Page is some events, oldest first.
type Page struct {
	Events []Event
	// Next continues after this page, whatever its kinds.
	Next Position
	// Lost: some events between After and Next are missing. They were dropped to
	// make room for later ones, nobody had asked for these kinds when they
	// happened, their deliveries were missed ([history.Deliveries.Missed]), or the log is
	// another one by now.
	Lost bool
}

// Events keeps what happened to users, for readers. It costs next to nothing while
// there are none: a kind is recorded from the first ReadEvents that asks for it
// until [WatchedFor] after the last. About [EventsKept] events are kept, however
// old.
//
// The engine records what its Store and [history.Messages] are told: Attach, Detach, Ack
// and RecordDelivered.
// A user is Connected with the first Attach, in whatever process, and
// Disconnected when [Linger] has passed since the last Detach: a user who comes
// back in between has no event. An Attach that fails may count as one that was
// undone at once. If several processes share the data and one dies, the others
// detach what was attached there.
//
// Readers of Unacked find it: a ReadEvents with that kind and a position, whose
// page has room left, checks which pushes are due, and records events about some
// of their recipients, as of now. It returns these events, or the next read does.
// So a push that is due while nobody reads waits, as long as the message is kept,
// and a reader who continues loses nothing. Each recipient is checked once, however
// many readers there are; after a crash perhaps once more.
//
// The events of one user come in the order in which they happened, except that
// Disconnected and Delivered may come after what happened meanwhile. All methods
// may be called from any goroutine. Errors are those of [history.Store].
type Events interface {
	// ReadEvents returns the first events of q.Kinds after q.After. A page may
	// be empty although there are more. Errors: ErrPosition.
	ReadEvents(ctx context.Context, q Query) (Page, error)
}

// Check returns an error unless q can be answered.
func (q Query) Check() error {
	if q.Kinds == 0 || q.Kinds&^AllKinds != 0 {
		return fmt.Errorf("read events of unknown kinds %#x: want some of %v", uint8(q.Kinds), AllKinds)
	}
	if q.Limit < 1 {
		return fmt.Errorf("read at most %d events: the limit is at least 1", q.Limit)
	}
	return nil
}
