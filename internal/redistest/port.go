package redistest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports of servers lie in [firstPort, firstPort+ports), below those that the
// system gives to clients. A port is reserved by listening on the one that lies
// ports higher. So no other server takes the port while its server is restarted,
// neither in this process nor in another one that uses this package.
const (
	firstPort = 20000
	ports     = 6000
)

// port is a reserved port, until release.
type port struct {
	number int
	guard  net.Listener
}

func (p *port) release() { _ = p.guard.Close() }

func (p *port) addr() string { return fmt.Sprintf("127.0.0.1:%d", p.number) }

// reservePort returns a port on which no process listens.
func reservePort() (*port, error) {
	for range ports {
		n := firstPort + rand.IntN(ports)
		guard, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", n+ports))
		if err != nil {
			continue
		}
		p := &port{n, guard}
		if free(p.addr()) {
			return p, nil
		}
		p.release()
	}
	return nil, errors.New("no free port found")
}

func free(addr string) bool {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	_ = l.Close()
	return true
}
