package watch

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// Position is how far a reader of [Events] is. The zero value is now.
type Position struct {
	// Marks has one for each part of the log; the engine knows what they mean.
	Marks []Mark
}

// Mark is how far a reader is in one part of a log.
type Mark struct {
	// Read is when the part was read, in milliseconds since [history.Epoch].
	Read int64
	// Run and Seq name the last event that was read: Seq numbers events without
	// gaps, and each log has a Run of its own.
	Run, Seq uint64
}

// MaxMarks is the most parts that a log has.
const MaxMarks = 64

// maxPosition is more than the characters that a Position is written in.
const maxPosition = 2 * MaxMarks * 3 * binary.MaxVarintLen64

// String encodes p, opaquely: "" if it is zero.
func (p Position) String() string {
	if len(p.Marks) == 0 {
		return ""
	}
	b := make([]byte, 4, 64)
	for _, m := range p.Marks {
		b = binary.AppendUvarint(b, uint64(m.Read))
		b = binary.AppendUvarint(b, m.Run)
		b = binary.AppendUvarint(b, m.Seq)
	}
	binary.BigEndian.PutUint32(b, crc32.ChecksumIEEE(b[4:]))
	return base64.RawURLEncoding.EncodeToString(b)
}

// ParsePosition reads what [Position.String] wrote. Otherwise the error wraps
// [ErrPosition].
func ParsePosition(s string) (p Position, err error) {
	if s == "" {
		return p, nil
	}
	if len(s) > maxPosition {
		return p, fmt.Errorf("%w: at most %d characters, got %d", ErrPosition, maxPosition, len(s))
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) <= 4 || binary.BigEndian.Uint32(b) != crc32.ChecksumIEEE(b[4:]) {
		return p, fmt.Errorf("%w: %q is damaged", ErrPosition, clip(s))
	}
	for b = b[4:]; len(b) > 0; {
		var m Mark
		var n [3]uint64
		for i := range n {
			v, size := binary.Uvarint(b)
			if size <= 0 || len(p.Marks) == MaxMarks {
				return Position{}, fmt.Errorf("%w: %q is damaged", ErrPosition, clip(s))
			}
			n[i], b = v, b[size:]
		}
		m.Read, m.Run, m.Seq = int64(n[0]), n[1], n[2]
		p.Marks = append(p.Marks, m)
	}
	return p, nil
}

// Check returns an error wrapping [ErrPosition] unless p is zero or of a log of
// so many parts.
func (p Position) Check(parts int) error {
	if n := len(p.Marks); n != 0 && n != parts {
		return fmt.Errorf("%w: it is of a log with %d parts, this one has %d", ErrPosition, n, parts)
	}
	return nil
}

// clip shortens s for an error message.
func clip(s string) string {
	const most = 32
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
