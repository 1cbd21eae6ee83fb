//go:build linux && !fallback && !race

// The race detector makes sync.Pool forget at random, and the fallback copies.

package reactor_test

import (
	"bytes"
	"strings"
	"testing"

	"pushd.example/internal/conn/netpoll"
	"pushd.example/internal/conn/reactor"
	"pushd.example/internal/testkit"
)

// Neither a request nor its upgrade allocates anything, from the first byte to
// the kernel's, with compression agreed to or not.
func TestUpgradesDoNotAllocate(t *testing.T) {
	const runs = 100
	r := serve(t, reactor.Config{
		Limits:      reactor.Limits{UpgradeRate: -1, Socket: &netpoll.Options{SendBuffer: 64 << 10}},
		Compression: true,
	})
	for _, say := range [][]byte{
		[]byte(request),
		[]byte(strings.TrimSuffix(request, "\r\n") + "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
	} {
		before := r.Stats()
		var silent []*raw // there before they are counted
		for range 1 + runs {
			silent = append(silent, dialRaw(t, r))
		}
		testkit.WaitFor(t, "all to be there", func() bool { return r.Stats().Connecting == len(silent) })
		buf := make([]byte, 1024)
		if n := testing.AllocsPerRun(runs, func() {
			c := silent[0].Conn
			silent = silent[1:]
			c.Write(say)
			n, err := 0, error(nil)
			for !bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
				k := 0
				if k, err = c.Read(buf[n:]); err != nil {
					t.Fatal(err)
				}
				n += k
			}
		}); n > 0 {
			t.Errorf("%v allocations an upgrade", n)
		}
		testkit.WaitFor(t, "all to be open", func() bool { return r.Stats().Open == before.Open+1+runs })
	}
}
