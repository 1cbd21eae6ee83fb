package embedded

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"pushd.example/internal/history"
	"pushd.example/internal/history/engine"
)

// The recipients of a message are stored with it: a recall and a receipt begin with
// them. All messages of a group share one record, under the first of their ids. A
// key for each unicast would be a third write, beside the entry and the user's
// meta; a line in a record costs next to nothing (with 32 callers no difference
// could be measured). The record is a list of
//
//	id, less the first | kind | number of users | size of the names | names
//
// with numbers as uvarints and names as engine.AppendName writes them.

// addressed is the recipients of one message.
type addressed struct {
	kind  history.Kind
	count int
	names []byte
}

// addRecipients adds the recipients of r, which was given id, to the group's record.
func (c *committer) addRecipients(r *request, id history.ID) {
	if len(c.recipients) == 0 {
		c.recipientsFrom = id
	}
	c.names = appendNames(c.names[:0], r.targets)
	c.recipients = binary.AppendUvarint(c.recipients, uint64(id-c.recipientsFrom))
	c.recipients = append(c.recipients, byte(r.Kind))
	c.recipients = binary.AppendUvarint(c.recipients, uint64(len(r.targets)))
	c.recipients = binary.AppendUvarint(c.recipients, uint64(len(c.names)))
	c.recipients = append(c.recipients, c.names...)
}

func appendNames(dst []byte, targets []target) []byte {
	last := ""
	for i := range targets {
		dst = engine.AppendName(dst, last, targets[i].user)
		last = targets[i].user
	}
	return dst
}

// maxRecipients is the most bytes of a group's record whose memory is kept for the
// next group.
const maxRecipients = 64 << 10

// writeRecipients puts the group's record into the batch.
func (c *committer) writeRecipients() {
	if len(c.recipients) > 0 {
		setBody(c.batch, tagRecipients, c.recipientsFrom, c.recipients)
	}
	c.recipients = c.recipients[:0]
	if cap(c.recipients) > maxRecipients {
		c.recipients, c.names = nil, nil
	}
}

// findRecipients returns the recipients of message id, which is no broadcast.
func findRecipients(r pebble.Reader, id history.ID) (a addressed, err error) {
	it, err := r.NewIter(&pebble.IterOptions{
		LowerBound: []byte{tagRecipients},
		UpperBound: appendIDKey(nil, tagRecipients, id+1),
	})
	if err != nil {
		return a, fmt.Errorf("looking up recipients: %w", err)
	}
	defer it.Close()
	if !it.Last() {
		if err := it.Error(); err != nil {
			return a, fmt.Errorf("looking up recipients: %w", err)
		}
		return a, history.ErrNotFound
	}
	first, rest := entryID(it.Key()), it.Value()
	for len(rest) > 0 {
		var at history.ID
		if at, a, rest, err = parseRecipients(rest); err != nil {
			return a, fmt.Errorf("looking up recipients: %w", err)
		}
		if first+at == id {
			a.names = slices.Clone(a.names)
			return a, nil
		}
	}
	return addressed{}, history.ErrNotFound
}

// parseRecipients reads the recipients of one message, and returns the rest of the
// record. The id is relative to the first of the record.
func parseRecipients(b []byte) (at history.ID, a addressed, rest []byte, err error) {
	field := func() uint64 {
		x, n := binary.Uvarint(b)
		if n <= 0 {
			b, err = nil, errDamaged
			return 0
		}
		b = b[n:]
		return x
	}
	at = history.ID(field())
	a.kind = history.Kind(field())
	a.count = int(field())
	size := field()
	if err != nil || size > uint64(len(b)) {
		return 0, a, nil, errDamaged
	}
	a.names = b[:size]
	return at, a, b[size:], nil
}

// users returns the names.
func (a addressed) users() ([]string, error) { return a.usersFrom(0, a.count) }

// usersFrom returns at most most of the names, those after the first skip.
func (a addressed) usersFrom(skip, most int) ([]string, error) {
	users, ok := engine.ParseNames(a.names, skip, most)
	if !ok {
		return nil, fmt.Errorf("reading recipients: %w", errDamaged)
	}
	return users, nil
}
