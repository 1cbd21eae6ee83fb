package reactor

import (
	"bytes"
	"strings"
	"sync"
	"testing"

	"pushd.example/internal/conn/proto"
)

// packer returns a loop that can do no more than compress.
func packer(r *Reactor, least int) *Loop {
	return &Loop{reactor: r, cfg: &Config{Compression: true, CompressionMin: least}}
}

func messageFrame(l *Loop, text string) *Frame {
	f := l.NewFrame(len(text) + 10)
	f.B = proto.AppendFrame(f.B, proto.Text, []byte(text))
	f.Message = true
	return f
}

// A message is compressed when the first client takes it, and never again,
// whoever comes for it.
func TestMessagesAreCompressedOnce(t *testing.T) {
	r := &Reactor{}
	loops := []*Loop{packer(r, 100), packer(r, 100), packer(r, 100)}
	f := messageFrame(loops[0], strings.Repeat("again and ", 100))
	got := make([]*Frame, len(loops))
	var packing sync.WaitGroup
	for i, l := range loops {
		packing.Go(func() {
			for range 100 {
				got[i] = l.deflated(&slot{window: proto.MaxWindow}, f)
			}
		})
	}
	packing.Wait()
	var s Stats
	for i, l := range loops {
		if got[i] == f || got[i] != got[0] {
			t.Errorf("loop %d got another form", i)
		}
		s.Add(&l.count)
	}
	if s.Deflations != 1 || s.Deflated != 300 || s.DeflatedFrom != 300*uint64(len(f.B)) || s.DeflatedTo != 300*uint64(len(got[0].B)) {
		t.Errorf("counted %+v", s)
	}
	f.Release()
	if n := got[0].refs.Load(); n != 0 || f.packed.Load() != nil {
		t.Errorf("the compressed form has %d references when the message has none", n)
	}
}

// A frame that is not compressed goes out as it is.
func TestWhatIsNotCompressed(t *testing.T) {
	l := packer(&Reactor{}, 100)
	text := strings.Repeat("x", 600)
	page := messageFrame(l, text)
	page.Message = false
	for _, c := range []struct {
		name   string
		frame  *Frame
		window uint8
		packed bool
	}{
		{"what is not marked", page, 15, false},
		{"a short message", messageFrame(l, text[:90]), 15, false},
		{"one that gets no shorter", messageFrame(l, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ!#$%&()*+,-./:;<=>?@[]^_`{|}~äöüÄÖÜß€¥µ"), 15, false},
		{"one that does not fit into the window", messageFrame(l, text), 9, false},
		{"one that does", messageFrame(l, text), 10, true},
		{"one that fits into the narrowest window", messageFrame(l, text[:200]), 8, true},
	} {
		for range 2 {
			if got := l.deflated(&slot{window: c.window}, c.frame); (got != c.frame) != c.packed {
				t.Errorf("%s: compressed is %v", c.name, got != c.frame)
			}
		}
		c.frame.Release()
	}
	if l.count.Deflations != 3 || l.count.Deflated != 4 {
		t.Errorf("%d were compressed and %d sent so", l.count.Deflations, l.count.Deflated)
	}
}

// The compressed form of joined frames is that of each, one after the other,
// and all of them are given back together.
func TestJoinedFrames(t *testing.T) {
	l := packer(&Reactor{}, 100)
	parts := []*Frame{messageFrame(l, strings.Repeat("a", 300)), messageFrame(l, "short"), messageFrame(l, strings.Repeat("b", 300))}
	joined := l.NewFrame(1000)
	var plain, packed []byte
	for _, p := range parts {
		joined.Join(p)
		plain = append(plain, p.B...)
		packed = append(packed, l.deflated(&slot{window: proto.MaxWindow}, p).B...)
	}
	made := l.count.Deflations
	got := l.deflated(&slot{window: proto.MaxWindow}, joined)
	if !bytes.Equal(joined.B, plain) || !bytes.Equal(got.B, packed) || got.messages != 2 || l.count.Deflations != made {
		t.Errorf("joined to %q and %q, %d of them compressed; want %q and %q", joined.B, got.B, got.messages, plain, packed)
	}
	if narrow := l.deflated(&slot{window: 9}, joined); narrow != joined {
		t.Error("a client with a narrow window got them compressed")
	}
	for i, p := range parts {
		p.Release()
		if p.refs.Load() != 1 {
			t.Errorf("part %d has %d references, want that of the joined frame", i, p.refs.Load())
		}
	}
	joined.Release()
	for i, p := range append(parts, joined, got) {
		if p.refs.Load() != 0 || p.packed.Load() != nil || len(p.parts) != 0 {
			t.Errorf("frame %d is not let go of", i)
		}
	}
	short := l.NewFrame(20)
	part := messageFrame(l, "short")
	short.Join(part)
	if got := l.deflated(&slot{window: proto.MaxWindow}, short); got != short {
		t.Error("nothing in it is compressed, but it is not itself")
	}
	part.Release()
	short.Release()
}
