package offheap

// Arena keeps short byte strings in chunks of [chunkSize], cut into pieces of
// a few sizes; what is freed serves the next of its size. The zero Arena is
// empty. One goroutine.
type Arena struct {
	chunks [][]byte
	next   uint32           // the first unit never used, counted over all chunks
	free   [maxUnits]uint32 // by size in units: the first free piece + 1
}

// Ref names a string in an Arena. It does not know the length.
type Ref uint32

const (
	unit      = 8 // bytes; a Ref counts units, so 32 GiB can be named
	maxUnits  = MaxString / unit
	chunkSize = 64 << 10

	// MaxString is the longest string that an Arena keeps.
	MaxString = 128
)

// Put keeps s, of 1 to [MaxString] bytes.
func (a *Arena) Put(s string) Ref {
	size := class(len(s))
	r := Ref(a.free[size])
	if r != 0 {
		r--
		a.free[size] = a.link(r)
	} else {
		r = a.cut(uint32(size) + 1)
	}
	copy(a.piece(r, len(s)), s)
	return r
}

// Get returns the string of n bytes at r, good until it is freed.
func (a *Arena) Get(r Ref, n int) []byte { return a.piece(r, n) }

// Free gives the string of n bytes at r back.
func (a *Arena) Free(r Ref, n int) {
	size := class(n)
	a.setLink(r, a.free[size])
	a.free[size] = uint32(r) + 1
}

// class returns the index of the free list for n bytes; its pieces have one
// unit more than the index says.
func class(n int) int { return (n - 1) / unit }

// cut takes units that were never used. A chunk's end that is too short is
// left: at most 15 units in 8,192.
func (a *Arena) cut(units uint32) Ref {
	const perChunk = chunkSize / unit
	if a.next%perChunk+units > perChunk || int(a.next/perChunk) >= len(a.chunks) {
		a.next = uint32(len(a.chunks)) * perChunk
		a.chunks = append(a.chunks, make([]byte, chunkSize))
	}
	r := Ref(a.next)
	a.next += units
	return r
}

func (a *Arena) piece(r Ref, n int) []byte {
	off := int(r) * unit
	return a.chunks[off/chunkSize][off%chunkSize:][:n:n]
}

// A free piece holds the next one's name + 1; 0 ends the list.

func (a *Arena) link(r Ref) uint32 {
	p := a.piece(r, 4)
	return uint32(p[0]) | uint32(p[1])<<8 | uint32(p[2])<<16 | uint32(p[3])<<24
}

func (a *Arena) setLink(r Ref, next uint32) {
	p := a.piece(r, 4)
	p[0], p[1], p[2], p[3] = byte(next), byte(next>>8), byte(next>>16), byte(next>>24)
}
