package testkit

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// Ports lie in [firstPort, firstPort+ports): below those that systems give to
// clients, and beside those of redistest.
const (
	firstPort = 10_000
	ports     = 10_000
)

// FreeAddr returns an address on loopback, "127.0.0.1:12345", on which nobody
// listens. It is for servers that cannot choose a port and say which: a server
// that can should listen on port 0, which nobody else can take.
func FreeAddr(t testing.TB) string {
	t.Helper()
	for range 1000 {
		addr := fmt.Sprintf("127.0.0.1:%d", firstPort+rand.IntN(ports))
		if l, err := net.Listen("tcp", addr); err == nil {
			_ = l.Close()
			return addr
		}
	}
	t.Fatal("no free port found")
	return ""
}
