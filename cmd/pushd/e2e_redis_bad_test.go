package main

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"pushd.example/internal/redistest"
	"pushd.example/internal/testkit"
)

// TestE2ERedisStops stops Redis as SIGSTOP does: connections stay open and
// nothing answers. After the first calls have waited their time, others are
// refused at once, and /readyz is red within five seconds.
func TestE2ERedisStops(t *testing.T) {
	redis := redistest.Start(t, redistest.Options{})
	s := startOn(t, redis.URL(), "n1")
	c := mustDial(t, s, "42", "")
	first := s.push("unicast", `{"user":"42","data":1}`)
	want(t, c.next(t), first.ID, "unicast", "1")

	if err := redis.Pause(); err != nil {
		t.Fatal(err)
	}
	stopped := time.Now()
	testkit.WaitForSuccess(t, "/readyz to turn red", func() error { return s.readyz(http.StatusServiceUnavailable) })
	if took := time.Since(stopped); took > 5*time.Second {
		t.Errorf("/readyz turned red after %v", took)
	}
	began := time.Now()
	for range 50 {
		for _, call := range [][3]string{{"POST", "/v1/unicast", `{"user":"42","data":2}`}, {"GET", "/v1/users/42/history", ""}} {
			if status, err := s.rest(call[0], call[1], call[2], nil); status != http.StatusServiceUnavailable {
				t.Fatalf("%s %s while Redis stands still: %d, %v; want 503", call[0], call[1], status, err)
			}
		}
	}
	// Each alone would have waited 3 s.
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("100 refusals took %v", took)
	}
	if err := redis.Resume(); err != nil {
		t.Fatal(err)
	}
	testkit.WaitForSuccess(t, "/readyz to turn green", func() error { return s.readyz(http.StatusOK) })
	second := s.push("unicast", `{"user":"42","data":3}`)
	want(t, c.next(t), second.ID, "unicast", "3")
}

// TestE2ERedisStarved makes Redis forget where anybody is connected: pushes are
// answered OK and reach nobody, as after a failover that lost a tail. The node
// misses its own probes, joins again, and delivers what it was not told of.
func TestE2ERedisStarved(t *testing.T) {
	redis := redistest.Start(t, redistest.Options{})
	s := startOn(t, redis.URL(), "n1")
	c := mustDial(t, s, "42", "")
	first := s.push("unicast", `{"user":"42","data":1}`)
	want(t, c.next(t), first.ID, "unicast", "1")

	do(t, redis, "EVAL", "return redis.call('DEL', unpack(redis.call('KEYS', 'pushd:{*}o')))", 0)
	starved := s.push("unicast", `{"user":"42","data":2}`)
	wantOnline(t, "a push that nobody is told of", starved.Online, 0)
	want(t, c.next(t), starved.ID, "unicast", "2")
	last := s.push("unicast", `{"user":"42","data":3}`)
	wantOnline(t, "a push after that", last.Online, 1)
	want(t, c.next(t), last.ID, "unicast", "3")
}

