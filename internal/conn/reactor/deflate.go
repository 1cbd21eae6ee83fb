package reactor

import "pushd.example/internal/conn/proto"

// deflated returns the compressed form of f, or f itself if it is not to be
// compressed for this client. A client with a narrow window gets only messages
// compressed that fit into the window, since no reference back can be longer
// than the message.
func (l *Loop) deflated(s *slot, f *Frame) *Frame {
	if !f.Message && len(f.parts) == 0 || s.window < proto.MaxWindow && len(f.B) > 1<<s.window {
		return f
	}
	p := f.packed.Load()
	if p == nil {
		p = l.pack(f)
	}
	if p != f {
		l.count.Deflated += uint64(p.messages)
		l.count.DeflatedFrom += uint64(len(f.B))
		l.count.DeflatedTo += uint64(len(p.B))
	}
	return p
}

// pack makes the compressed form of f, which is f itself if compressing does
// not make it shorter. If several loops need it at the same time, the first
// makes it and the others wait, which takes no longer than doing it again.
func (l *Loop) pack(f *Frame) *Frame {
	f.packing.Lock()
	defer f.packing.Unlock()
	p := f.packed.Load()
	switch {
	case p != nil:
		return p
	case len(f.parts) > 0:
		p = l.packParts(f)
	default:
		p = l.packMessage(f)
	}
	f.packed.Store(p)
	return p
}

func (l *Loop) packMessage(f *Frame) *Frame {
	if len(f.B) < l.cfg.CompressionMin {
		return f
	}
	l.count.Deflations++
	b, ok := l.deflater.Deflate(f.B)
	if !ok {
		return f
	}
	p := l.NewFrame(len(b))
	p.B = append(p.B, b...)
	p.messages = 1
	return p
}

func (l *Loop) packParts(f *Frame) *Frame {
	size, messages := 0, 0
	for _, part := range f.parts {
		p := l.pack(part)
		size += len(p.B)
		messages += p.messages
	}
	if messages == 0 {
		return f
	}
	joined := l.NewFrame(size)
	joined.messages = messages
	for _, part := range f.parts {
		joined.B = append(joined.B, part.packed.Load().B...)
	}
	return joined
}

// inflate undoes the compression of a client's message, or fails the
// connection.
func (l *Loop) inflate(h Handle, ev *proto.Event) bool {
	l.count.Inflated++
	if err := l.inflater.Inflate(ev, l.cfg.MaxMessage); err != nil {
		l.fail(h, err)
		return false
	}
	return true
}
