package embedded

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"pushd.example/internal/history"
	"pushd.example/internal/history/engine"
)

// To whom a message went is noted when it is stored: it is what a recall and a
// receipt begin with. The notes of a group lie in one record, under the first of
// their ids: a key for each unicast would be a third write, beside the entry and
// the user's meta, a line in a record costs next to nothing (with 32 callers no
// difference was to be seen). The record is a list of
//
//	id, less the first | kind | number of users | size of the names | names
//
// with numbers as uvarints and names as engine.AppendName writes them.

// addressed is to whom a message went.
type addressed struct {
	kind  history.Kind
	count int
	names []byte
}

// note adds the recipients of r, which was given id, to the group's record.
func (c *committer) note(r *request, id history.ID) {
	if len(c.noted) == 0 {
		c.notedFrom = id
	}
	c.names = appendNames(c.names[:0], r.targets)
	c.noted = binary.AppendUvarint(c.noted, uint64(id-c.notedFrom))
	c.noted = append(c.noted, byte(r.Kind))
	c.noted = binary.AppendUvarint(c.noted, uint64(len(r.targets)))
	c.noted = binary.AppendUvarint(c.noted, uint64(len(c.names)))
	c.noted = append(c.noted, c.names...)
}

func appendNames(dst []byte, targets []target) []byte {
	last := ""
	for i := range targets {
		dst = engine.AppendName(dst, last, targets[i].user)
		last = targets[i].user
	}
	return dst
}

// maxNoted is the most bytes of the group's record whose memory is kept for the
// next group.
const maxNoted = 64 << 10

// writeNotes puts the group's record into the batch.
func (c *committer) writeNotes() {
	if len(c.noted) > 0 {
		setBody(c.batch, tagRecipients, c.notedFrom, c.noted)
	}
	c.noted = c.noted[:0]
	if cap(c.noted) > maxNoted {
		c.noted, c.names = nil, nil
	}
}

// readNote finds to whom message id, which is no broadcast, went.
func readNote(r pebble.Reader, id history.ID) (a addressed, err error) {
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
		if at, a, rest, err = parseNote(rest); err != nil {
			return a, fmt.Errorf("looking up recipients: %w", err)
		}
		if first+at == id {
			a.names = slices.Clone(a.names)
			return a, nil
		}
	}
	return addressed{}, history.ErrNotFound
}

// parseNote reads one note, and returns what lies behind it.
func parseNote(b []byte) (at history.ID, a addressed, rest []byte, err error) {
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
