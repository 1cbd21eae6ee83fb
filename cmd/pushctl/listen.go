package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"
)

const listenMore = `It reconnects and resumes where it was, also after it was stopped and started
again: the cursor is kept in a file. Give a client token with -token-file, or,
with a pushd in -dev mode, the name of a user with -user.`

// listener is a client of the WebSocket protocol (docs/protocol.md).
type listener struct {
	*call
	url  url.URL
	user string
	file cursorFile
	// cursor is nil until the server or the file gave one.
	cursor *cursor
}

func listen(c *call) func(context.Context) error {
	user := c.flags.String("user", "", "`NAME` of the user to be, with a pushd in -dev mode")
	file := c.flags.String("cursor-file", "", "`FILE` that keeps the cursor between runs; \"none\" keeps none and begins with new messages (default a file for each server and user in the user's cache directory)")
	return func(ctx context.Context) error {
		u, err := url.Parse(c.settings.url)
		if err != nil || u.Host == "" || u.Scheme != "ws" && u.Scheme != "wss" {
			return usagef("-url: want ws://host:port/push or wss://…, got %q", c.settings.url)
		}
		token, err := c.clientToken()
		if err != nil {
			return err
		}
		if *user == "" && token == "" {
			return usagef("set -token-file, or -user for a pushd in -dev mode")
		}
		l := &listener{call: c, url: *u, user: *user}
		if l.file, err = cursorFileFor(*file, u.Host, *user, token); err != nil {
			return err
		}
		if l.cursor, err = l.file.load(); err != nil {
			return err
		}
		return c.again(ctx, l.session)
	}
}

// cursorFileFor returns where the cursor of a user at host is kept. The default
// is a file in the cache directory, since losing it costs no more than missed
// output.
func cursorFileFor(flag, host, user, token string) (cursorFile, error) {
	switch flag {
	case "none":
		return "", nil
	case "":
	default:
		return cursorFile(flag), nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding a directory for the cursor: %w; set -cursor-file", err)
	}
	dir = filepath.Join(dir, "pushctl")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("making a directory for the cursor: %w; set -cursor-file", err)
	}
	if user == "" {
		user = subject(token)
	}
	return cursorFile(filepath.Join(dir, url.PathEscape(host+"|"+user)+".cursor")), nil
}

// subject returns the user that a token names, or "" if it cannot be read. The
// server checks the token; here it only keeps cursors of users apart.
func subject(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	var claims struct {
		Sub string `json:"sub"`
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		return ""
	}
	return claims.Sub
}

// session is the life of one connection; its error says why it ended.
func (l *listener) session(ctx context.Context) error {
	ws, err := l.connect(ctx)
	if err != nil {
		return err
	}
	defer ws.CloseNow()
	ws.SetReadLimit(32 << 20)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go l.ping(ctx, ws)
	for {
		_, text, err := ws.Read(ctx)
		if err != nil {
			return closed(err)
		}
		if err := l.take(text); err != nil {
			return err
		}
	}
}

// ping ends the connection when the server does not answer any more, which a
// client that only reads would never notice.
func (l *listener) ping(ctx context.Context, ws *websocket.Conn) {
	const every = 45 * time.Second
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		timed, cancel := context.WithTimeout(ctx, every)
		err := ws.Ping(timed)
		cancel()
		if err != nil {
			_ = ws.CloseNow()
			return
		}
	}
}

func (l *listener) connect(ctx context.Context) (*websocket.Conn, error) {
	// The file is read each time, so that a new token takes effect.
	token, err := l.clientToken()
	if err != nil {
		return nil, err
	}
	header := http.Header{"User-Agent": {"pushctl"}}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	q := l.url.Query()
	if l.user != "" {
		q.Set("user", l.user)
	}
	if l.cursor != nil {
		q.Set("cursor", l.cursor.String())
	}
	target := l.url
	target.RawQuery = q.Encode()
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	ws, resp, err := websocket.Dial(ctx, target.String(), &websocket.DialOptions{
		HTTPHeader:   header,
		Subprotocols: []string{"pushd.v1.json"},
	})
	switch {
	case err == nil:
		return ws, nil
	case resp == nil:
		return nil, retriable{error: fmt.Errorf("cannot reach pushd at %s: is it running, and is -url right? (%w)", l.settings.url, lastCause(err))}
	}
	return nil, refused(resp)
}

// lastCause returns the innermost error, which says what the network did.
func lastCause(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// refused is the error of an answer other than 101: temporary if another attempt
// may be answered otherwise.
func refused(resp *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	var body struct {
		Message string `json:"message"`
	}
	if json.Unmarshal(text, &body) != nil || body.Message == "" {
		body.Message = "not an answer of pushd; is -url right?"
	}
	err := fmt.Errorf("pushd refused with %s: %s", resp.Status, body.Message)
	if resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests {
		return err
	}
	seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	return retriable{error: err, after: time.Duration(seconds) * time.Second}
}

// closed says what the close code asks for (docs/protocol.md, Closing).
func closed(err error) error {
	code := int(websocket.CloseStatus(err))
	var frame websocket.CloseError
	if errors.As(err, &frame) {
		err = fmt.Errorf("pushd closed the connection with code %d: %s", code, frame.Reason)
	}
	switch {
	case code == 1002, code == 1003, code == 1007, code == 1009, code >= 4000 && code < 4100:
		return err
	case code >= 4200 && code < 4300:
		return retriable{error: err, atOnce: true}
	}
	return retriable{error: err}
}

// frame is what this client reads of a frame.
type frame struct {
	Type       string `json:"type"`
	Connection string `json:"connection"`
	User       string `json:"user"`
	Cursor     string `json:"cursor"`
	Unread     int    `json:"unread"`
	Truncated  bool   `json:"truncated"`
	Code       string `json:"code"`
	Message    string `json:"message"`
	message
}

// take prints a frame, moves the cursor past it and saves that. A message that
// the cursor has passed was printed before.
func (l *listener) take(text []byte) error {
	var f frame
	if err := json.Unmarshal(text, &f); err != nil {
		return fmt.Errorf("reading the frame %.200q: %w", text, err)
	}
	switch f.Type {
	case "hello":
		c, err := parseCursor(f.Cursor)
		if err != nil {
			return fmt.Errorf("reading hello: %w", err)
		}
		l.cursor = &c
	case "message":
		id, err := strconv.ParseUint(f.ID, 10, 53)
		if err != nil || l.cursor == nil {
			return fmt.Errorf("want a message with an id after hello, got %.200q", text)
		}
		if !l.cursor.pass(f.Log, id) {
			return nil
		}
	}
	if err := l.print(f, text); err != nil {
		return err
	}
	if l.cursor == nil {
		return nil
	}
	return l.file.save(*l.cursor)
}

func (l *listener) print(f frame, text []byte) error {
	if l.json {
		return l.line("%s", text)
	}
	switch f.Type {
	case "hello":
		note := ""
		if f.Truncated {
			note = "; older messages were dropped by retention before they came here"
		}
		return l.line("connected as %s, connection %s, %d unread%s", f.User, f.Connection, f.Unread, note)
	case "message":
		return l.line("%s", f.message)
	case "recall":
		return l.line("recalled %s", f.ID)
	case "acked":
		return l.line("acked, %d unread", f.Unread)
	case "error":
		return l.line("error %s: %s", f.Code, f.Message)
	}
	return l.line("%s", text) // a type that came after this client
}
