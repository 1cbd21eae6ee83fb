package proto

import (
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// TestDeflatedFrames: where the first reserved bit may stand (RFC 7692,
// section 6), and what it changes about a message.
func TestDeflatedFrames(t *testing.T) {
	lim := Limits{MaxMessage: 1000, MaxFragments: 4, Deflate: true}
	packed := func(f frame) frame { f.rsv = rsv1; return f }
	most := int(lim.wire(true))
	for _, c := range []struct {
		name   string
		frames []frame
		want   []string
	}{
		{"a message", []frame{packed(text("\xff"))}, []string{`deflated text "\xff"`}},
		{"a binary message", []frame{packed(binaryMsg("b"))}, []string{`deflated binary "b"`}},
		{"fragments, marked once", []frame{packed(textMore("\xff")), ping("p"), more(""), last("\xfe")}, []string{`ping "p"`, `deflated text "\xff\xfe"`}},
		{"plain ones between", []frame{text("a"), packed(text("b")), text("κ"), packed(textMore("c")), last("d"), textMore("e"), last("f")},
			[]string{`text "a"`, `deflated text "b"`, `text "κ"`, `deflated text "cd"`, `text "ef"`}},
		{"a plain one after it is judged as text", []frame{packed(textMore("\xff")), last("\xff"), text("\xff")}, []string{`deflated text "\xff\xff"`, "1007 utf8"}},
		{"a marked continuation", []frame{packed(textMore("a")), packed(last("b"))}, []string{"1002 rsv"}},
		{"a marked continuation of a plain message", []frame{textMore("a"), packed(last("b"))}, []string{"1002 rsv"}},
		{"a marked ping", []frame{packed(ping("a"))}, []string{"1002 rsv"}},
		{"a marked pong", []frame{packed(pong(""))}, []string{"1002 rsv"}},
		{"a marked Close", []frame{packed(closing(1000, ""))}, []string{"1002 rsv"}},
		{"another bit", []frame{{op: ws.OpText, rsv: 2}}, []string{"1002 rsv"}},
		{"another bit beside", []frame{{op: ws.OpText, rsv: 5}}, []string{"1002 rsv"}},
		{"unmasked", []frame{{op: ws.OpText, rsv: rsv1, bare: true}}, []string{"1002 unmasked"}},
		{"within another message", []frame{textMore("a"), packed(text("b"))}, []string{"1002 continuation"}},
		{"as long as may be", []frame{packed(binaryMsg(strings.Repeat("x", most)))}, []string{`deflated binary "` + strings.Repeat("x", most) + `"`}},
		{"too long", []frame{packed(binaryMsg(strings.Repeat("x", most+1)))}, []string{"1009 too_big"}},
		{"too long together", []frame{{op: ws.OpText, more: true, rsv: rsv1, payload: strings.Repeat("x", most)}, last("x")}, []string{"1009 too_big"}},
		{"a plain one too long", []frame{packed(text("")), binaryMsg(strings.Repeat("x", 1001))}, []string{`deflated text ""`, "1009 too_big"}},
		{"too many fragments", []frame{packed(textMore("")), more(""), more(""), more(""), last("")}, []string{"1009 fragments"}},
	} {
		input := wire(t, c.frames...)
		for _, n := range []int{len(input), 7, 1} {
			if got := events(slices.Clone(input), n, lim); !slices.Equal(got, c.want) {
				t.Errorf("%s, in pieces of %d:\ngot  %.90q\nwant %.90q", c.name, n, got, c.want)
			}
		}
	}
}
