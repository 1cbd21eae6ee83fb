package embedded

import (
	"encoding/binary"
	"errors"
	"time"

	"pushd.example/internal/history"
	"pushd.example/internal/history/engine"
)

// millis counts milliseconds since [history.Epoch], as the time in an id does;
// as an expiry, 0 means never.
type millis uint64

func millisOf(t time.Time) millis {
	return millis(engine.SinceEpoch(t))
}

func (m millis) time() time.Time { return history.Epoch.Add(time.Duration(m) * time.Millisecond) }

// expiry returns when a message that was stored at a time is no longer shown. A ttl
// counts from that millisecond and is rounded up to whole ones.
func expiry(stored millis, ttl time.Duration) millis {
	if ttl <= 0 {
		return 0
	}
	return stored + millis(history.WholeMillis(ttl))
}

// past says whether an expiry has come at now.
func (m millis) past(now millis) bool { return m != 0 && m <= now }

// The flags that begin an entry.
const (
	flagMulticast = 1 << iota
	flagRef       // the body lies at 'm' id
	flagExpires   // an expiry follows the position
	flagReplaced  // then the id of the entry that took its place
	flagCollapse  // then a collapse key, preceded by its length
)

// entry is one line of an inbox. On disk its value is
//
//	flags | position | expiry, id, length and key, if flags say so | body, unless flagRef
//
// with numbers as uvarints.
type entry struct {
	id      history.ID
	seq     uint64 // position in the inbox: the first entry ever has 1
	expires millis
	by      history.ID // what took its place, 0 if nothing did
	flags   byte
	// The iterator's, copy them: the key, and the body if it is inline.
	collapse, body []byte
}

func (e *entry) kind() history.Kind {
	if e.flags&flagMulticast != 0 {
		return history.Multicast
	}
	return history.Unicast
}

func (e *entry) ref() bool { return e.flags&flagRef != 0 }

const entryHeaderMax = 1 + 2*binary.MaxVarintLen64

// appendHeader appends all of e's value but its body.
func (e *entry) appendHeader(dst []byte) []byte {
	dst = append(dst, e.flags)
	dst = binary.AppendUvarint(dst, e.seq)
	if e.flags&flagExpires != 0 {
		dst = binary.AppendUvarint(dst, uint64(e.expires))
	}
	if e.flags&flagReplaced != 0 {
		dst = binary.AppendUvarint(dst, uint64(e.by))
	}
	if e.flags&flagCollapse != 0 {
		dst = binary.AppendUvarint(dst, uint64(len(e.collapse)))
		dst = append(dst, e.collapse...)
	}
	return dst
}

var errDamaged = errors.New("damaged record")

// parseEntry reads a key and value; body refers to value.
func parseEntry(key, value []byte) (entry, error) {
	if len(key) < idSize || len(value) == 0 {
		return entry{}, errDamaged
	}
	e := entry{id: entryID(key), flags: value[0]}
	r := fieldReader{rest: value[1:]}
	e.seq = r.number()
	if e.flags&flagExpires != 0 {
		e.expires = millis(r.number())
	}
	if e.flags&flagReplaced != 0 {
		e.by = history.ID(r.number())
	}
	if e.flags&flagCollapse != 0 {
		e.collapse = r.bytes(r.number())
	}
	if r.damaged {
		return entry{}, errDamaged
	}
	e.body = r.rest
	return e, nil
}

// fieldReader reads what stands one behind the other. After damage it gives
// zeros.
type fieldReader struct {
	rest    []byte
	damaged bool
}

func (r *fieldReader) number() uint64 {
	x, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.damaged, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return x
}

// signed reads what binary.AppendVarint wrote.
func (r *fieldReader) signed() int64 {
	x := r.number()
	return int64(x>>1) ^ -int64(x&1)
}

func (r *fieldReader) bytes(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.damaged, r.rest = true, nil
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}
