package reactor

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"pushd.example/internal/conn/proto"
)

// TestBacklogModel holds the backlog to a naive model: per connection a slice of
// the WebSocket frames that are to be sent, in order.
func TestBacklogModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var frames framePool
		b := newBacklog()
		b.long = 300
		model := map[uint32][]piece{}
		var order []uint32
		for socket := range rapid.Uint32Range(1, 60).Draw(t, "operations") {
			op := rapid.IntRange(0, 6).Draw(t, "operation")
			if op == 0 || len(order) == 0 {
				r := b.open(socket, 7)
				if _, taken := model[r]; taken || r == 0 {
					t.Fatalf("reference %d was given twice", r)
				}
				model[r] = nil
				order = append(order, r)
				continue
			}
			i := rapid.IntRange(0, len(order)-1).Draw(t, "queue")
			r := order[i]
			switch q := model[r]; op {
			case 1, 2, 3:
				f := frames.get(10)
				pieces := drawPieces(t, f, op == 3)
				switch {
				case op == 1:
					b.push(r, f, rapid.SampledFrom([]class{message, answer}).Draw(t, "class"))
					model[r] = append(q, pieces...)
				case op == 3:
					place := len(q)
					if b.isLong(r) || b.queues[r].control != 0 {
						place = passed(q)
					}
					b.push(r, f, control)
					model[r] = slices.Insert(q, place, pieces...)
				case len(q) == 0 || !q[0].begun() && !q[0].control:
					sent := rapid.IntRange(0, len(f.B)-1).Draw(t, "sent")
					b.pushFront(r, f, sent)
					model[r] = append(take(pieces, sent), q...)
				}
				f.Release()
			case 4:
				most := 0
				for _, p := range b.gather(r, make([][]byte, 0, 100)) {
					most += len(p)
				}
				sent := rapid.IntRange(0, most).Draw(t, "taken")
				b.advance(r, sent, 9)
				model[r] = take(q, sent)
			case 5:
				b.cut(r)
				model[r] = slices.DeleteFunc(q, func(p piece) bool { return !p.begun() })
				for i := range model[r] {
					model[r][i].node = new(int) // the frame's other pieces are gone
				}
			case 6:
				b.close(r)
				delete(model, r)
				order = slices.Delete(order, i, i+1)
			}
			check(t, &b, model)
		}
	})
}

// piece is one WebSocket frame, or the rest of it.
type piece struct {
	frame   *Frame
	node    *int // pieces of one node have the same
	rest    []byte
	whole   int
	control bool
}

func (p *piece) begun() bool { return len(p.rest) < p.whole }

// drawPieces fills f with a control frame, or with one to three others.
func drawPieces(t *rapid.T, f *Frame, control bool) (pieces []piece) {
	n, op := rapid.IntRange(1, 3).Draw(t, "frames"), proto.Binary
	if control {
		n, op = 1, proto.Ping
	}
	for range n {
		from := len(f.B)
		f.B = proto.AppendFrame(f.B, op, rapid.SliceOfN(rapid.Byte(), 0, 125).Draw(t, "payload"))
		pieces = append(pieces, piece{whole: len(f.B) - from})
	}
	at, node := 0, new(int)
	for i := range pieces {
		p := &pieces[i]
		p.frame, p.node, p.control, p.rest = f, node, control, f.B[at:at+p.whole]
		at += p.whole
	}
	return pieces
}

// passed returns the place of a new control frame: behind those that wait, and
// behind the frame that was sent in part.
func passed(q []piece) int {
	i := 0
	for i < len(q) && (q[i].control || q[i].begun()) {
		i++
	}
	return i
}

// take takes sent bytes off a queue.
func take(q []piece, sent int) []piece {
	for len(q) > 0 && sent >= len(q[0].rest) {
		sent -= len(q[0].rest)
		q = q[1:]
	}
	q = slices.Clone(q)
	if sent > 0 {
		q[0].rest = q[0].rest[sent:]
	}
	return q
}

func check(t *rapid.T, b *backlog, model map[uint32][]piece) {
	total, largest := 0, 0
	refs := map[*Frame]int32{}
	for r, q := range model {
		weight := 0
		var want []byte
		nodes := map[*int]bool{}
		for _, p := range q {
			weight += len(p.rest)
			want = append(want, p.rest...)
			if !nodes[p.node] {
				nodes[p.node] = true
				weight += nodeBytes
				refs[p.frame]++
			}
		}
		if int(b.queues[r].bytes) != weight || b.empty(r) != (len(q) == 0) {
			t.Fatalf("queue %d weighs %d, want %d; empty: %v", r, b.queues[r].bytes, weight, b.empty(r))
		}
		got := bytes.Join(b.gather(r, make([][]byte, 0, 100)), nil)
		if !bytes.HasPrefix(want, got) || len(want) > 0 && len(got) == 0 {
			t.Fatalf("queue %d sends %x, want %x", r, got, want)
		}
		total += weight
		largest = max(largest, weight)
	}
	if b.bytes != total {
		t.Fatalf("the backlog weighs %d, want %d", b.bytes, total)
	}
	for f, n := range refs {
		if got := f.refs.Load(); got != n {
			t.Fatalf("a frame has %d references, want %d", got, n)
		}
	}
	if _, ok := b.largest(); ok != (len(model) > 0) {
		t.Fatalf("largest found a queue: %v", ok)
	}
	for r := range model {
		if s, _ := b.largest(); b.queues[r].socket == s && 2*int(b.queues[r].bytes) < largest {
			t.Fatalf("largest found %d bytes, there are %d", b.queues[r].bytes, largest)
		}
	}
}

// TestBacklogBounds checks what the bounds of a queue count: the messages behind
// the one that is being sent.
func TestBacklogBounds(t *testing.T) {
	var frames framePool
	frame := func(n int) *Frame {
		f := frames.get(n)
		f.B = proto.AppendFrame(f.B, proto.Text, make([]byte, n))
		return f
	}
	b := newBacklog()
	r := b.open(1, 0)
	full := func(size int) bool { return b.full(r, size, 3, 1000) }
	b.pushFront(r, frame(5000), 10)
	if full(5000) {
		t.Error("a message that is being sent is counted")
	}
	for range answersRoom {
		b.push(r, frame(1), answer)
	}
	b.push(r, frame(1), control)
	if full(5000) {
		t.Error("answers or control frames are counted")
	}
	b.push(r, frame(500), message)
	if full(400) || !full(500) {
		t.Errorf("with 500 bytes of 1,000 waiting, 400 more are too many: %v, 500 more: %v", full(400), full(500))
	}
	b.push(r, frame(10), answer)
	b.push(r, frame(10), answer)
	if !full(1) {
		t.Error("answers beyond their room are not counted as messages")
	}
	for !b.empty(r) {
		n := 0
		for _, p := range b.gather(r, make([][]byte, 0, 16)) {
			n += len(p)
		}
		b.advance(r, n, 0)
	}
	if q := b.queues[r]; q.waiting != (tally{}) || q.answers != 0 || q.bytes != 0 {
		t.Errorf("an empty queue counts %+v", q)
	}
}
