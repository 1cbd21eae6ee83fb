package conn

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pushd.example/internal/conn/offheap"
	"pushd.example/internal/conn/reactor"
)

func tableOf(t interface{ Fatal(...any) }, n int) *offheap.Table[session] {
	table, err := offheap.NewTable[session](n)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// A round goes through all sessions that were there when it began and still are,
// once, and no others, whichever come and go in between.
func TestRoundWithComingsAndGoings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const sockets = 40
		s := newSessions(tableOf(t, sockets))
		defer s.table.Close()
		there := map[uint32]bool{}
		toggle := func() (socket uint32) {
			socket = rapid.Uint32Range(0, sockets-1).Draw(t, "socket")
			if there[socket] {
				s.remove(s.table.At(socket))
			} else {
				s.add(reactor.Handle(1<<32|uint64(socket)), "user", 7, "")
			}
			there[socket] = !there[socket]
			return socket
		}
		for range rapid.IntRange(0, 60).Draw(t, "before") {
			toggle()
		}
		due := map[uint32]bool{}
		for _, socket := range s.list {
			due[socket] = true
		}
		for s.beginRound(); s.round; {
			if rapid.Bool().Draw(t, "visit") {
				ses := s.nextInRound()
				if ses == nil {
					continue
				}
				if socket := ses.handle.Socket(); !due[socket] {
					t.Fatalf("socket %d was visited, but not due", socket)
				} else {
					delete(due, socket)
				}
			} else {
				delete(due, toggle())
			}
			for i, socket := range s.list {
				if int(s.table.At(socket).place) != i {
					t.Fatalf("socket %d is at %d, but thinks that it is at %d", socket, i, s.table.At(socket).place)
				}
			}
		}
		if len(due) > 0 {
			t.Fatalf("not visited: %v", due)
		}
		for socket, is := range there {
			if slices.Contains(s.list, socket) != is {
				t.Fatalf("socket %d in the list: %v, want %v", socket, !is, is)
			}
		}
	})
}

// A scan looks at every session that is there from its beginning to its end, once
// and in short stretches, whichever come and go in between.
func TestScanWithComingsAndGoings(t *testing.T) {
	const sockets = 3 * scanVisits
	table := tableOf(t, sockets)
	defer table.Close()
	rapid.Check(t, func(t *rapid.T) {
		s := newSessions(table)
		add := func(socket uint32) { s.add(reactor.Handle(1<<32|uint64(socket)), "user", 7, "") }
		stay := map[uint32]int{}
		for socket := range uint32(sockets) {
			if socket%3 != 0 {
				add(socket)
				stay[socket] = 0
			}
		}
		defer func() {
			for len(s.list) > 0 {
				s.remove(s.table.At(s.list[0]))
			}
		}()
		at, visits := uint32(0), 0
		stop := rapid.IntRange(64, scanVisits+1).Draw(t, "stop after")
		for more := true; more; {
			stretch := 0
			at, more = s.scan(at, func(ses *session) bool {
				if stretch == stop {
					return false
				}
				stretch++
				if n, ok := stay[ses.handle.Socket()]; ok {
					stay[ses.handle.Socket()] = n + 1
				}
				return true
			})
			if visits += stretch; stretch > scanVisits {
				t.Fatalf("a stretch of %d", stretch)
			}
			socket := rapid.Uint32Range(0, sockets/3-1).Draw(t, "socket") * 3
			if s.table.At(socket).handle == 0 {
				add(socket)
			} else {
				s.remove(s.table.At(socket))
			}
		}
		for socket, n := range stay {
			if n != 1 {
				t.Fatalf("the session on socket %d was looked at %d times", socket, n)
			}
		}
	})
}

// Users are told apart by name even if their hashes are the same.
func TestUsersWithOneHash(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const sockets = 20
		u := newSessions(tableOf(t, sockets))
		defer u.table.Close()
		model := map[uint32]string{}
		for range rapid.IntRange(1, 100).Draw(t, "operations") {
			socket := rapid.Uint32Range(0, sockets-1).Draw(t, "socket")
			if _, ok := model[socket]; ok {
				u.remove(u.table.At(socket))
				delete(model, socket)
			} else {
				name := strings.Repeat(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "name"), rapid.SampledFrom([]int{1, 20, 128}).Draw(t, "length"))
				u.add(reactor.Handle(1<<32|uint64(socket)), name, rapid.Uint32Range(0, 1).Draw(t, "hash"), "")
				model[socket] = name
			}
			got := map[uint32]string{}
			for hash, first := range u.first {
				for at := first; at != 0; at = u.table.At(at - 1).next {
					if ses := u.table.At(at - 1); ses.hash == hash {
						got[at-1] = string(u.user(ses))
					}
				}
			}
			if len(got) != len(model) {
				t.Fatalf("the index has %v, want %v", got, model)
			}
			for socket, name := range model {
				if got[socket] != name {
					t.Fatalf("socket %d is of %q, want %q", socket, got[socket], name)
				}
			}
		}
	})
}

// An agent's text is there as long as somebody has it, and its place is used
// again.
func TestAgents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a agents
		held := map[uint32]string{}
		count := map[string]int{}
		for range rapid.IntRange(1, 100).Draw(t, "operations") {
			text := rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "text")
			if rapid.Bool().Draw(t, "join") {
				n := a.join(text)
				held[n] = text
				count[text]++
			} else if count[text] > 0 {
				for n, of := range held {
					if of == text {
						a.leave(n)
						break
					}
				}
				if count[text]--; count[text] == 0 {
					for n, of := range held {
						if of == text {
							delete(held, n)
						}
					}
				}
			}
			for n, text := range held {
				if a.text(n) != text {
					t.Fatalf("%d is %q, want %q", n, a.text(n), text)
				}
			}
			if len(a.texts) > 4 {
				t.Fatalf("%d places for 3 texts", len(a.texts)-1)
			}
		}
	})
}

// Refusals that have ended are thrown out.
func TestRefusedIsBounded(t *testing.T) {
	var r refused
	now := time.Now()
	for i := range 10_000 {
		now = now.Add(time.Second)
		r.add(fmt.Sprint(i), now, 10*time.Second)
		if len(r.until) > 200 {
			t.Fatalf("%d refusals kept, at most 10 are in force", len(r.until))
		}
	}
	if r.left("9999", now) <= 0 || r.left("9999", now.Add(10*time.Second)) > 0 {
		t.Error("a refusal is not in force when it should be")
	}
}
