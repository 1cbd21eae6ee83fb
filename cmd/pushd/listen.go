package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"pushd.example/internal/conn/proto"
	"pushd.example/internal/history"
)

// listener is the client behind `pushd listen`: it prints what a user
// receives, reconnects as close codes ask it to, and resumes where it was,
// also after it was stopped and started again.
type listener struct {
	url        *url.URL
	user       string
	token      string
	cursorFile string // "" keeps the cursor in memory only
	out        io.Writer

	// started: there is a cursor to resume from.
	started bool
	cursor  history.Cursor
}

func runListen(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) error {
	fs := flag.NewFlagSet("pushd listen", flag.ContinueOnError)
	fs.SetOutput(stdout)
	addr := fs.String("url", "ws://127.0.0.1:8080/push", "where pushd listens for clients")
	user := fs.String("user", "", "who to be (for a pushd in -dev mode)")
	token := fs.String("token", getenv("PUSHD_TOKEN"), "client token; default $PUSHD_TOKEN")
	file := fs.String("cursor-file", "", "where to remember the cursor between starts; \"none\" forgets it (default: a file per server and user in the user's cache directory)")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *user == "" && *token == "" {
		return errors.New("listen: set -user (server in -dev mode) or -token")
	}
	u, err := url.Parse(*addr)
	if err != nil || (u.Scheme != "ws" && u.Scheme != "wss") {
		return fmt.Errorf("listen: -url: want ws://host:port/push, got %q", *addr)
	}
	l := &listener{url: u, user: *user, token: *token, out: stdout}
	if l.cursorFile, err = cursorFile(*file, u.Host, *user); err != nil {
		return err
	}
	if err := l.load(); err != nil {
		return err
	}
	return l.run(ctx)
}

// cursorFile returns where the cursor of user at host is kept, "" for nowhere.
func cursorFile(flagValue, host, user string) (string, error) {
	if flagValue == "none" {
		return "", nil
	}
	if flagValue != "" {
		return flagValue, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("listen: finding a place for the cursor (or set -cursor-file): %w", err)
	}
	dir = filepath.Join(dir, "pushd")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("listen: making a place for the cursor: %w", err)
	}
	return filepath.Join(dir, url.PathEscape(host+"|"+user)+".cursor"), nil
}

func (l *listener) load() error {
	if l.cursorFile == "" {
		return nil
	}
	b, err := os.ReadFile(l.cursorFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listen: reading the cursor: %w", err)
	}
	if l.cursor, err = history.ParseCursor(string(b)); err != nil {
		return fmt.Errorf("listen: %s: %w", l.cursorFile, err)
	}
	l.started = true
	return nil
}

// save is called after every message, so that what was printed is not printed
// again whenever the listener is stopped.
func (l *listener) save() error {
	l.started = true
	if l.cursorFile == "" {
		return nil
	}
	tmp := l.cursorFile + ".new"
	if err := os.WriteFile(tmp, []byte(l.cursor.String()), 0o600); err != nil {
		return fmt.Errorf("listen: saving the cursor: %w", err)
	}
	return os.Rename(tmp, l.cursorFile)
}

// run connects again and again until ctx ends or the server says stop.
func (l *listener) run(ctx context.Context) error {
	const shortest, longest = 100 * time.Millisecond, 10 * time.Second
	wait := shortest
	for {
		since := time.Now()
		err := l.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		var refused ws.StatusError
		var closed wsutil.ClosedError
		switch {
		case errors.As(err, &refused) && refused >= 400 && refused < 500:
			return fmt.Errorf("listen: the server refused: %d %s", int(refused), http.StatusText(int(refused)))
		case errors.As(err, &closed) && closed.Code >= 4000 && closed.Code < 4100:
			return fmt.Errorf("listen: the server said stop: %w", closed)
		case errors.As(err, &closed) && closed.Code >= 4200 && closed.Code < 4300, time.Since(since) > longest:
			wait = shortest
		}
		// Full jitter keeps many listeners from coming back at once.
		pause := wait/2 + rand.N(wait)
		fmt.Fprintf(l.out, "# %v; again in %v\n", err, pause.Round(time.Millisecond))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		wait = min(2*wait, longest)
	}
}

// session is the life of one connection; its error says why it ended.
func (l *listener) session(ctx context.Context) error {
	q := l.url.Query()
	if l.user != "" {
		q.Set("user", l.user)
	}
	if l.started {
		q.Set("cursor", l.cursor.String())
	}
	target := *l.url
	target.RawQuery = q.Encode()

	header := http.Header{}
	if l.token != "" {
		header.Set("Authorization", "Bearer "+l.token)
	}
	dialer := ws.Dialer{Timeout: 10 * time.Second, Protocols: []string{proto.Subprotocol}, Header: ws.HandshakeHeaderHTTP(header)}
	c, buffered, _, err := dialer.Dial(ctx, target.String())
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	// The server's first frames may have come with its handshake.
	var in io.Reader = c
	if buffered != nil {
		in = io.MultiReader(io.LimitReader(buffered, int64(buffered.Buffered())), c)
	}
	rw := struct {
		io.Reader
		io.Writer
	}{in, c}
	for {
		text, err := wsutil.ReadServerText(rw)
		if err != nil {
			return err
		}
		if err := l.handle(text); err != nil {
			return err
		}
	}
}

// last returns the cursor's id of the named log, nil if it is none of the two.
func (l *listener) last(log string) *history.ID {
	switch log {
	case history.Unicast.Log():
		return &l.cursor.Inbox
	case history.Broadcast.Log():
		return &l.cursor.Broadcast
	}
	return nil
}

// handle prints a frame and moves the cursor past it. A message at or below
// the cursor was printed before; one that lies in no log moves nothing.
func (l *listener) handle(text []byte) error {
	var m struct {
		Type   string `json:"type"`
		Cursor string `json:"cursor"`
		Log    string `json:"log"`
		ID     string `json:"id"`
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return fmt.Errorf("listen: reading %q: %w", text, err)
	}
	switch m.Type {
	case "hello":
		c, err := history.ParseCursor(m.Cursor)
		if err != nil {
			return err
		}
		l.cursor = c
	case "message":
		id, err := history.ParseID(m.ID)
		if err != nil {
			return err
		}
		if last := l.last(m.Log); last != nil {
			if id <= *last {
				return nil
			}
			*last = id
		}
	}
	if _, err := fmt.Fprintf(l.out, "%s\n", text); err != nil {
		return fmt.Errorf("listen: printing: %w", err)
	}
	return l.save()
}
