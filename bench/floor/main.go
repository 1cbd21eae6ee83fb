// Command floor is the least that a server on the plain socket API can do to
// push one message to N WebSocket connections: one thread, one send(2) each. It
// knows no users, keeps nothing, answers no ping, and so is what a push server's
// cost per delivery is measured against.
//
// The send loop is C where a C compiler is at hand, since it is to be a floor
// for every language; elsewhere it is Go with raw system calls, about 10 % more.
// The first line of output says which.
package main

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "clients")
	publish := flag.String("publish", "127.0.0.1:0", "what is POSTed here goes to every client")
	ready := flag.String("ready-file", "", "where to write the addresses as JSON")
	flag.Parse()
	if err := run(*listen, *publish, *ready); err != nil {
		log.Fatal("floor: ", err)
	}
}

func run(listen, publish, ready string) error {
	runtime.LockOSThread()
	s := &server{conns: map[int]*conn{}, buf: make([]byte, 64<<10)}
	var err error
	if s.ep, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	clients, at, err := s.listen(listen)
	if err != nil {
		return err
	}
	publishers, on, err := s.listen(publish)
	if err != nil {
		return err
	}
	fmt.Printf("floor: %s send loop, clients at %s, publish at %s\n", sendLoop, at, on)
	if err := announce(ready, at, on); err != nil {
		return err
	}
	return s.serve(clients, publishers)
}

func announce(path, listen, publish string) error {
	if path == "" {
		return nil
	}
	text, err := json.Marshal(map[string]any{"pid": os.Getpid(), "listen": listen, "http": publish, "note": sendLoop + " send loop"})
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

type conn struct {
	publisher bool
	in        []byte // an incomplete request
	place     int    // in server.open, if upgraded
}

type server struct {
	ep    int
	conns map[int]*conn
	// open are the file descriptors of the upgraded connections.
	open []int32
	buf  []byte
}

// listen opens a listening socket and says where.
func (s *server) listen(address string) (fd int, at string, err error) {
	a, err := net.ResolveTCPAddr("tcp4", address)
	if err != nil {
		return -1, "", err
	}
	if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, "", err
	}
	// Accepted sockets inherit TCP_NODELAY.
	if err := errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		unix.Bind(fd, &unix.SockaddrInet4{Port: a.Port, Addr: [4]byte(a.IP.To4())}),
		unix.Listen(fd, 4096),
		s.watch(fd),
	); err != nil {
		return -1, "", fmt.Errorf("listening on %s: %w", address, err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return -1, "", err
	}
	in4, ok := sa.(*unix.SockaddrInet4)
	if !ok {
		return -1, "", fmt.Errorf("%s is not an IPv4 address", address)
	}
	return fd, net.JoinHostPort(a.IP.String(), strconv.Itoa(in4.Port)), nil
}

func (s *server) watch(fd int) error {
	return unix.EpollCtl(s.ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

func (s *server) serve(clients, publishers int) error {
	events := make([]unix.EpollEvent, 256)
	for {
		n, err := unix.EpollWait(s.ep, events, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		for _, e := range events[:max(n, 0)] {
			switch fd := int(e.Fd); fd {
			case clients, publishers:
				if err := s.accept(fd, fd == publishers); err != nil {
					return err
				}
			default:
				s.read(fd)
			}
		}
	}
}

func (s *server) accept(listener int, publisher bool) error {
	fd, _, err := unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ECONNABORTED) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("accepting: %w", err)
	}
	s.conns[fd] = &conn{publisher: publisher, place: -1}
	return s.watch(fd)
}

func (s *server) read(fd int) {
	c := s.conns[fd]
	n, err := unix.Read(fd, s.buf)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return
	case n <= 0:
		s.close(fd, c)
		return
	case c.place >= 0:
		return // a pong or a close frame, which nobody here cares for
	}
	c.in = append(c.in, s.buf[:n]...)
	head, body, whole := bytes.Cut(c.in, []byte("\r\n\r\n"))
	if !whole {
		return
	}
	header := parse(head)
	if !c.publisher {
		s.upgrade(fd, c, header)
		return
	}
	length, _ := strconv.Atoi(header.Get("Content-Length"))
	if len(body) < length {
		return
	}
	s.fanOut(body[:length])
	c.in = nil
	s.answer(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
}

func parse(head []byte) http.Header {
	h := http.Header{}
	for line := range strings.SplitSeq(string(head), "\r\n") {
		if k, v, ok := strings.Cut(line, ": "); ok {
			h.Set(k, v)
		}
	}
	return h
}

func (s *server) upgrade(fd int, c *conn, header http.Header) {
	sum := sha1.Sum([]byte(header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	s.answer(fd, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+
		base64.StdEncoding.EncodeToString(sum[:])+"\r\n\r\n")
	c.in, c.place = nil, len(s.open)
	s.open = append(s.open, int32(fd))
}

func (s *server) answer(fd int, text string) {
	if n, err := unix.Write(fd, []byte(text)); n < len(text) {
		log.Printf("answering: %v", err)
	}
}

func (s *server) close(fd int, c *conn) {
	if c.place >= 0 {
		last := s.open[len(s.open)-1]
		s.open[c.place] = last
		s.conns[int(last)].place = c.place
		s.open = s.open[:len(s.open)-1]
	}
	delete(s.conns, fd)
	unix.Close(fd)
}

// fanOut is what all this is for.
func (s *server) fanOut(text []byte) {
	frame := []byte{0x81, byte(len(text))}
	if len(text) > 125 {
		frame = binary.BigEndian.AppendUint16([]byte{0x81, 126}, uint16(len(text)))
	}
	frame = append(frame, text...)
	if failed := sendAll(s.open, frame); failed > 0 {
		log.Printf("%d of %d sends failed or were short", failed, len(s.open))
	}
}
