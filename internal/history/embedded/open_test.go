package embedded_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"pushd.example/internal/history"
	"pushd.example/internal/history/embedded"
	"pushd.example/internal/history/historytest"
)

func mustOpen(t testing.TB, c embedded.Config) *embedded.Store {
	t.Helper()
	s, err := embedded.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// lockedEnv tells the test binary to try to open this directory, and to print
// what comes of it.
const lockedEnv = "PUSHD_TEST_OPEN"

func openAndTell(dir string) {
	s, err := embedded.Open(embedded.Config{Dir: dir})
	if errors.Is(err, history.ErrLocked) {
		os.Stdout.WriteString("locked: " + err.Error())
		os.Exit(0)
	}
	if err != nil {
		os.Stdout.WriteString(err.Error())
		os.Exit(0)
	}
	os.Stdout.WriteString("opened")
	if err := s.Close(); err != nil {
		os.Stdout.WriteString(err.Error())
	}
	os.Exit(0)
}

func TestSecondProcess(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, embedded.Config{Dir: dir})
	told := func() string {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), lockedEnv+"="+dir)
		out, err := child.CombinedOutput()
		if err != nil {
			t.Fatal(err, string(out))
		}
		return string(out)
	}
	if got := told(); !strings.HasPrefix(got, "locked: ") || !strings.Contains(got, dir) {
		t.Errorf("a second process got %q, want ErrLocked with the directory", got)
	}
	// The refused one has not broken the lock.
	if got := told(); !strings.HasPrefix(got, "locked: ") {
		t.Errorf("a third process got %q, want ErrLocked", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := told(); got != "opened" {
		t.Errorf("after Close another process got %q", got)
	}
}

func TestSecondStoreInThisProcess(t *testing.T) {
	dir := t.TempDir()
	mustOpen(t, embedded.Config{Dir: dir})
	for _, name := range []string{dir, filepath.Join(dir, "..", filepath.Base(dir))} {
		_, err := embedded.Open(embedded.Config{Dir: name})
		if !errors.Is(err, history.ErrLocked) || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want ErrLocked with the directory", err)
		}
	}
}

func TestRelativeDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	s := mustOpen(t, embedded.Config{Dir: "./a/b"})
	_, err := embedded.Open(embedded.Config{Dir: "a/b"})
	if !errors.Is(err, history.ErrLocked) {
		t.Errorf("%v, want ErrLocked", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, embedded.Config{Dir: "a/b"})
}

// TestFormat changes the format of a directory behind the back of the store. A store
// that is refused leaves the directory to the next, with its data.
func TestFormat(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, embedded.Config{Dir: dir})
	if _, err := s.Append(t.Context(), history.Push{Kind: history.Unicast, Users: []string{"ann"}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := format(t, dir, []byte{2}); string(got) != "\x01" {
		t.Errorf("a new store has format %q, want 1", got)
	}
	refused := func(want string) {
		t.Helper()
		s, err := embedded.Open(embedded.Config{Dir: dir})
		if err == nil {
			t.Fatal("opened", s.Close())
		}
		if !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want the directory and %q", err, want)
		}
	}
	refused("it has format 2, this program reads format 1")
	format(t, dir, []byte{})
	refused("format")
	format(t, dir, []byte{1})
	s = mustOpen(t, embedded.Config{Dir: dir})
	if p, err := s.Page(t.Context(), "ann", history.Query{Limit: 1}); err != nil || len(p.Messages) != 1 {
		t.Errorf("%d messages, %v; want the one from before", len(p.Messages), err)
	}
}

// format sets the format of a directory, and returns what it was.
func format(t *testing.T, dir string, to []byte) (was []byte) {
	t.Helper()
	db, err := pebble.Open(dir, &pebble.Options{Logger: embedded.Quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	value, closer, err := db.Get([]byte("f"))
	if err != nil {
		t.Fatal(err, db.Close())
	}
	was = bytes.Clone(value)
	if err := errors.Join(closer.Close(), db.Set([]byte("f"), to, pebble.Sync), db.Close()); err != nil {
		t.Fatal(err)
	}
	return was
}

// TestDirectoryIsPrivate: nobody but the owner reads what is in it.
func TestDirectoryIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	mustOpen(t, embedded.Config{Dir: dir})
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v; want 0700", info.Mode().Perm(), err)
	}
}

// TestOpenDeletes: Open deletes what retention dropped while the store was closed,
// and the next one knows that something was.
func TestOpenDeletes(t *testing.T) {
	clock := historytest.NewClock()
	c := embedded.Config{Dir: t.TempDir(), Now: clock.Now, Retention: history.Retention{
		BroadcastCount: 3, InboxAge: time.Hour}}
	s := mustOpen(t, c)
	big := make([]byte, 1000)
	for range 10 {
		_, err1 := s.Append(t.Context(), history.Push{Kind: history.Broadcast})
		_, err2 := s.Append(t.Context(), history.Push{Kind: history.Multicast, Users: []string{"ann", "bob"}, Data: big})
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	clock.Advance(3 * time.Hour)
	for range 2 { // ages delete by two readings of the clock
		s = mustOpen(t, c)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s = mustOpen(t, c)
	for tag, want := range map[byte]int{'b': 3, 'h': 3, 'm': 0, 'r': 0} {
		if n, err := embedded.Keys(s, tag); err != nil || n != want {
			t.Errorf("%d keys of %q, %v; want %d", n, tag, err, want)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = mustOpen(t, c)
	q := history.Query{Direction: history.Forward, Limit: 10}
	if p, err := s.Page(t.Context(), "nobody", q); err != nil || len(p.Messages) != 3 || !p.Truncated {
		t.Errorf("%d broadcasts, truncated: %v, %v; want the last 3 and truncated", len(p.Messages), p.Truncated, err)
	}
}

func TestParseSync(t *testing.T) {
	for _, want := range []embedded.Sync{embedded.SyncAlways, embedded.SyncInterval, embedded.SyncNever} {
		if got, err := embedded.ParseSync(want.String()); got != want || err != nil {
			t.Errorf("%v reads as %v, %v", want, got, err)
		}
	}
	if _, err := embedded.ParseSync("sometimes"); err == nil || !strings.Contains(err.Error(), `"sometimes"`) {
		t.Errorf("sometimes reads as %v", err)
	}
}

// TestUsersDoNotMix has users whose names are prefixes of each other, also with
// the bytes that other encodings end a name with.
func TestUsersDoNotMix(t *testing.T) {
	s := mustOpen(t, embedded.Config{Dir: t.TempDir()})
	users := []string{"a", "a\x00", "a\x00b", "ab", "b", "\x00", "\x01a", strings.Repeat("a", history.MaxUser), "é", "é\x00"}
	for round := range 3 {
		for i, user := range users {
			for range i + 1 {
				_, err := s.Append(t.Context(), history.Push{Kind: history.Unicast, Users: []string{user}, Data: []byte(user)})
				if err != nil {
					t.Fatal(round, err)
				}
			}
		}
	}
	for i, user := range users {
		p, err := s.Page(t.Context(), user, history.Query{Direction: history.Forward, Limit: 1000})
		if err != nil || len(p.Messages) != 3*(i+1) || p.Unread != 3*(i+1) {
			t.Errorf("%q has %d messages, %d unread, %v; want %d", user, len(p.Messages), p.Unread, err, 3*(i+1))
		}
		for _, m := range p.Messages {
			if string(m.Data) != user {
				t.Errorf("%q got a message of %q", user, m.Data)
			}
		}
	}
}
