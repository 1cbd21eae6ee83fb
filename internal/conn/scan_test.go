//go:build linux && !fallback && !race

package conn

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"runtime/metrics"
	"testing"

	"golang.org/x/sys/unix"

	"pushd.example/internal/conn/reactor"
	"pushd.example/internal/history/embedded"
)

// Connections give the garbage collector nothing to look at: what it scans in
// a cycle is the same with few and with many, so cycles take no longer.
func TestConnectionsAreNotScanned(t *testing.T) {
	const few, many = 500, 4500
	store, err := embedded.Open(embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	s, err := New(Config{Listen: "127.0.0.1:0", Store: store, Auth: believer{}, Limits: reactor.Limits{UpgradeRate: -1}})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		s.Serve()
		close(done)
	}()
	var sockets []int
	defer func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		s.Shutdown(ctx)
		<-done
		for _, fd := range sockets {
			unix.Close(fd)
		}
	}()
	grow := func(n int) uint64 {
		for len(sockets) < n {
			sockets = append(sockets, dialBare(t, s, len(sockets)))
		}
		await(t, func() bool { return s.stats().Sessions == n && s.reactor.Stats().Open == n })
		return scanned()
	}
	grow(few) // whatever is made once
	before := grow(few + 1)
	after := grow(many)
	each := (float64(after) - float64(before)) / (many - few)
	t.Logf("%d connections: %d bytes of heap to scan; %d: %d, %.1f each", few, before, many, after, each)
	if each > 8 {
		t.Errorf("%.1f bytes of each connection are scanned in every cycle", each)
	}
}

// scanned returns how many bytes of the heap the last collection looked at.
func scanned() uint64 {
	runtime.GC()
	runtime.GC() // what pools kept is gone after the second
	sample := []metrics.Sample{{Name: "/gc/scan/heap:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// dialBare connects a client that is no more than a descriptor, so that the
// heap has nothing of it.
func dialBare(t *testing.T, s *Server, i int) int {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	to := &unix.SockaddrInet4{Port: int(s.Addr().(*net.TCPAddr).Port), Addr: [4]byte{127, 0, 0, 1}}
	if err := unix.Connect(fd, to); err != nil {
		t.Fatal(err)
	}
	request := fmt.Sprintf("GET /push?user=user-%d HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", i)
	if _, err := unix.Write(fd, []byte(request)); err != nil {
		t.Fatal(err)
	}
	// One after the other: what lists grow to in a rush stays, but is no
	// connection's.
	var answer [1 << 10]byte
	if n, err := unix.Read(fd, answer[:]); n <= 0 || err != nil {
		t.Fatal(n, err)
	}
	return fd
}
