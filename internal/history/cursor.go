package history

import (
	"fmt"
	"strconv"
	"strings"
)

// Cursor is how far a reader is: the last id read in each of the two logs. One
// number would not do: if live delivery loses unicast 5 and broadcast 6
// arrives, a reader that keeps only "6" never learns of 5.
type Cursor struct {
	Inbox     ID
	Broadcast ID
}

// cursorDigits is the width of one id in base 36: 36^11 > 2^53 > 36^10.
const cursorDigits = 11

// String encodes c in 22 characters: the inbox id, then the broadcast id, each
// in base 36 (0-9a-z), 11 digits wide, padded with zeros. docs/protocol.md
// gives this to clients, which join the ids that they have seen themselves.
func (c Cursor) String() string {
	var b [2 * cursorDigits]byte
	putBase36(b[:cursorDigits], c.Inbox)
	putBase36(b[cursorDigits:], c.Broadcast)
	return string(b[:])
}

func putBase36(dst []byte, id ID) {
	const digits = "0123456789abcdefghijklmnopqrstuvwxyz"
	for i := len(dst) - 1; i >= 0; i-- {
		dst[i] = digits[id%36]
		id /= 36
	}
}

// ParseCursor reads what [Cursor.String] wrote; "0" is the beginning of
// history. Otherwise the error wraps [ErrCursor].
func ParseCursor(s string) (Cursor, error) {
	if s == "0" {
		return Cursor{}, nil
	}
	if len(s) != 2*cursorDigits {
		return Cursor{}, fmt.Errorf("%w: want %d characters or \"0\", got %d", ErrCursor, 2*cursorDigits, len(s))
	}
	inbox, err1 := parseBase36(s[:cursorDigits])
	broadcast, err2 := parseBase36(s[cursorDigits:])
	if err1 != nil || err2 != nil {
		// The clone keeps s from escaping, so that reading an ack costs no
		// allocation.
		return Cursor{}, fmt.Errorf("%w: %q is not two ids in base 36", ErrCursor, clip(strings.Clone(s)))
	}
	return Cursor{Inbox: inbox, Broadcast: broadcast}, nil
}

func parseBase36(s string) (ID, error) {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return 0, ErrCursor
		}
	}
	n, err := strconv.ParseUint(s, 36, 64)
	if err != nil || ID(n) > MaxID {
		return 0, ErrCursor
	}
	return ID(n), nil
}

// In returns the id in the log that messages of kind k lie in.
func (c Cursor) In(k Kind) ID {
	if k == Broadcast {
		return c.Broadcast
	}
	return c.Inbox
}

// Max returns the later of c and d in each log.
func (c Cursor) Max(d Cursor) Cursor {
	return Cursor{Inbox: max(c.Inbox, d.Inbox), Broadcast: max(c.Broadcast, d.Broadcast)}
}

// Min returns the earlier of c and d in each log.
func (c Cursor) Min(d Cursor) Cursor {
	return Cursor{Inbox: min(c.Inbox, d.Inbox), Broadcast: min(c.Broadcast, d.Broadcast)}
}