// TestE2ERedisRefusesToStart tries every Redis that pushd must not run on.
func TestE2ERedisRefusesToStart(t *testing.T) {
	plain := redistest.Start(t, redistest.Options{})
	locked := redistest.Start(t, redistest.Options{Password: "open sesame"})
	evicting := redistest.Start(t, redistest.Options{Args: []string{"maxmemory 100mb", "maxmemory-policy allkeys-lru"}})
	full := redistest.Start(t, redistest.Options{Args: []string{"maxmemory 1"}})
	replica := redistest.Start(t, redistest.Options{Args: []string{"replicaof " + strings.Replace(plain.Addr(), ":", " ", 1)}})
	version, err := plain.Info(t.Context(), "redis_version")
	if err != nil {
		t.Fatal(err)
	}
	old := redistest.NewProxy(t, plain.Addr())
	ancient := "6.2.19"[:min(6, len(version))]
	old.Rewrite("redis_version:"+version, "redis_version:"+ancient)
	cut, newer := redistest.Start(t, redistest.Options{}), redistest.Start(t, redistest.Options{})
	do(t, cut, "SET", "pushd:format", "1 4")
	do(t, newer, "SET", "pushd:format", "99 1")
	gone := redistest.Start(t, redistest.Options{})
	gone.Kill()

	for name, c := range map[string]struct {
		url  string
		says []string
	}{
		"no password":    {"redis://" + locked.Addr() + "/0", []string{locked.Addr(), "password"}},
		"wrong password": {"redis://:sesame@" + locked.Addr() + "/0", []string{locked.Addr(), "password"}},
		"evicting":       {evicting.URL(), []string{"maxmemory-policy", "allkeys-lru", "noeviction"}},
		"full":           {full.URL(), []string{"memory"}},
		"a replica":      {replica.URL(), []string{replica.Addr(), "replica"}},
		"too old":        {old.URL(), []string{ancient, "7.0"}},
		"cut otherwise":  {cut.URL(), []string{"partitions", "have 4", "says 1"}},
		"newer data":     {newer.URL(), []string{"format", "99 1", "reads format 1"}},
		"unreachable":    {gone.URL(), []string{gone.Addr()}},
		"not a URL":      {"127.0.0.1:6379", []string{"redis: ", "redis://"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := writeFile(t, "pushd.yaml", "redis: "+c.url) // a password may not stand on the command line
			out := fails(t, append([]string{"-dev", "-config", file}, anyPort...)...)
			for _, word := range c.says {
				if !strings.Contains(out, word) {
					t.Errorf("the refusal does not mention %q:\n%s", word, out)
				}
			}
			if strings.Contains(out, "sesame") {
				t.Errorf("the refusal shows the password:\n%s", out)
			}
		})
	}
}

// TestE2ERedisTurnsBad changes a running Redis: full, then a replica of a server
// that is not there. Pushes say so, nothing is lost, and it all goes away with
// its cause, on the same socket.
func TestE2ERedisTurnsBad(t *testing.T) {
	redis, gone := redistest.Start(t, redistest.Options{}), redistest.Start(t, redistest.Options{})
	gone.Kill()
	s := startOn(t, redis.URL(), "n1")
	c := mustDial(t, s, "42", "")
	ids := []string{s.push("unicast", `{"user":"42","data":0}`).ID}
	host, port, _ := strings.Cut(gone.Addr(), ":")
	for _, f := range []struct {
		name       string
		begin, end []any
		readable   bool
	}{
		{"full", []any{"CONFIG", "SET", "maxmemory", "1"}, []any{"CONFIG", "SET", "maxmemory", "0"}, true},
		{"a replica", []any{"REPLICAOF", host, port}, []any{"REPLICAOF", "NO", "ONE"}, false},
	} {
		do(t, redis, f.begin...)
		if status, err := s.rest("POST", "/v1/unicast", `{"user":"42","data":"x"}`, nil); status != http.StatusServiceUnavailable {
			t.Errorf("%s: a push is answered %d, %v; want 503", f.name, status, err)
		}
		if f.readable {
			if got := frameIDs(s.wholeHistory("42")); !slices.Equal(got, ids) {
				t.Errorf("%s: history %v, want %v", f.name, got, ids)
			}
		}
		testkit.WaitForSuccess(t, "/readyz to turn red", func() error { return s.readyz(http.StatusServiceUnavailable) })
		do(t, redis, f.end...)
		testkit.WaitForSuccess(t, "/readyz to turn green", func() error { return s.readyz(http.StatusOK) })
		ids = append(ids, s.push("unicast", `{"user":"42","data":1}`).ID)
	}
	for _, id := range ids {
		if f := c.next(t); f.ID != id {
			t.Errorf("got %s, want %s", f.ID, id)
		}
	}
	if got := frameIDs(s.wholeHistory("42")); !slices.Equal(got, ids) {
		t.Errorf("in the end the history is %v, want %v", got, ids)
	}
}

func do(t *testing.T, s *redistest.Server, args ...any) {
	t.Helper()
	if _, err := s.Do(t.Context(), args...); err != nil {
		t.Fatalf("%v: %v", args, err)
	}
}
