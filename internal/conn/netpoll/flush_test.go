package netpoll

import (
	"bytes"
	"io"
	"testing"
)

// A batch in which some sockets are fine, some take a part, some nothing, and
// some are broken: each entry says so, and the peers get what it says.
func TestFlushOfAllKinds(t *testing.T) {
	for _, plain := range []bool{true, false} {
		n := newNet(t)
		f, err := n.NewFlusher(plain)
		if err != nil {
			t.Logf("this system has only the plain way: %v", err)
		}
		t.Run(f.Name(), func(t *testing.T) { flushAllKinds(t, n, f) })
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func flushAllKinds(t *testing.T, n *Net, f Flusher) {
	kinds := []struct {
		name    string
		size    int
		prepare func(r *rig)
		check   func(r *rig, s Send)
	}{
		{"fine", 100, func(*rig) {}, wantAll},
		{"too much", 8 << 20, func(*rig) {}, wantPart},
		{"full", 8 << 20, (*rig).fill, wantLittle},
		{"nobody there", 100, (*rig).reset, wantError},
	}
	var rigs []*rig
	var batch []Send
	for i := range 3 * len(kinds) {
		k := kinds[i%len(kinds)]
		r := rigOn(t, n, Options{SendBuffer: 16 << 10})
		k.prepare(r)
		rigs = append(rigs, r)
		batch = append(batch, Send{Socket: int32(r.socket), Data: bytes.Repeat([]byte{byte(i)}, k.size)})
	}
	f.Flush(batch)
	for i, r := range rigs {
		kinds[i%len(kinds)].check(r, batch[i])
	}
}

// fill sends until the socket takes no more.
func (r *rig) fill() {
	for {
		switch _, err := r.net.Sendv(r.socket, [][]byte{make([]byte, 1<<20)}); err {
		case nil:
		case EAGAIN:
			return
		default:
			r.t.Fatal(err)
		}
	}
}

// reset makes the peer break the connection, and waits until that is known.
func (r *rig) reset() {
	r.add()
	r.peer.SetLinger(0)
	r.peer.Close()
	r.await(Hup)
}

func wantAll(r *rig, s Send) {
	got := make([]byte, len(s.Data))
	_, err := io.ReadFull(r.peer, got)
	if err != nil || !bytes.Equal(got, s.Data) || s.Err != 0 || int(s.Sent) != len(s.Data) {
		r.t.Errorf("sent %d, %v; the peer got %v, %v", s.Sent, s.Err, got, err)
	}
}

func wantPart(r *rig, s Send) {
	if s.Err != EAGAIN || s.Sent <= 0 || int(s.Sent) == len(s.Data) {
		r.t.Errorf("sent %d, %v", s.Sent, s.Err)
	}
	if err := r.net.CloseWrite(r.socket); err != nil {
		r.t.Error(err)
	}
	if got, err := io.ReadAll(r.peer); len(got) != int(s.Sent) || err != nil {
		r.t.Errorf("sent %d, the peer got %d, %v", s.Sent, len(got), err)
	}
}

// wantLittle allows for what the kernel moved to the peer in the meantime.
func wantLittle(r *rig, s Send) {
	if s.Err != EAGAIN || int(s.Sent) > len(s.Data)/2 {
		r.t.Errorf("sent %d, %v", s.Sent, s.Err)
	}
}

func wantError(r *rig, s Send) {
	if s.Err == 0 || s.Err == EAGAIN || s.Sent != 0 {
		r.t.Errorf("sent %d, %v", s.Sent, s.Err)
	}
}
