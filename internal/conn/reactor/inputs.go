package reactor

import "math/bits"

// inputs keeps incomplete heads or messages, in the order in which they began. A loop has one for heads and one for messages, so that
// neither takes the other's room. Only a connection in the middle of one has a
// buffer here.
type inputs struct {
	limit  int // bytes of all buffers in use
	bytes  int
	count  int
	held   []held // by reference; 0 is none, and in the ring before the oldest
	unused []uint32
	spare  [len(inputSizes)][][]byte
}

// held is what is kept of one connection.
type held struct {
	buf        []byte
	owner      Handle
	since      uint32 // the loop's clock
	prev, next uint32
}

var inputSizes = [...]int{256, 1 << 10, 4 << 10, 8 << 10, 16 << 10, 80 << 10}

// maxSpare is how many free buffers of a size are kept.
const maxSpare = 64

// get returns what is kept under ref.
func (in *inputs) get(ref uint32) []byte { return in.held[ref].buf }

// set makes b, a prefix of the buffer itself, what is kept under ref.
func (in *inputs) set(ref uint32, b []byte) { in.held[ref].buf = b }

// add appends p to what is kept under ref and returns the reference to use
// from now on: if ref is 0 a new one, of the owner, begun now. It reports
// false, and keeps nothing more, if that would take all buffers together past
// the limit.
func (in *inputs) add(ref uint32, p []byte, owner Handle, now uint32) (uint32, bool) {
	var old []byte
	if ref != 0 {
		old = in.held[ref].buf
	}
	if need := len(old) + len(p); need > cap(old) {
		b, ok := in.take(need, cap(old))
		if !ok {
			return ref, false
		}
		b = append(b, old...)
		if ref == 0 {
			ref = in.name()
			in.held[ref].owner = owner
			in.begin(ref, now)
		} else {
			in.give(old)
		}
		old = b
	}
	in.held[ref].buf = append(old, p...)
	return ref, true
}

// renew makes what is kept under ref the youngest: the message that had begun is
// complete, and this is the beginning of the next.
func (in *inputs) renew(ref uint32, now uint32) {
	in.unlink(ref)
	in.begin(ref, now)
}

// oldest returns the owner of the oldest incomplete input, and when it began.
func (in *inputs) oldest() (owner Handle, since uint32, ok bool) {
	if in.count == 0 {
		return 0, 0, false
	}
	o := &in.held[in.held[0].next]
	return o.owner, o.since, true
}

// free deletes what is kept under ref.
func (in *inputs) free(ref uint32) {
	in.give(in.held[ref].buf)
	in.unlink(ref)
	in.held[ref] = held{}
	in.unused = append(in.unused, ref)
	in.count--
}

// name returns a reference that is not in use.
func (in *inputs) name() uint32 {
	in.count++
	if n := len(in.unused); n > 0 {
		ref := in.unused[n-1]
		in.unused = in.unused[:n-1]
		return ref
	}
	if len(in.held) == 0 {
		in.held = append(in.held, held{})
	}
	in.held = append(in.held, held{})
	return uint32(len(in.held) - 1)
}

// begin puts ref at the ring's end.
func (in *inputs) begin(ref, now uint32) {
	h, last := &in.held[ref], in.held[0].prev
	h.since, h.prev, h.next = now, last, 0
	in.held[last].next = ref
	in.held[0].prev = ref
}

func (in *inputs) unlink(ref uint32) {
	h := &in.held[ref]
	in.held[h.prev].next = h.next
	in.held[h.next].prev = h.prev
}

// take returns an empty buffer for n bytes, which replaces one of size old.
func (in *inputs) take(n, old int) ([]byte, bool) {
	size, class := 1<<bits.Len(uint(n)), -1 // doubled, so that growing stays linear
	for i, s := range inputSizes {
		if n <= s {
			size, class = s, i
			break
		}
	}
	if in.bytes+size-old > in.limit {
		return nil, false
	}
	in.bytes += size
	if class >= 0 {
		if k := len(in.spare[class]); k > 0 {
			b := in.spare[class][k-1]
			in.spare[class] = in.spare[class][:k-1]
			return b, true
		}
	}
	return make([]byte, 0, size), true
}

func (in *inputs) give(b []byte) {
	in.bytes -= cap(b)
	for i, s := range inputSizes {
		if cap(b) == s && len(in.spare[i]) < maxSpare {
			in.spare[i] = append(in.spare[i], b[:0])
		}
	}
}
