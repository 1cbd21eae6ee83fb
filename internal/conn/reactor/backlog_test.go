package reactor

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

// The backlog against a naive model: a slice of unsent frames per connection.
func TestBacklogModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var frames framePool
		b := newBacklog()
		model := map[uint32][]*left{}
		var order []uint32
		for socket := range rapid.Uint32Range(1, 60).Draw(t, "operations") {
			op := rapid.IntRange(0, 5).Draw(t, "operation")
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
			switch op {
			case 1, 2:
				f := frames.get(10)
				f.B = append(f.B, rapid.SliceOfN(rapid.Byte(), 1, 2000).Draw(t, "frame")...)
				if op == 1 {
					b.push(r, f)
					model[r] = append(model[r], &left{f, f.B, false})
				} else if len(model[r]) == 0 || !model[r][0].part {
					sent := rapid.IntRange(0, len(f.B)-1).Draw(t, "sent")
					b.pushFront(r, f, sent)
					model[r] = append([]*left{{f, f.B[sent:], sent > 0}}, model[r]...)
				}
				f.Release()
			case 3:
				model[r] = advance(t, &b, r, model[r])
			case 4:
				b.cut(r)
				if q := model[r]; len(q) > 0 && q[0].part {
					model[r] = q[:1]
				} else {
					model[r] = nil
				}
			case 5:
				b.close(r)
				delete(model, r)
				order = append(order[:i], order[i+1:]...)
			}
			check(t, &b, model)
		}
	})
}

// left is what is left of a frame to send.
type left struct {
	frame *Frame
	bytes []byte
	part  bool
}

func advance(t *rapid.T, b *backlog, r uint32, q []*left) []*left {
	most := 0
	for _, l := range q {
		most += len(l.bytes)
	}
	n := rapid.IntRange(0, most).Draw(t, "taken")
	done := b.advance(r, n, 9)
	for len(q) > 0 && n >= len(q[0].bytes) {
		n -= len(q[0].bytes)
		q = q[1:]
		done--
	}
	if done != 0 {
		t.Fatalf("advance counted %d frames too many", done)
	}
	if n > 0 {
		q[0].bytes, q[0].part = q[0].bytes[n:], true
	}
	return q
}

func check(t *rapid.T, b *backlog, model map[uint32][]*left) {
	total, largest := 0, 0
	refs := map[*Frame]int32{}
	for r, q := range model {
		bytes0 := 0
		var want, got []byte
		for _, l := range q {
			bytes0 += len(l.bytes) + nodeBytes
			want = append(want, l.bytes...)
			refs[l.frame]++
		}
		for _, p := range b.gather(r, make([][]byte, 0, 100)) {
			got = append(got, p...)
		}
		if !bytes.Equal(got, want) || int(b.queues[r].bytes) != bytes0 || int(b.queues[r].frames) != len(q) {
			t.Fatalf("queue %d: %d bytes to send, want %d; weighs %d, want %d", r, len(got), len(want), b.queues[r].bytes, bytes0)
		}
		total += bytes0
		largest = max(largest, bytes0)
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
