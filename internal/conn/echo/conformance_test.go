package main

import (
	"fmt"
	"slices"
	"testing"

	"pushd.example/internal/conn/echo/handler"
	"pushd.example/internal/conn/reactor"
	"pushd.example/internal/testkit"
)

// autobahn is the counterpart of one case of the Autobahn test suite for
// servers, by which it is named. If the suite lets more than one behaviour pass,
// the one that RFC 6455 asks for is expected.
type autobahn struct {
	name, about string
	talk        []turn
	end         ending
	// late is said after the server's Close, and must make no difference.
	late []frame
	// room is the longest message, if the default limit is too low for it.
	room int

	// offer is what the client offers in compression, answer what the server
	// must say to it, and window what it then may do (see wire).
	offer, answer string
	window        int
}

// turn is what the client says, then what it hears before it goes on.
type turn struct {
	say  pieces
	hear []frame
}

func say(ps pieces, hear ...frame) turn { return turn{ps, hear} }

func talk(turns ...turn) []turn { return turns }

// ending is how it ends. The zero ending: all is well, and the client closes.
type ending struct {
	how  byte
	code uint16
}

const (
	closes   = iota // the client does, with 1000
	fails           // the server fails the connection, with code
	answered        // the server answers the Close in talk, with code
)

func failing(code uint16) ending   { return ending{fails, code} }
func answering(code uint16) ending { return ending{answered, code} }

// reason is what the server counts the end as.
func (e ending) reason() reactor.Reason {
	switch {
	case e.how != fails:
		return reactor.ByClient
	case e.code == 1009:
		return reactor.TooBig
	}
	return reactor.Protocol
}

// suite is all cases, by group. Each group is in a file of its own or beside
// its neighbours; another is added here.
func suite() []struct {
	name  string
	cases []autobahn
} {
	return []struct {
		name  string
		cases []autobahn
	}{
		{"1 framing", framing()},
		{"2 pings", pings()},
		{"3 reserved bits", reservedBits()},
		{"4 opcodes", opcodes()},
		{"5 fragmentation", fragmentation()},
		{"6 UTF-8", utf8Handling()},
		{"7 closing", closing()},
		{"9 limits", limits()},
		{"10 splitting", splitting()},
		{"12 compression", compression()},
		{"13 offers of compression", offers()},
		{"beyond the suite", beyond()},
	}
}

func TestConformance(t *testing.T) {
	strict := serve(t, reactor.Config{Handler: handler.New}) // every limit is the default
	roomy := serve(t, config("", "/", mostRoom))
	packing := serve(t, packingConfig())
	want, compressed := map[reactor.Reason]uint64{}, 0
	for _, group := range suite() {
		t.Run(group.name, func(t *testing.T) {
			for _, c := range group.cases {
				t.Run(c.name, func(t *testing.T) {
					server := strict
					switch {
					case c.offer != "":
						server = packing
					case c.room > 0:
						server = roomy
					}
					t.Log(c.about)
					want[c.end.reason()]++
					w := dialOffering(t, server.Addr(), c.offer, c.answer)
					w.window = c.window
					c.play(w, c.talk)
					compressed += w.unpacked
					if c.short() {
						t.Log("the same octet by octet")
						want[c.end.reason()]++
						w := dialOffering(t, server.Addr(), c.offer, c.answer)
						w.window = c.window
						c.play(w, octetwise(c.talk))
						compressed += w.unpacked
					}
				})
			}
		})
	}
	testkit.WaitFor(t, "all connections to end", func() bool {
		s, r, p := strict.Stats(), roomy.Stats(), packing.Stats()
		return s.Open+s.Closing+r.Open+r.Closing+p.Open+p.Closing == 0
	})
	if t.Failed() {
		return // the counts are off too
	}
	s, more, most := strict.Stats(), roomy.Stats(), packing.Stats()
	s.Add(&more)
	s.Add(&most)
	for i, n := range s.Closes {
		if r := reactor.Reason(i); n != want[r] {
			t.Errorf("%d connections ended as %q, want %d", n, r, want[r])
		}
	}
	if s.Deflated != uint64(compressed) || s.Deflated < s.Inflated/3 {
		t.Errorf("%d messages came compressed, %d were sent so, of which clients found %d", s.Inflated, s.Deflated, compressed)
	}
}

