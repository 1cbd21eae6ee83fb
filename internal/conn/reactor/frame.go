package reactor

import (
	"sync"
	"sync/atomic"
)

// Frame is bytes to send, shared by all connections that they are sent to. Its
// maker fills in B and holds the one reference; B must not change once the
// frame was sent.
type Frame struct {
	B []byte
	// Message says that B is one message, which clients may get compressed.
	// It is set before the frame is sent.
	Message bool

	refs atomic.Int32
	home *sync.Pool // nil: too big to be kept

	parts    []*Frame              // what Join has joined
	messages int                   // of a compressed form: the messages in it that are
	packing  sync.Mutex            // who holds it makes packed
	packed   atomic.Pointer[Frame] // the compressed form, once a client takes it; f itself if that is no shorter
}

// Join appends part's bytes, and keeps a reference to part until the last one
// to f is given back. A compressed form of f is joined of those of its parts.
func (f *Frame) Join(part *Frame) {
	f.B = append(f.B, part.B...)
	part.Retain(1)
	f.parts = append(f.parts, part)
}

// Retain adds n references.
func (f *Frame) Retain(n int) { f.refs.Add(int32(n)) }

// Release gives one reference back. After the last one the frame is reused.
func (f *Frame) Release() {
	if f.refs.Add(-1) != 0 {
		return
	}
	if p := f.packed.Load(); p != nil {
		f.packed.Store(nil)
		if p != f {
			p.Release()
		}
	}
	for _, part := range f.parts {
		part.Release()
	}
	clear(f.parts)
	f.parts = f.parts[:0]
	if f.home != nil {
		f.home.Put(f)
	}
}

// framePool makes frames and takes them back, by size: a short frame that waits
// in a backlog must not pin a long buffer.
type framePool struct {
	pools [len(frameSizes)]sync.Pool
}

var frameSizes = [...]int{512, 4 << 10, 32 << 10, 160 << 10}

// get returns an empty frame with room for n bytes and one reference.
func (p *framePool) get(n int) *Frame {
	for i, size := range frameSizes {
		if n > size {
			continue
		}
		f, ok := p.pools[i].Get().(*Frame)
		if !ok {
			f = &Frame{B: make([]byte, 0, size), home: &p.pools[i]}
		}
		f.B, f.Message, f.messages = f.B[:0], false, 0
		f.refs.Store(1)
		return f
	}
	f := &Frame{B: make([]byte, 0, n)}
	f.refs.Store(1)
	return f
}
