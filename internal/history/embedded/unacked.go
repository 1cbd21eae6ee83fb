package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"pushd.example/internal/history"
)

// A push that asks who has not acked it in time adds a line to a schedule, in the
// batch that stores it: the key says when it is due, the value how many of its
// recipients, in the order of its note, were looked at. Readers of events have it
// looked at, by one goroutine at a time (eventlog). It records events first, and
// stores how far it came after: if we die in between, the events die with us, and
// Open finds the line as it was.

// due is a line of the schedule.
type due struct {
	at     millis
	id     history.ID
	looked int
}

const dueKeySize = 1 + 2*idSize

func appendDueKey(dst []byte, at millis, id history.ID) []byte {
	return appendID(binary.BigEndian.AppendUint64(append(dst, tagDue), uint64(at)), id)
}

func parseDue(key, value []byte) (d due, err error) {
	if len(key) != dueKeySize {
		return d, errDamaged
	}
	d.at, d.id = millis(binary.BigEndian.Uint64(key[1:])), entryID(key)
	if len(value) > 0 {
		r := fieldReader{rest: value}
		if d.looked = int(r.number()); r.damaged {
			return d, errDamaged
		}
	}
	return d, nil
}

// schedule adds the line of r, which was given id.
func (c *committer) schedule(r *request, id history.ID) {
	op := c.batch.SetDeferred(dueKeySize, 0)
	appendDueKey(op.Key[:0], expiry(id, r.UnackedAfter), id)
	_ = op.Finish() // errors only on an indexed batch
}

// recordUnacked implements eventlog.Unacked.
func (s *Store) recordUnacked(most int) (n int, next time.Time, err error) {
	// Whoever asked may have left, and Close be waiting for them.
	if !s.life.TryRLock() {
		return 0, next, history.ErrClosed
	}
	defer s.life.RUnlock()
	if s.closed.Load() {
		return 0, next, history.ErrClosed
	}
	w := sweep{Store: s, most: most}
	err = w.run()
	return w.found, w.next, err
}

// sweep is one look at what is due.
type sweep struct {
	*Store
	most          int
	now           millis
	last          history.ID // the last that is visible
	found, looked int
	next          time.Time // when the first line is due that is left
}

const (
	// sweepMost bounds one sweep, of which others wait for the end: they, or the
	// reader itself, go on.
	sweepMost = 16 << 10
	// namesAtOnce is how many names of a note are read at a time: those before
	// them are passed over each time.
	namesAtOnce = 1024
)

// run looks. A store that is read-only leaves everything as it is: what was looked
// at would come again.
func (w *sweep) run() error {
	if w.fault.isBlown() {
		return nil
	}
	var failed error
	err := w.change(false, func(b *pebble.Batch) error {
		failed = w.lookAll(b)
		return nil // how far it came is stored in any case
	})
	if err != nil && !errors.Is(err, history.ErrReadOnly) {
		failed = errors.Join(failed, err)
	}
	if failed != nil {
		return fmt.Errorf("looking who has not acked: %w", failed)
	}
	return nil
}

// lookAll looks at the lines that are due, and puts into b what becomes of them.
func (w *sweep) lookAll(b *pebble.Batch) error {
	w.last, w.now = w.headsNow().last, millisOf(w.conf.Now())
	it, err := w.db.NewIter(&pebble.IterOptions{
		LowerBound: appendDueKey(nil, w.dueFrom, 0),
		UpperBound: []byte{tagDue + 1},
	})
	if err != nil {
		return err
	}
	defer it.Close()
	// What is yet to become visible is due later than this.
	from := expiry(w.last, history.MinUnackedAfter)
	for ok := it.First(); ok; ok = it.Next() {
		d, err := parseDue(it.Key(), it.Value())
		if err != nil {
			w.passOver("a line of the schedule", err)
			if err := b.Delete(it.Key(), nil); err != nil {
				return err
			}
			continue
		}
		// One behind the last visible is stored, and about to be visible.
		if d.id > w.last || d.at > w.now || w.full() {
			from, w.next = min(from, d.at), d.at.time()
			break
		}
		more, err := w.look(&d)
		if more || err != nil {
			err = errors.Join(err, b.Set(it.Key(), binary.AppendUvarint(nil, uint64(d.looked)), nil))
			from, w.next = min(from, d.at), d.at.time()
		} else {
			err = b.Delete(it.Key(), nil)
		}
		if err != nil {
			return err
		}
	}
	w.dueFrom = from
	return it.Error()
}

func (w *sweep) full() bool {
	return w.found >= w.most || w.looked >= sweepMost || w.closed.Load()
}

// look records who of those that were not looked at has not acked d's message,
// and returns whether there are more of them.
func (w *sweep) look(d *due) (more bool, err error) {
	w.looked++
	a, err := findRecipients(w.db, d.id)
	if errors.Is(err, history.ErrNotFound) {
		return false, nil
	}
	for err == nil && d.looked < a.count && !w.full() {
		err = w.lookAtSome(d, a)
	}
	if errors.Is(err, errDamaged) {
		w.passOver("the recipients of a message", err)
		return false, nil
	}
	return d.looked < a.count, err
}

// passOver says that what is damaged is left out: others wait behind it.
func (w *sweep) passOver(what string, err error) {
	w.conf.Log.Warn("history: who has not acked is not told of "+what, "error", err)
}

func (w *sweep) lookAtSome(d *due, a addressed) error {
	users, err := a.usersFrom(d.looked, namesAtOnce)
	if err != nil {
		return err
	}
	if len(users) == 0 {
		return errDamaged // it has fewer names than it says
	}
	for _, user := range users {
		if w.full() {
			break
		}
		unacked, err := w.unacked(user, d.id)
		switch {
		case errors.Is(err, errDamaged):
			w.passOver("a user", err)
		case err != nil:
			return err
		}
		if unacked && w.events.RecordUnacked(d.id, user, func() bool { return w.before(user, d.id) }) {
			w.found++
		}
		d.looked++
		w.looked++
	}
	return nil
}

// before says whether user's read mark lies before id, as far as is known.
func (s *Store) before(user string, id history.ID) bool {
	m, err := readMeta(s.db, user)
	return err != nil || m.mark.id < id
}

// unacked says whether user has message id and has not acked it.
func (s *Store) unacked(user string, id history.ID) (bool, error) {
	v, err := s.viewNow(user)
	if err != nil {
		return false, err
	}
	defer v.close()
	return v.unacked(id)
}
