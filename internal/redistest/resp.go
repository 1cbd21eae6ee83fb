package redistest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// Tests speak to servers without a client library: each command has a connection of
// its own, is sent once, and leaves no goroutine.

// doTimeout bounds one command.
const doTimeout = 10 * time.Second

// Do sends one command on a connection of its own, once: an error may mean
// that it was done. Replies are string, int64, nil, []any; an error reply is
// the error.
func (s *Server) Do(ctx context.Context, args ...any) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, doTimeout)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", s.Addr())
	if err != nil {
		return nil, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	in := bufio.NewReader(c)
	if s.password != "" {
		if _, err := exchange(c, in, "AUTH", s.password); err != nil {
			return nil, err
		}
	}
	return exchange(c, in, args...)
}

func exchange(w io.Writer, r *bufio.Reader, args ...any) (any, error) {
	b := fmt.Appendf(nil, "*%d\r\n", len(args))
	for _, a := range args {
		text := fmt.Sprint(a)
		b = fmt.Appendf(b, "$%d\r\n%s\r\n", len(text), text)
	}
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	return readReply(r)
}

// readReply reads one reply of RESP2 (redis.io, "Redis serialization protocol
// specification").
func readReply(r *bufio.Reader) (any, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	if len(line) < 3 {
		return nil, fmt.Errorf("reply %q is no RESP", line)
	}
	rest := line[1 : len(line)-2]
	switch line[0] {
	case '+':
		return rest, nil
	case '-':
		return nil, errors.New(rest)
	}
	n, err := strconv.ParseInt(rest, 10, 64)
	switch {
	case err != nil:
		return nil, fmt.Errorf("reply %q: %w", line, err)
	case line[0] == ':':
		return n, nil
	case n < 0:
		return nil, nil
	case line[0] == '$':
		b := make([]byte, n+2)
		_, err := io.ReadFull(r, b)
		return string(b[:n]), err
	case line[0] == '*':
		return readArray(r, n)
	}
	return nil, fmt.Errorf("reply %q is no RESP2", line)
}

// readArray reads n replies. An error among them is its text.
func readArray(r *bufio.Reader, n int64) (any, error) {
	out := make([]any, n)
	for i := range out {
		v, err := readReply(r)
		if err != nil {
			v = err.Error()
		}
		out[i] = v
	}
	return out, nil
}
