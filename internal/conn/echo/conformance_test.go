package main

import (
	"slices"
	"testing"

	"pushd/internal/conn/echo/handler"
	"pushd/internal/conn/reactor"
)

// autobahn is the counterpart of one case of the Autobahn test suite for
// servers, by which it is named. What is expected is what RFC 6455 says, where
// the suite lets more than one behaviour pass.
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
	waitFor(t, "all connections to end", func() bool {
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

// The suite has as many cases in the groups that there are here.
func TestConformanceIsComplete(t *testing.T) {
	want := map[string]int{
		"1 framing": 16, "2 pings": 11, "3 reserved bits": 7, "4 opcodes": 10, "5 fragmentation": 20,
		"6 UTF-8": 145, "7 closing": 37, "9 limits": 54, "10 splitting": 1,
		"12 compression": 5 * 18, "13 offers of compression": 7 * 18,
	}
	seen := map[string]bool{}
	for _, group := range suite() {
		for _, c := range group.cases {
			if seen[c.name] || c.about == "" {
				t.Errorf("case %s is there twice, or does not say what it checks", c.name)
			}
			seen[c.name] = true
		}
		if n, ok := want[group.name]; ok && len(group.cases) != n {
			t.Errorf("%s: %d cases, the suite has %d", group.name, len(group.cases), n)
		}
	}
}
