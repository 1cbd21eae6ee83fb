package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCursor(t *testing.T) {
	c, err := parseCursor("000000000010000000001z")
	if err != nil || c != (cursor{inbox: 1, broadcast: 71}) {
		t.Fatalf("got %+v, %v", c, err)
	}
	for _, m := range []struct {
		log  string
		id   uint64
		want bool
	}{{"inbox", 1, false}, {"inbox", 5, true}, {"inbox", 5, false}, {"broadcast", 72, true}, {"none", 3, true}, {"later", 3, true}} {
		if got := c.pass(m.log, m.id); got != m.want {
			t.Errorf("%s %d: new is %v, want %v", m.log, m.id, got, m.want)
		}
	}
	if got := c.String(); got != "0000000000500000000020" {
		t.Errorf("got %s", got)
	}
	for _, bad := range []string{"", "0", strings.Repeat("!", 22), strings.Repeat("z", 23)} {
		if _, err := parseCursor(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestCursorFile(t *testing.T) {
	file := cursorFile(filepath.Join(t.TempDir(), "c"))
	if c, err := file.load(); c != nil || err != nil {
		t.Fatalf("no file: got %v, %v", c, err)
	}
	want := cursor{7, 8}
	if err := file.save(want); err != nil {
		t.Fatal(err)
	}
	if c, err := file.load(); err != nil || *c != want {
		t.Errorf("got %v, %v, want %v", c, err, want)
	}
	if err := os.WriteFile(string(file), []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := file.load(); err == nil || !strings.Contains(err.Error(), "delete the file") {
		t.Errorf("got %v, want an error that says what to do", err)
	}
	if c, err := cursorFile("").load(); c != nil || err != nil || cursorFile("").save(want) != nil {
		t.Errorf("no file name: got %v, %v", c, err)
	}
}

// Two tokens at one server must not share a cursor.
func TestCursorFileFor(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", os.Getenv("XDG_CACHE_HOME")) // where the system has no XDG directories
	// {"sub":"a"} and {"sub":"b"}, unsigned.
	a, err1 := cursorFileFor("", "host:1", "", "x.eyJzdWIiOiJhIn0.x")
	b, err2 := cursorFileFor("", "host:1", "", "x.eyJzdWIiOiJiIn0.x")
	dev, err3 := cursorFileFor("", "host:1", "a", "")
	if err1 != nil || err2 != nil || err3 != nil || a == b || a != dev {
		t.Errorf("a %s, b %s, -user a %s; %v %v %v", a, b, dev, err1, err2, err3)
	}
}
