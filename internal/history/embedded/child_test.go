package embedded_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pushd.example/internal/history"
	"pushd.example/internal/history/embedded"
	"pushd.example/internal/testkit"
)

// childEnv tells the test binary to be the child of the kill test, on this
// directory.
const childEnv = "PUSHD_TEST_APPEND_TO"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		appendUntilKilled(dir)
	}
	if dir := os.Getenv(lockedEnv); dir != "" {
		openAndTell(dir)
	}
	testkit.Main(m)
}

// The child's writers send round robin: to a user of their own, to the crowd,
// to everybody.
const writers = 6

func crowd() []string {
	users := make([]string, 40)
	for i := range users {
		users[i] = fmt.Sprintf("member-%d", i)
	}
	return users
}

// push returns message n of a writer in a run; its key and body name it.
func push(run string, writer, n int) history.Push {
	p := history.Push{IdempotencyKey: fmt.Sprintf("%s/%d/%d", run, writer, n)}
	p.Data = []byte(p.IdempotencyKey + strings.Repeat(".", n%300)) // inline and stored once
	switch n % 3 {
	case 0:
		p.Kind, p.Users = history.Unicast, []string{fmt.Sprintf("writer-%d", writer)}
	case 1:
		p.Kind, p.Users = history.Multicast, crowd()
	case 2:
		p.Kind = history.Broadcast
	}
	return p
}

// appendUntilKilled prints the key and id of each append that was answered.
func appendUntilKilled(dir string) {
	s, err := embedded.Open(embedded.Config{Dir: dir, Retention: everything})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	run := strconv.FormatInt(time.Now().UnixNano(), 36)
	var out sync.Mutex
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := 0; ; n++ {
				p := push(run, w, n)
				r, err := s.Append(context.Background(), p)
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				out.Lock()
				fmt.Printf("%s %d %d\n", p.IdempotencyKey, n, r.ID) // one write, before the next append
				out.Unlock()
			}
		})
	}
	wg.Wait()
}

// everything keeps all that a test writes.
var everything = history.Retention{InboxCount: 1 << 30, BroadcastCount: 1 << 30}

// acked is what the child said it had stored.
type acked struct {
	key    string
	writer int
	n      int
	id     history.ID
}

func TestKill(t *testing.T) {
	dir := t.TempDir()
	var all []acked
	for round := range 12 {
		all = append(all, killRound(t, dir, 10+37*round%200)...)
		checkStored(t, dir, all)
	}
	if len(all) == 0 {
		t.Fatal("nothing was ever acknowledged")
	}
	t.Logf("%d appends acknowledged in 12 lives", len(all))
}

// killRound lets a child append, kills it some acknowledgements later, and
// returns all that it acknowledged.
func killRound(t *testing.T, dir string, after int) []acked {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childEnv+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var got []acked
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil { // it is dead; a torn line was not said
			break
		}
		got = append(got, parseAcked(t, line))
		if len(got) == after {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := child.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the child ended by itself: %v", err)
	}
	return got
}

func parseAcked(t *testing.T, line string) acked {
	t.Helper()
	var a acked
	if _, err := fmt.Sscanf(line, "%s %d %d\n", &a.key, &a.n, &a.id); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	if _, err := fmt.Sscanf(strings.Split(a.key, "/")[1], "%d", &a.writer); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return a
}

// checkStored opens what the children left and compares.
func checkStored(t *testing.T, dir string, all []acked) {
	t.Helper()
	s, err := embedded.Open(embedded.Config{Dir: dir, Retention: everything})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	histories := map[string]map[string]history.ID{}
	for w := range writers {
		user := fmt.Sprintf("writer-%d", w)
		histories[user] = wholeHistory(t, s, user)
	}
	first := wholeHistory(t, s, "member-0")
	for _, user := range crowd() {
		if got := wholeHistory(t, s, user); !equal(got, first) {
			t.Fatalf("a multicast reached member-0 (%d messages) and %s (%d) differently", len(first), user, len(got))
		}
	}
	for _, a := range all {
		user := "member-0" // the crowd, and everybody
		if a.n%3 == 0 {
			user = fmt.Sprintf("writer-%d", a.writer)
		}
		h := histories[user]
		if user == "member-0" {
			h = first
		}
		if h[a.key] != a.id {
			t.Fatalf("%s was acknowledged as %d, stored is %d", a.key, a.id, h[a.key])
		}
	}
	checkKeys(t, s, all)
}

func equal(a, b map[string]history.ID) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return true
}

// checkKeys retries the newest messages and then appends: what has an id keeps
// it, and new ids lie after all.
func checkKeys(t *testing.T, s history.Store, all []acked) {
	t.Helper()
	for _, a := range all[max(0, len(all)-20):] {
		p := push(strings.Split(a.key, "/")[0], a.writer, a.n)
		r, err := s.Append(t.Context(), p)
		if err != nil || !r.Duplicate || r.ID != a.id {
			t.Fatalf("retrying %s, stored as %d: %+v, %v", a.key, a.id, r, err)
		}
	}
	r, err := s.Append(t.Context(), history.Push{Kind: history.Unicast, Users: []string{"after"}})
	if err != nil {
		t.Fatal(err)
	}
	last := slices.MaxFunc(all, func(a, b acked) int { return int(a.id) - int(b.id) })
	if r.ID <= last.id {
		t.Fatalf("new id %d after %d", r.ID, last.id)
	}
}

// wholeHistory returns the ids of user's messages by key, and checks that they
// rise and that no key is there twice.
func wholeHistory(t *testing.T, s history.Store, user string) map[string]history.ID {
	t.Helper()
	got := map[string]history.ID{}
	var last history.ID
	for q := (history.Query{Direction: history.Forward, Limit: 1000}); ; {
		p, err := s.Page(t.Context(), user, q)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range p.Messages {
			key := strings.TrimRight(string(m.Data), ".")
			if m.ID <= last || got[key] != 0 {
				t.Fatalf("%s of %s: id %d after %d, before stored as %d", key, user, m.ID, last, got[key])
			}
			got[key], last = m.ID, m.ID
		}
		if !p.HasMore {
			return got
		}
		q.After = p.Cursor
	}
}
