package proto

import "unicode/utf8"

// textState is where in a character the text seen so far stops. So text
// that arrives in any pieces is refused at the first byte that cannot go on
// (RFC 3629, section 4), and no byte is kept for the check.
type textState uint8

const (
	textWhole textState = iota // between characters
	textNeed1                  // one more byte of any tail
	textNeed2
	textNeed3
	textE0  // a second byte that makes no overlong form, then one
	textED  // a second byte that makes no surrogate, then one
	textF0  // a second byte that makes no overlong form, then two
	textF4  // a second byte that stays below U+110000, then two
	textBad // for good
)

// textNext is what a state accepts, and what comes after it.
var textNext = [textBad + 1]struct {
	lo, hi byte
	then   textState
}{
	textNeed1: {0x80, 0xBF, textWhole},
	textNeed2: {0x80, 0xBF, textNeed1},
	textNeed3: {0x80, 0xBF, textNeed2},
	textE0:    {0xA0, 0xBF, textNeed1},
	textED:    {0x80, 0x9F, textNeed1},
	textF0:    {0x90, 0xBF, textNeed2},
	textF4:    {0x80, 0x8F, textNeed2},
	textBad:   {0xFF, 0x00, textBad}, // nothing
}

// feed moves the state over p and reports whether p can go on from it.
func (t *textState) feed(p []byte) bool {
	for *t != textWhole && len(p) > 0 {
		if *t = t.step(p[0]); *t == textBad {
			return false
		}
		p = p[1:]
	}
	n := len(p) - partialLen(p)
	if !utf8.Valid(p[:n]) {
		*t = textBad
		return false
	}
	for _, b := range p[n:] {
		*t = t.step(b)
	}
	return *t != textBad
}

// step returns the state after one byte more.
func (t textState) step(b byte) textState {
	if t == textWhole {
		return textStart(b)
	}
	if n := textNext[t]; b >= n.lo && b <= n.hi {
		return n.then
	}
	return textBad
}

// textStart returns the state after the first byte of a character.
func textStart(b byte) textState {
	switch {
	case b < 0x80:
		return textWhole
	case b >= 0xC2 && b <= 0xDF:
		return textNeed1
	case b == 0xE0:
		return textE0
	case b == 0xED:
		return textED
	case b >= 0xE1 && b <= 0xEF:
		return textNeed2
	case b == 0xF0:
		return textF0
	case b >= 0xF1 && b <= 0xF3:
		return textNeed3
	case b == 0xF4:
		return textF4
	}
	return textBad
}

// partialLen returns how many bytes at the end of p begin a character that is
// not complete but may become so.
func partialLen(p []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(p); n++ {
		if tail := p[len(p)-n:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}
