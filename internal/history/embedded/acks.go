package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"pushd.example/internal/history"
	"pushd.example/internal/history/engine"
)

// ackLog is the last acks of a user's inbox, engine.AcksKept at most: where the
// read mark lay before the first of them, then where each took it and when. Only
// acks write it.
type ackLog struct {
	from history.ID
	list []pastAck
}

type pastAck struct {
	to history.ID
	at millis
}

func (v *ackLog) add(to history.ID, at millis) {
	if len(v.list) == engine.AcksKept {
		v.from = v.list[0].to
		v.list = append(v.list[:0], v.list[1:]...)
	}
	v.list = append(v.list, pastAck{to, at})
}

// passed returns when the mark passed id; zero if that is not kept.
func (v *ackLog) passed(id history.ID) time.Time {
	if id <= v.from {
		return time.Time{}
	}
	for _, m := range v.list {
		if m.to >= id {
			return m.at.time()
		}
	}
	return time.Time{}
}

func (v *ackLog) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(v.from))
	for _, m := range v.list {
		dst = binary.AppendUvarint(dst, uint64(m.to))
		dst = binary.AppendUvarint(dst, uint64(m.at))
	}
	return dst
}

// readAcks reads user's last acks. If none is kept, the log begins at from, where
// the read mark lies.
func readAcks(r pebble.Reader, user string, from history.ID) (*ackLog, error) {
	value, closer, err := r.Get(appendUserKey(nil, tagAcks, user))
	if errors.Is(err, pebble.ErrNotFound) {
		return &ackLog{from: from}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading acks: %w", err)
	}
	defer closer.Close()
	var fields []uint64
	for len(value) > 0 {
		x, n := binary.Uvarint(value)
		if n <= 0 {
			return nil, fmt.Errorf("reading acks: %w", errDamaged)
		}
		fields, value = append(fields, x), value[n:]
	}
	if len(fields)%2 != 1 {
		return nil, fmt.Errorf("reading acks: %w", errDamaged)
	}
	v := &ackLog{from: history.ID(fields[0])}
	for f := fields[1:]; len(f) > 0; f = f[2:] {
		v.list = append(v.list, pastAck{history.ID(f[0]), millis(f[1])})
	}
	return v, nil
}

// recordAck adds an ack that takes m's read mark in the inbox to an id.
func (c *committer) recordAck(m *member, to history.ID) error {
	if m.acks == nil {
		var err error
		if m.acks, err = readAcks(c.db, m.user, m.mark.id); err != nil {
			return err
		}
	}
	m.acks.add(to, millisOf(c.now))
	return c.batch.Set(appendUserKey(nil, tagAcks, m.user), m.acks.append(nil), nil)
}

// tally counts, for each broadcast, the users whose read mark lies at it. A
// broadcast was acked by the users whose mark lies at it or later. An ack
// decrements the count where the mark was and increments the one where it goes.
type tally struct {
	mu     sync.Mutex // guards counts
	counts map[history.ID]uint64
}

// from returns how many read marks lie at id or later.
func (t *tally) from(id history.ID) (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for at, count := range t.counts {
		if at >= id {
			n += int(count)
		}
	}
	return n
}

// moveTally moves one user's read mark in the broadcast log, to which log
// belongs, from one id to another.
func (c *committer) moveTally(from, to history.ID) error {
	log := &c.heads.broadcasts
	from, to = log.below(from+1), log.below(to+1)
	if from == to {
		return nil
	}
	c.tally.mu.Lock()
	defer c.tally.mu.Unlock()
	if n := c.tally.counts[from]; n > 0 {
		c.tally.counts[from] = n - 1
	}
	if log.has(to) {
		c.tally.counts[to]++
	}
	for _, id := range []history.ID{from, to} {
		if n, ok := c.tally.counts[id]; ok {
			setBody(c.batch, tagTally, id, binary.AppendUvarint(nil, n))
		}
	}
	return nil
}

// forgetTally drops the counts of broadcasts that are no longer kept.
func (c *committer) forgetTally(dropped history.ID) {
	c.tally.mu.Lock()
	defer c.tally.mu.Unlock()
	for id := range c.tally.counts {
		if id <= dropped {
			delete(c.tally.counts, id)
		}
	}
}

func (c *committer) loadTally() error {
	c.tally.counts = map[history.ID]uint64{}
	it, err := c.db.NewIter(&pebble.IterOptions{LowerBound: []byte{tagTally}, UpperBound: []byte{tagTally + 1}})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		count, n := binary.Uvarint(it.Value())
		if n <= 0 || len(it.Key()) != idKeySize {
			return errors.Join(errDamaged, it.Close())
		}
		c.tally.counts[entryID(it.Key())] = count
	}
	return it.Close()
}
