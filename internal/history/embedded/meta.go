package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"pushd.example/internal/history"
)

// place is an entry of an inbox: its id and its position.
type place struct {
	id  history.ID
	seq uint64
}

// meta is what is known of a user without looking into the inbox. The zero
// meta is that of a user nobody has written to.
type meta struct {
	// last is the newest entry ever.
	last place
	// trimmed is the newest entry taken off the disk; all before it are gone
	// too, and all after it are there.
	trimmed place
	// oldest is the id of the entry after trimmed, or less; 0 if there is none.
	// While it is within the age that retention allows, so are all.
	oldest history.ID
	// mark is the read mark in the inbox, markBroadcast in the broadcast log.
	// mark.seq is the position of the last entry at or before mark.id; it may
	// be any up to trimmed.seq if that entry is gone.
	mark          place
	markBroadcast history.ID
	// lastTTL is the position of the newest entry that expires or was replaced:
	// after it, unread needs no look into the inbox.
	lastTTL uint64
}

const metaFields = 9

func (m *meta) fields() [metaFields]*uint64 {
	return [...]*uint64{
		(*uint64)(&m.last.id), &m.last.seq,
		(*uint64)(&m.trimmed.id), &m.trimmed.seq, (*uint64)(&m.oldest),
		(*uint64)(&m.mark.id), &m.mark.seq, (*uint64)(&m.markBroadcast),
		&m.lastTTL,
	}
}

const metaMax = metaFields * binary.MaxVarintLen64

func (m *meta) append(dst []byte) []byte {
	for _, f := range m.fields() {
		dst = binary.AppendUvarint(dst, *f)
	}
	return dst
}

func parseMeta(value []byte) (meta, error) {
	var m meta
	for _, f := range m.fields() {
		x, n := binary.Uvarint(value)
		if n <= 0 {
			return meta{}, errDamaged
		}
		*f, value = x, value[n:]
	}
	return m, nil
}

func (m *meta) markCursor() history.Cursor {
	return history.Cursor{Inbox: m.mark.id, Broadcast: m.markBroadcast}
}

// readMeta reads user's meta, the zero one if there is none.
func readMeta(r pebble.Reader, user string) (meta, error) {
	var buf [2 + history.MaxUser]byte
	value, closer, err := r.Get(appendMetaKey(buf[:0], user))
	if errors.Is(err, pebble.ErrNotFound) {
		return meta{}, nil
	}
	if err != nil {
		return meta{}, fmt.Errorf("reading meta of a user: %w", err)
	}
	defer closer.Close()
	m, err := parseMeta(value)
	if err != nil {
		return meta{}, fmt.Errorf("reading meta of a user: %w", err)
	}
	return m, nil
}
