package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"pushd.example/internal/history"
)

// A push with UnackedAfter adds a line to a schedule, in the batch that stores it:
// the key says when it is due, the value how many of its recipients, in the order
// in which they are stored, were checked. Readers of events start a sweep over the
// lines that are due, one at a time (eventlog). It records events first, and stores
// how far it came afterwards: if we die in between, the events die with us, and
// Open finds the line as it was.

// due is a line of the schedule.
type due struct {
	at      millis
	id      history.ID
	checked int
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
		if d.checked = int(r.number()); r.damaged {
			return d, errDamaged
		}
	}
	return d, nil
}

// schedule adds the line of r, which was given id.
func (c *committer) schedule(r *request, id history.ID) {
	op := c.batch.SetDeferred(dueKeySize, 0)
	appendDueKey(op.Key[:0], expiry(millisOf(c.now), r.UnackedAfter), id)
	_ = op.Finish() // errors only on an indexed batch
}

// recordUnacked implements eventlog.Unacked.
func (s *Store) recordUnacked(most int) (n int, next time.Time, err error) {
	// The reader may have left, and Close or the healer may hold the lock.
	if !s.life.TryRLock() {
		if s.closed.Load() {
			return 0, next, history.ErrClosed
		}
		return 0, s.conf.Now().Add(healPause), nil
	}
	defer s.life.RUnlock()
	if err := s.usable(); err != nil {
		return 0, next, err
	}
	w := sweep{Store: s, most: most}
	err = w.run()
	return w.found, w.next, err
}

// sweep is one check of the pushes that are due.
type sweep struct {
	*Store
	most           int
	now            millis
	last           history.ID // the last that is visible
	found, checked int
	next           time.Time // when the first line is due that is left
}

const (
	// sweepMost is the most recipients that one sweep checks: other readers wait
	// for its end, and the next read continues.
	sweepMost = 16 << 10
	// namesAtOnce is how many recipients of a push are read at a time. Reading
	// skips those before them each time.
	namesAtOnce = 1024
)

// run does the sweep. A read-only store skips it: it could not store how far it
// came, and would record the same events again.
func (w *sweep) run() error {
	if w.fault.Load().isBlown() {
		return nil
	}
	var failed error
	err := w.change(false, func(b *pebble.Batch) error {
		failed = w.checkAll(b)
		return nil // how far it came is stored in any case
	})
	if err != nil && !errors.Is(err, history.ErrReadOnly) {
		failed = errors.Join(failed, err)
	}
	if failed != nil {
		return fmt.Errorf("checking for unacked messages: %w", failed)
	}
	return nil
}

// checkAll checks the lines that are due, and puts their changes into b.
func (w *sweep) checkAll(b *pebble.Batch) error {
	at := w.headsNow()
	w.last, w.now = at.last, millisOf(w.conf.Now())
	if at.setBack != w.sweptBack { // lines before dueFrom may have come
		w.dueFrom, w.sweptBack = 0, at.setBack
	}
	it, err := w.db.NewIter(&pebble.IterOptions{
		LowerBound: appendDueKey(nil, w.dueFrom, 0),
		UpperBound: []byte{tagDue + 1},
	})
	if err != nil {
		return err
	}
	defer it.Close()
	// A push that is not yet visible is due later than this, unless the clock was
	// set back before it.
	from := expiry(at.at, history.MinUnackedAfter)
	for ok := it.First(); ok; ok = it.Next() {
		d, err := parseDue(it.Key(), it.Value())
		if err != nil {
			w.passOver("a line of the schedule", err)
			if err := b.Delete(it.Key(), nil); err != nil {
				return err
			}
			continue
		}
		// A push after the last visible one is stored, and about to become visible.
		if d.id > w.last || d.at > w.now || w.full() {
			from, w.next = min(from, d.at), d.at.time()
			break
		}
		more, err := w.check(&d)
		if more || err != nil {
			err = errors.Join(err, b.Set(it.Key(), binary.AppendUvarint(nil, uint64(d.checked)), nil))
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
	return w.found >= w.most || w.checked >= sweepMost || w.closed.Load()
}

// check records the recipients of d's message who have not acked it, of those that
// were not checked before, and returns whether there are more.
func (w *sweep) check(d *due) (more bool, err error) {
	w.checked++
	a, err := findRecipients(w.db, d.id)
	if errors.Is(err, history.ErrNotFound) {
		return false, nil
	}
	for err == nil && d.checked < a.count && !w.full() {
		err = w.checkSome(d, a)
	}
	if errors.Is(err, errDamaged) {
		w.passOver("the recipients of a message", err)
		return false, nil
	}
	return d.checked < a.count, err
}

// passOver logs that a damaged record is skipped, so that those behind it are not
// held up.
func (w *sweep) passOver(what string, err error) {
	w.conf.Log.Warn("history: unacked events skip "+what, "error", err)
}

func (w *sweep) checkSome(d *due, a addressed) error {
	users, err := a.usersFrom(d.checked, namesAtOnce)
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
		d.checked++
		w.checked++
	}
	return nil
}

// before says whether user's read mark lies before id. If it cannot be read, it
// counts as before.
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
