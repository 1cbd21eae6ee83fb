package history

import (
	"context"
	"fmt"
	"time"
)

// Messages tells what became of messages, and takes them back. It knows a message
// by the id that Append returned: a broadcast as long as the log keeps it, any
// other until the age of retention, whether or not it has expired or was recalled.
//
// All methods may be called from any goroutine. Errors: ErrNotFound for an id
// that no message has, or none any more, and those of [Store].
type Messages interface {
	// KindOf returns how message id was sent.
	KindOf(ctx context.Context, id ID) (Kind, error)

	// Recall takes message id back from everybody: pages, Attach and unread
	// leave it out as they do when a TTL has ended, and its entry counts for
	// retention as before. Followers get a Delivery with Recall, under the same
	// promises as that of an append. It is one write for a broadcast and for a
	// multicast, however many recipients they have, and durable like an Append. A
	// second Recall of a message changes nothing, and is delivered again.
	//
	// If several processes share the data, a multicast may have an id of its own
	// in some inbox. Recall takes that id too, and the Delivery for that inbox has
	// it. After ErrUnknown the message may be gone for some recipients only, until
	// Recall is called again.
	Recall(ctx context.Context, id ID) error

	// Receipt returns who got message id and who has acked it. It computes that
	// from read marks and delivered ranges, so that an ack or a RecordDelivered
	// writes the same however many messages it covers. It names the first most
	// recipients, in the order of their bytes. Recalled and expired messages count
	// as any other.
	Receipt(ctx context.Context, id ID, most int) (Receipt, error)

	// RecordDelivered adds to what Receipt knows of deliveries, and records an
	// event Delivered (package watch) for each entry of an inbox that was not known to
	// be delivered before, with the time that Receipt gives it, or now where it
	// gives none. The event is recorded in the step that stores the delivery, if
	// that kind is watched. So events and receipts agree, except for entries that
	// retention has dropped since: they have no event.
	//
	// Callers gather deliveries for a while, about a second. When it returns nil
	// they are as durable as an append of durability Memory. After an error part
	// of them may be recorded; the caller does not record them again, but sets
	// Missed in the next call. Counts of what the broadcast log does not keep are
	// left out. Errors: ErrUser for a bad user, and then nothing is recorded.
	RecordDelivered(ctx context.Context, d Deliveries) error
}

// Deliveries are what the kernel has taken for connections.
type Deliveries struct {
	// Inboxes are ranges of users' inboxes of which a connection was sent every
	// entry that it may see. The same user may come several times.
	Inboxes []UserRange
	// Broadcasts counts the connections that each broadcast went to since the last
	// call.
	Broadcasts map[ID]int
	// Missed: deliveries before these were not recorded, since they were dropped
	// or an earlier call failed. Those who watch Delivered are told that they
	// have lost events.
	Missed bool
}

// Range is a part of an inbox: the entries with From < id <= To.
type Range struct {
	From, To ID
	// At is when the first of them was delivered, in milliseconds' precision;
	// zero if that is not known any more.
	At time.Time
}

// UserRange is a Range of a user's inbox.
type UserRange struct {
	User string
	Range
}

// Check returns an error unless d can be recorded.
func (d Deliveries) Check() error {
	for i := range d.Inboxes {
		u := &d.Inboxes[i]
		if err := CheckUser(u.User); err != nil {
			return err
		}
		if u.From > MaxID || u.To > MaxID {
			return fmt.Errorf("delivered range from %d to %d: ids are at most %d", u.From, u.To, MaxID)
		}
	}
	for id, n := range d.Broadcasts {
		if n < 0 {
			return fmt.Errorf("broadcast %d delivered to %d connections: want 0 or more", id, n)
		}
	}
	return nil
}

// Receipt is what became of a message.
type Receipt struct {
	Kind Kind
	// Recipients counts the users whom it was stored for; 0 for a broadcast.
	Recipients int
	// Delivered counts the recipients to whom it was delivered, as far as that
	// is still known; of a broadcast, the connections.
	Delivered int
	// Acked counts the users whose read mark lies at or after it.
	Acked int
	// Users are recipients by name; none of a broadcast.
	Users []UserReceipt
}

// UserReceipt is what one recipient has done with a message.
type UserReceipt struct {
	User string
	// Delivered: a recorded range holds it. DeliveredAt says when; zero if that is
	// not known any more.
	Delivered   bool
	DeliveredAt time.Time
	// Acked: the read mark lies at or after the message.
	Acked bool
	// AckedAt is when, in milliseconds' precision; zero if that is not known any
	// more: the last 8 acks of each user are kept.
	AckedAt time.Time
}