// packingConfig agrees to compression.
func packingConfig() reactor.Config {
	cfg := config("", "/", mostRoom)
	cfg.Compression = true
	return cfg
}

// play has the whole conversation on w.
func (c *autobahn) play(w *wire, turns []turn) {
	w.t.Helper()
	for _, turn := range turns {
		w.say(turn.say)
		for _, f := range turn.hear {
			w.hear(f)
		}
	}
	code := c.end.code
	if c.end.how == closes {
		code = 1000
		w.write(encode(bye(code, "")))
	}
	w.hearClose(code)
	w.write(encode(c.late...))
	w.hearEnd()
	w.conn.Close()
}

// short cases are sent octet by octet too, whatever the suite does.
func (c *autobahn) short() bool {
	n := 0
	for _, t := range c.talk {
		for _, f := range t.hear {
			if len(f.payload) > 400 {
				return false // and need not be compressed to see that
			}
		}
		for p := range t.say {
			if n += len(p); n > 400 {
				return false
			}
		}
	}
	return true
}

func octetwise(turns []turn) (chopped []turn) {
	for _, t := range turns {
		var all []byte
		for p := range t.say {
			all = append(all, p...)
		}
		chopped = append(chopped, turn{slices.Chunk(all, 1), t.hear})
	}
	return chopped
}

// ranges are the suite's own numbers, by group: of "1.1." 8 is 1.1.1 to 1.1.8.
// Groups 8 and 11 it does not have.
var ranges = map[string][]struct {
	prefix string
	last   int
}{
	"1 framing":       {{"1.1.", 8}, {"1.2.", 8}},
	"2 pings":         {{"2.", 11}},
	"3 reserved bits": {{"3.", 7}},
	"4 opcodes":       {{"4.1.", 5}, {"4.2.", 5}},
	"5 fragmentation": {{"5.", 20}},
	"6 UTF-8": {
		{"6.1.", 3}, {"6.2.", 4}, {"6.3.", 2}, {"6.4.", 4}, {"6.5.", 5}, {"6.6.", 11}, {"6.7.", 4}, {"6.8.", 2},
		{"6.9.", 4}, {"6.10.", 3}, {"6.11.", 5}, {"6.12.", 8}, {"6.13.", 5}, {"6.14.", 10}, {"6.15.", 1}, {"6.16.", 3},
		{"6.17.", 5}, {"6.18.", 5}, {"6.19.", 5}, {"6.20.", 7}, {"6.21.", 8}, {"6.22.", 34}, {"6.23.", 7},
	},
	"7 closing": {{"7.1.", 6}, {"7.3.", 6}, {"7.5.", 1}, {"7.7.", 13}, {"7.9.", 9}, {"7.13.", 2}},
	"9 limits": {
		{"9.1.", 6}, {"9.2.", 6}, {"9.3.", 9}, {"9.4.", 9}, {"9.5.", 6}, {"9.6.", 6}, {"9.7.", 6}, {"9.8.", 6},
	},
	"10 splitting":   {{"10.1.", 1}},
	"12 compression": {{"12.1.", 18}, {"12.2.", 18}, {"12.3.", 18}, {"12.4.", 18}, {"12.5.", 18}},
	"13 offers of compression": {
		{"13.1.", 18}, {"13.2.", 18}, {"13.3.", 18}, {"13.4.", 18}, {"13.5.", 18}, {"13.6.", 18}, {"13.7.", 18},
	},
}

// Every case of the suite is here, under its number, and there once.
func TestConformanceIsComplete(t *testing.T) {
	total := 0
	for _, group := range suite() {
		var here, want []string
		for _, c := range group.cases {
			here = append(here, c.name)
			if c.about == "" {
				t.Errorf("case %s does not say what it checks", c.name)
			}
		}
		for _, r := range ranges[group.name] {
			for n := range r.last {
				want = append(want, fmt.Sprint(r.prefix, n+1))
			}
		}
		if want == nil { // what is beyond the suite has no numbers to keep to
			continue
		}
		total += len(want)
		slices.Sort(here)
		slices.Sort(want)
		if !slices.Equal(here, want) {
			t.Errorf("%s: there are\n%q, the suite has\n%q", group.name, here, want)
		}
	}
	if total != 517 {
		t.Errorf("the groups have %d cases together, the suite 517", total)
	}
}
