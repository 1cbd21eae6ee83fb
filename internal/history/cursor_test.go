package history_test

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pushd.example/internal/history"
)

func drawCursor(t *rapid.T, label string) history.Cursor {
	id := rapid.Uint64Range(0, uint64(history.MaxID))
	return history.Cursor{
		Inbox:     history.ID(id.Draw(t, label+" inbox")),
		Broadcast: history.ID(id.Draw(t, label+" broadcast")),
	}
}

// TestCursorText fixes the encoding, which clients build themselves.
func TestCursorText(t *testing.T) {
	for text, c := range map[string]history.Cursor{
		"0000000000000000000000": {},
		"0000000000100000000000": {Inbox: 1},
		"0000000000000000000001": {Broadcast: 1},
		"0000000000z00000000010": {Inbox: 35, Broadcast: 36},
		"2gosa7pa2gv2gosa7pa2gv": {Inbox: history.MaxID, Broadcast: history.MaxID},
	} {
		if got := c.String(); got != text {
			t.Errorf("%+v is written %q, want %q", c, got, text)
		}
		if got, err := history.ParseCursor(text); got != c || err != nil {
			t.Errorf("ParseCursor(%q) = %+v, %v, want %+v", text, got, err, c)
		}
	}
}

func TestCursorRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawCursor(t, "cursor")
		text := c.String()
		if len(text) != 22 {
			t.Errorf("%+v takes %d characters", c, len(text))
		}
		if got, err := history.ParseCursor(text); got != c || err != nil {
			t.Errorf("%+v comes back as %+v, %v", c, got, err)
		}
	})
}

func TestParseCursorRefuses(t *testing.T) {
	good := history.Cursor{Inbox: 123456789, Broadcast: history.MaxID}.String()
	bad := map[string]string{
		"empty":               "",
		"a number":            "12",
		"two zeros":           "00",
		"a character short":   good[1:],
		"a character long":    good + "0",
		"upper case":          strings.ToUpper(good),
		"a space":             " " + good[1:],
		"a sign":              "+" + good[1:],
		"an underscore":       "0_" + good[2:],
		"not ASCII":           "é" + good[2:],
		"a NUL":               "\x00" + good[1:],
		"inbox over MaxID":    "2gosa7pa2gw" + good[11:],
		"broadcast over":      good[:11] + "2gosa7pa2gw",
		"greatest in base 36": strings.Repeat("z", 22),
		"very long":           strings.Repeat("0", 1<<16),
	}
	for name, s := range bad {
		got, err := history.ParseCursor(s)
		if !errors.Is(err, history.ErrCursor) || got != (history.Cursor{}) {
			t.Errorf("%s: %+v, %v, want ErrCursor", name, got, err)
		}
		if err != nil && len(err.Error()) > 200 {
			t.Errorf("%s: the error is %d bytes long", name, len(err.Error()))
		}
	}
	if c, err := history.ParseCursor("0"); c != (history.Cursor{}) || err != nil {
		t.Errorf("the beginning: %+v, %v", c, err)
	}
}

func FuzzParseCursor(f *testing.F) {
	for _, s := range []string{
		"", "0", "00", "0000000000000000000000", "2gosa7pa2gv2gosa7pa2gv", "2gosa7pa2gw00000000000",
		"zzzzzzzzzzzzzzzzzzzzzz", "000000000_100000000001", "0000000000100000000000 ",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := history.ParseCursor(s)
		if err != nil {
			if !errors.Is(err, history.ErrCursor) || c != (history.Cursor{}) {
				t.Fatalf("ParseCursor(%q) = %+v, %v", s, c, err)
			}
			return
		}
		if c.Inbox > history.MaxID || c.Broadcast > history.MaxID {
			t.Fatalf("ParseCursor(%q) = %+v", s, c)
		}
		if s != "0" && c.String() != s {
			t.Fatalf("%q comes back as %q", s, c)
		}
	})
}

func TestCursorMaxMin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, d := drawCursor(t, "c"), drawCursor(t, "d")
		least := history.Cursor{Inbox: min(c.Inbox, d.Inbox), Broadcast: min(c.Broadcast, d.Broadcast)}
		most := history.Cursor{Inbox: max(c.Inbox, d.Inbox), Broadcast: max(c.Broadcast, d.Broadcast)}
		if c.Min(d) != least || d.Min(c) != least || c.Max(d) != most || d.Max(c) != most {
			t.Errorf("%+v and %+v: min %+v, max %+v", c, d, c.Min(d), c.Max(d))
		}
	})
}
