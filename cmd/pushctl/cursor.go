package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// cursor is what docs/protocol.md tells clients to keep: the last id seen in
// each of the two logs.
type cursor struct{ inbox, broadcast uint64 }

const cursorDigits = 11 // of an id in base 36

func (c cursor) String() string {
	return fmt.Sprintf("%011s%011s", base36(c.inbox), base36(c.broadcast))
}

func base36(id uint64) string { return strconv.FormatUint(id, 36) }

func parseCursor(s string) (cursor, error) {
	if len(s) != 2*cursorDigits {
		return cursor{}, fmt.Errorf("a cursor has %d characters, got %d", 2*cursorDigits, len(s))
	}
	inbox, err1 := strconv.ParseUint(s[:cursorDigits], 36, 64)
	broadcast, err2 := strconv.ParseUint(s[cursorDigits:], 36, 64)
	if err1 != nil || err2 != nil {
		return cursor{}, fmt.Errorf("%q is not a cursor: want two ids in base 36", s)
	}
	return cursor{inbox, broadcast}, nil
}

// pass moves c past the message id of log. It returns false if c lies there
// already, which means that the message was seen before. A log that is none of
// the two moves nothing.
func (c *cursor) pass(log string, id uint64) bool {
	var last *uint64
	switch log {
	case "inbox":
		last = &c.inbox
	case "broadcast":
		last = &c.broadcast
	default:
		return true
	}
	if id <= *last {
		return false
	}
	*last = id
	return true
}

// cursorFile keeps a cursor between runs; "" keeps nothing.
type cursorFile string

// load returns the cursor that is kept, nil if there is none yet.
func (f cursorFile) load() (*cursor, error) {
	if f == "" {
		return nil, nil
	}
	text, err := os.ReadFile(string(f))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the cursor: %w", err)
	}
	c, err := parseCursor(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w; delete the file to begin with new messages", string(f), err)
	}
	return &c, nil
}

func (f cursorFile) save(c cursor) error {
	if f == "" {
		return nil
	}
	tmp := string(f) + ".new"
	if err := os.WriteFile(tmp, []byte(c.String()+"\n"), 0o600); err != nil {
		return fmt.Errorf("saving the cursor: %w", err)
	}
	return os.Rename(tmp, string(f))
}
