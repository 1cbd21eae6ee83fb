package proto

import (
	"fmt"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// TestTextEveryShortSequence feeds all sequences of the bytes at which the
// rules of RFC 3629 change, up to the first that is wrong, in one piece and
// byte by byte, and asks unicode/utf8 whether each can still become text.
func TestTextEveryShortSequence(t *testing.T) {
	edges := []byte{
		0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0,
		0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xF7, 0xF8, 0xFF,
	}
	seq := make([]byte, 0, 5)
	var all func()
	all = func() {
		checkText(t, seq)
		if len(seq) == cap(seq) || !canBecomeText(seq) {
			return
		}
		for _, b := range edges {
			seq = append(seq, b)
			all()
			seq = seq[:len(seq)-1]
		}
	}
	all()
}

// checkText compares textState with unicode/utf8 on p.
func checkText(t *testing.T, p []byte) {
	t.Helper()
	var whole, drip textState
	ok := true
	for i := range p {
		ok = ok && drip.feed(p[i:i+1])
		if want := canBecomeText(p[:i+1]); ok != want {
			t.Fatalf("% x, byte by byte: %v after %d, want %v", p, ok, i+1, want)
		}
	}
	if got := whole.feed(p); got != canBecomeText(p) {
		t.Fatalf("% x in one piece: %v", p, got)
	}
	if whole != drip {
		t.Fatalf("% x: state %d in one piece, %d byte by byte", p, whole, drip)
	}
	if (whole == textWhole) != utf8.Valid(p) {
		t.Fatalf("% x: state %d, though utf8.Valid says %v", p, whole, utf8.Valid(p))
	}
}

// canBecomeText tries the tails that a cut character can have.
func canBecomeText(p []byte) bool {
	for _, tail := range []string{
		"", "\x80", "\x90", "\xA0", "\x80\x80", "\x90\x80", "\xA0\x80", "\x80\x80\x80", "\x90\x80\x80",
	} {
		if utf8.Valid(append(p[:len(p):len(p)], tail...)) {
			return true
		}
	}
	return false
}

func TestTextStaysBad(t *testing.T) {
	var s textState
	if s.feed([]byte("ok\xff")) || s.feed([]byte("ok")) || s.feed(nil) {
		t.Error("text went on after a byte that no text has")
	}
}

func FuzzText(f *testing.F) {
	f.Add([]byte("κόσμε"), uint8(3))
	f.Add([]byte("\xed\xa0\x80"), uint8(1))
	f.Fuzz(func(t *testing.T, p []byte, cut uint8) {
		p = p[:min(len(p), 40)] // checkText is quadratic
		checkText(t, p)
		var s textState
		at := int(cut) % (len(p) + 1)
		if got := s.feed(p[:at]) && s.feed(p[at:]); got != canBecomeText(p) {
			t.Fatalf("% x cut at %d: %v", p, at, got)
		}
	})
}

// TestCloseCodes covers 7.7.1 to 7.9.9 and 7.13, and compares with gobwas/ws,
// which knows neither the codes registered since nor an upper end.
func TestCloseCodes(t *testing.T) {
	valid := map[int]bool{}
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014} {
		valid[code] = true
	}
	for code := 3000; code <= 4999; code++ {
		valid[code] = true
	}
	for code := range 1 << 16 {
		want := []string{fmt.Sprintf("close %d %q", code, "why")}
		if !valid[code] {
			want[0] = "1002 close_code"
		}
		input := wire(t, closing(uint16(code), "why"))
		if got := events(input, len(input), testLimits); got[0] != want[0] {
			t.Fatalf("%d: got %q, want %q", code, got, want)
		}
		peer := ws.CheckCloseFrameData(ws.StatusCode(code), "why") == nil
		if differs := code >= 1012 && code <= 1014 || code >= 5000; peer != valid[code] && !differs {
			t.Fatalf("%d: gobwas/ws says %v", code, peer)
		}
	}
}
