//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// publisher makes calls one after the other; every caller has its own.
type publisher interface {
	// publish returns nil when the server has taken m with data, a JSON value.
	publish(ctx context.Context, m message, data []byte) error
	close()
}

// api is where and how to publish over HTTP. pushd's is one of the many that
// templates can describe.
type api struct {
	secure  bool
	host    string
	timeout time.Duration
	header  string // lines, each with its line end
	names   userNames
	users   int
	// calls has for every kind of message the request's path and body.
	calls [kinds]struct{ path, body template }
}

// pushdCalls are pushd's paths and bodies.
var pushdCalls = [kinds][2]string{
	unicast:   {"/v1/unicast", `{"user":"{user}","data":{data}}`},
	multicast: {"/v1/multicast", `{"users":{users},"data":{data}}`},
	broadcast: {"/v1/broadcast", `{"data":{data}}`},
}

// newAPI describes pushd's REST API or, with -publish-url, another.
func newAPI(cfg *config, names userNames) (*api, error) {
	a := &api{timeout: cfg.timeout, names: names, users: cfg.hold.Users}
	if cfg.apiKey != "" {
		a.header = "Authorization: Bearer " + cfg.apiKey + "\r\n"
	}
	for _, line := range cfg.headers {
		a.header += line + "\r\n"
	}
	flag, base := "-api", cfg.api
	if cfg.publish.url != "" {
		flag, base = "-publish-url", cfg.publish.url
	}
	scheme, host, path, err := splitURL(base, "http", "https")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	a.secure, a.host = scheme == "https", host
	for k, call := range pushdCalls {
		if cfg.publish.url != "" {
			call = [2]string{path, cfg.publish.body}
		}
		if err := a.parse(kind(k), call[0], call[1]); err != nil {
			return nil, fmt.Errorf("-publish-url, -publish-body: %w", err)
		}
	}
	return a, nil
}

// parse sets how messages of kind k are sent.
func (a *api) parse(k kind, path, body string) (err error) {
	if a.calls[k].path, err = parseTemplate(path, varUser); err != nil {
		return err
	}
	if a.calls[k].body, err = parseTemplate(body, varUser, varUsers, varData); err != nil {
		return err
	}
	if !a.calls[k].body.has(varData) {
		return errors.New("want {data} in the body, or there is no telling what was delivered")
	}
	return nil
}

// value appends what v stands for in m.
func (a *api) value(dst []byte, v variable, m message, data []byte) []byte {
	switch v {
	case varUser:
		return a.names.append(dst, m.first)
	case varUsers:
		before := byte('[')
		for i := range m.fan {
			dst = append(dst, before, '"')
			dst = a.names.append(dst, (m.first+i)%a.users)
			dst = append(dst, '"')
			before = ','
		}
		return append(dst, ']')
	default:
		return append(dst, data...)
	}
}

// rest publishes over one kept connection, with as little work as HTTP/1.1
// allows: what the load generator spends, the server next to it lacks.
type rest struct {
	api  *api
	conn net.Conn // nil: to be made
	in   *bufio.Reader
	body []byte
	out  []byte
}

func (r *rest) close() {
	if r.conn != nil {
		_ = r.conn.Close()
		r.conn = nil
	}
}

func (r *rest) publish(ctx context.Context, m message, data []byte) error {
	if r.conn == nil {
		if err := r.dial(ctx); err != nil {
			return err
		}
	}
	keep, err := r.exchange(m, data)
	if !keep {
		r.close()
	}
	return err
}

func (r *rest) dial(ctx context.Context) (err error) {
	d := net.Dialer{Timeout: r.api.timeout}
	if r.api.secure {
		r.conn, err = (&tls.Dialer{NetDialer: &d}).DialContext(ctx, "tcp", r.api.host)
	} else {
		r.conn, err = d.DialContext(ctx, "tcp", r.api.host)
	}
	if err != nil {
		r.conn = nil
		return fmt.Errorf("publishing: %w", err)
	}
	r.in = bufio.NewReader(r.conn)
	return nil
}

// exchange sends m and reads the answer; keep says whether the connection is
// good for another.
func (r *rest) exchange(m message, data []byte) (keep bool, err error) {
	r.request(m, data)
	if err := r.conn.SetDeadline(time.Now().Add(r.api.timeout)); err != nil {
		return false, fmt.Errorf("publishing: %w", err)
	}
	if _, err := r.conn.Write(r.out); err != nil {
		return false, fmt.Errorf("publishing: %w", plain(err))
	}
	resp, err := http.ReadResponse(r.in, nil)
	if err != nil {
		return false, fmt.Errorf("publishing: reading the answer: %w", plain(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		said, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
		return false, fmt.Errorf("publishing: %s: %s", resp.Status, bytes.TrimSpace(said))
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return false, fmt.Errorf("publishing: reading the answer: %w", plain(err))
	}
	return !resp.Close, nil
}

// plain leaves the addresses out of a network error, so that equal errors have
// equal texts.
func plain(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// request builds the request in r.out.
func (r *rest) request(m message, data []byte) {
	value := func(dst []byte, v variable) []byte { return r.api.value(dst, v, m, data) }
	call := &r.api.calls[m.kind]
	r.body = call.body.append(r.body[:0], value)
	r.out = append(r.out[:0], "POST "...)
	r.out = call.path.append(r.out, value)
	r.out = append(r.out, " HTTP/1.1\r\nHost: "...)
	r.out = append(r.out, r.api.host...)
	r.out = append(r.out, "\r\nContent-Type: application/json\r\n"...)
	r.out = append(r.out, r.api.header...)
	r.out = append(r.out, "Content-Length: "...)
	r.out = strconv.AppendInt(r.out, int64(len(r.body)), 10)
	r.out = append(r.out, "\r\n\r\n"...)
	r.out = append(r.out, r.body...)
}
