package reactor

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestInputsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := inputs{limit: 200 << 10}
		model := map[uint32][]byte{}
		var refs []uint32 // the oldest first
		forget := func(ref uint32) { refs = slices.DeleteFunc(refs, func(r uint32) bool { return r == ref }) }
		for now := range uint32(rapid.IntRange(1, 80).Draw(t, "operations")) {
			ref := uint32(0)
			if len(refs) > 0 && rapid.Bool().Draw(t, "old") {
				ref = rapid.SampledFrom(refs).Draw(t, "ref")
			}
			what := rapid.IntRange(0, 4).Draw(t, "what")
			switch {
			case ref != 0 && what == 0:
				in.free(ref)
				delete(model, ref)
				forget(ref)
			case ref != 0 && what == 1:
				in.renew(ref, now)
				forget(ref)
				refs = append(refs, ref)
			default:
				p := bytes.Repeat([]byte{rapid.Byte().Draw(t, "byte")}, rapid.IntRange(1, 40<<10).Draw(t, "size"))
				got, ok := in.add(ref, p, Handle(now), now)
				if !ok {
					break
				}
				if ref == 0 {
					refs = append(refs, got)
				}
				model[got] = append(model[got], p...)
			}
			checkInputs(t, &in, refs, model)
		}
		for _, r := range refs {
			in.free(r)
		}
		if in.bytes != 0 || in.count != 0 {
			t.Fatalf("%d bytes of %d are in use at the end", in.bytes, in.count)
		}
	})
}

func checkInputs(t *rapid.T, in *inputs, refs []uint32, model map[uint32][]byte) {
	if in.bytes > in.limit || in.count != len(refs) {
		t.Fatalf("%d bytes of %d are in use, want %d; limit %d", in.bytes, in.count, len(refs), in.limit)
	}
	for r, want := range model {
		if !bytes.Equal(in.get(r), want) {
			t.Fatalf("input %d is not what was added", r)
		}
	}
	owner, since, ok := in.oldest()
	if ok != (len(refs) > 0) {
		t.Fatalf("%d are kept, but the oldest is %v", len(refs), ok)
	}
	if ok && (owner != in.held[refs[0]].owner || since != in.held[refs[0]].since) {
		t.Fatalf("the oldest is %d since %d, want input %d: %+v", owner, since, refs[0], in.held[refs[0]])
	}
}

func TestDeadlines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := rapid.Uint32().Draw(t, "beginning") // the clock wraps
		d := deadlines{after: 50}
		var model []deadline
		for range rapid.IntRange(1, 200).Draw(t, "operations") {
			switch rapid.IntRange(0, 2).Draw(t, "operation") {
			case 0:
				h := Handle(rapid.Uint64().Draw(t, "handle"))
				d.add(h, now)
				model = append(model, deadline{h, now + 50})
			case 1:
				now += uint32(rapid.IntRange(0, 40).Draw(t, "pass"))
			case 2:
				h, ok := d.due(now)
				if want := len(model) > 0 && int32(now-model[0].at) >= 0; ok != want {
					t.Fatalf("due: %v, want %v", ok, want)
				}
				if ok && h != model[0].h {
					t.Fatalf("due out of order")
				}
				if ok {
					model = model[1:]
				}
			}
		}
	})
}

func TestMailboxBlocksWhenFull(t *testing.T) {
	m := Mailbox[int]{Limit: 10}
	if !m.Put(100, 1, 2) {
		t.Fatal("an empty mailbox takes anything")
	}
	put := make(chan bool)
	go func() { put <- m.Put(1, 3) }()
	select {
	case <-put:
		t.Fatal("a full mailbox took an item")
	default:
	}
	if got := m.Take(nil); !slices.Equal(got, []int{1, 2}) {
		t.Fatalf("took %v", got)
	}
	if !<-put {
		t.Fatal("there was room, but the item was not taken")
	}
	go func() { put <- m.Put(10, 4) }()
	if got := m.Close(); len(got) == 0 || got[0] != 3 {
		t.Fatalf("Close returned %v", got)
	}
	<-put // either before Close, and then returned by it, or refused
	if m.Put(1, 5) {
		t.Fatal("a closed mailbox took an item")
	}
}

func TestFrames(t *testing.T) {
	var frames framePool
	for _, n := range []int{0, 1, 512, 513, 100 << 10, 1 << 20} {
		f := frames.get(n)
		if len(f.B) != 0 || cap(f.B) < n {
			t.Errorf("get(%d): length %d, capacity %d", n, len(f.B), cap(f.B))
		}
		f.Retain(1)
		f.Release()
		f.Release()
	}
}
