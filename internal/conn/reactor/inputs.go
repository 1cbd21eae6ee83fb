package reactor

import "math/bits"

// inputs keeps what clients have begun to send: incomplete heads and frames.
// Only a connection in the middle of one has a buffer here.
type inputs struct {
	limit  int // bytes of all buffers in use
	bytes  int
	bufs   [][]byte // by reference; 0 is none
	unused []uint32
	spare  [len(inputSizes)][][]byte
}

var inputSizes = [...]int{256, 1 << 10, 4 << 10, 16 << 10, 80 << 10}

// maxSpare is how many free buffers of a size are kept.
const maxSpare = 64

// get returns what is kept under ref.
func (in *inputs) get(ref uint32) []byte { return in.bufs[ref] }

// set makes b, a prefix of the buffer itself, what is kept under ref.
func (in *inputs) set(ref uint32, b []byte) { in.bufs[ref] = b }

// add appends p to what is kept under ref and returns the reference to use
// from now on, which is new if ref is 0. It reports false, and keeps nothing
// more, if that would take all buffers together past the limit.
func (in *inputs) add(ref uint32, p []byte) (uint32, bool) {
	var old []byte
	if ref != 0 {
		old = in.bufs[ref]
	}
	if need := len(old) + len(p); need > cap(old) {
		b, ok := in.take(need, cap(old))
		if !ok {
			return ref, false
		}
		b = append(b, old...)
		if ref == 0 {
			ref = in.name()
		} else {
			in.give(old)
		}
		old = b
	}
	in.bufs[ref] = append(old, p...)
	return ref, true
}

// free lets go of what is kept under ref.
func (in *inputs) free(ref uint32) {
	in.give(in.bufs[ref])
	in.bufs[ref] = nil
	in.unused = append(in.unused, ref)
}

// name returns a reference that is not in use.
func (in *inputs) name() uint32 {
	if n := len(in.unused); n > 0 {
		ref := in.unused[n-1]
		in.unused = in.unused[:n-1]
		return ref
	}
	if len(in.bufs) == 0 {
		in.bufs = append(in.bufs, nil)
	}
	in.bufs = append(in.bufs, nil)
	return uint32(len(in.bufs) - 1)
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
