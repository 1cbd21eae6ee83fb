//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pushd.example/internal/auth"
)

func TestEveryKindOfMessageIsCounted(t *testing.T) {
	for _, c := range []struct {
		mode string
		more []string
		// want deliveries of 50 messages to 30 connections of 10 users.
		want int64
	}{
		{"unicast", nil, 50 * 3},
		{"multicast", []string{"-fan", "4"}, 50 * 12},
		{"multicast", []string{"-fan", "10"}, 50 * 30},
		{"broadcast", nil, 50 * 30},
		{"mixed", []string{"-mix", "unicast=1,broadcast=2", "-procs", "3"}, -1},
	} {
		for _, via := range []string{"rest", "grpc", "stream"} {
			t.Run(strings.Join(append([]string{c.mode, via}, c.more...), " "), func(t *testing.T) {
				t.Parallel()
				f := newFake(t)
				more := append([]string{"-conns", "30", "-users", "10", "-messages", "50", "-callers", "4", "-via", via}, c.more...)
				if via != "rest" {
					more = append(more, "-api", f.grpc)
				}
				r := mustBench(t, f.args(c.mode, more...)...)
				p := r.Push
				if f.calls.Load() != 50 || p.Messages != 50 || p.Failed != 0 {
					t.Errorf("the server got %d calls, the report says %d and %d failed, want 50", f.calls.Load(), p.Messages, p.Failed)
				}
				if sent := f.sent.Load(); p.Deliveries != sent || p.Expected != sent || c.want >= 0 && sent != c.want {
					t.Errorf("the server sent %d, the report says %d of %d, want %d", sent, p.Deliveries, p.Expected, c.want)
				}
				if p.Lost != 0 || p.Duplicates != 0 || p.Closed != 0 || len(r.Errors) != 0 {
					t.Errorf("lost %d, twice %d, closed %d, errors %v", p.Lost, p.Duplicates, p.Closed, r.Errors)
				}
				if p.Delivery.Count != uint64(p.Deliveries) || p.Call.Count != 50 || p.Late.Count != 50 {
					t.Errorf("latencies of %d deliveries, %d calls, %d sends", p.Delivery.Count, p.Call.Count, p.Late.Count)
				}
				if l := p.Delivery; l.P50 <= 0 || l.P50 > l.P90 || l.P90 > l.P99 || l.P99 > l.P999 || l.P999 > l.Max {
					t.Errorf("latencies do not rise: %+v", l)
				}
				if size := float64(len(f.envelope) - 2 + 64); p.Bytes != size {
					t.Errorf("%v bytes a delivery, want %v", p.Bytes, size)
				}
				if r.Connect.Opened != 30 || r.Connect.Latency.Count != 30 || p.ServerCPUMessage <= 0 {
					t.Errorf("connect %+v, server CPU %v", r.Connect, p.ServerCPUMessage)
				}
			})
		}
	}
}

func TestLostAndDuplicateDeliveriesAreTold(t *testing.T) {
	f := newFake(t)
	var lost, twice atomic.Int64
	f.copies = func(n int64, conn int) int {
		switch {
		case n == 7:
			lost.Add(1)
			return 0
		case conn == 3 && n%10 == 1:
			lost.Add(1)
			return 0
		case n == 20:
			twice.Add(1)
			return 2
		}
		return 1
	}
	r := mustBench(t, f.args("broadcast", "-conns", "10", "-messages", "40", "-wait", "300ms")...)
	if p := r.Push; p.Lost != lost.Load() || p.Duplicates != twice.Load() || p.Lost == 0 || p.Duplicates == 0 || p.Expected != 400 {
		t.Errorf("the report says %d of %d lost and %d twice, the server did %d and %d", p.Lost, p.Expected, p.Duplicates, lost.Load(), twice.Load())
	}
}

func TestSeveralMessagesInOneFrame(t *testing.T) {
	f := newFake(t)
	f.envelope = `{"a":%[1]s}` + "\n" + `{"b":%[1]s}`
	r := mustBench(t, f.args("broadcast", "-conns", "5", "-messages", "10")...)
	if p := r.Push; p.Deliveries != 100 || p.Duplicates != 50 {
		t.Errorf("%d deliveries, %d twice; want 100 and 50", p.Deliveries, p.Duplicates)
	}
}

// A server that stops for a while delays every message that is due meanwhile.
// A generator that measures from the call sees it in as many messages as there are
// callers: in 1 of 200 here.
func TestAStallIsFeltByEveryMessageDueInIt(t *testing.T) {
	const stall = 600 * time.Millisecond
	f := newFake(t)
	var resume time.Time
	f.beforeCall = func(n int64) {
		if n == 50 {
			resume = time.Now().Add(stall)
		}
		if n >= 50 {
			time.Sleep(time.Until(resume))
		}
	}
	r := mustBench(t, f.args("unicast", "-conns", "2", "-rate", "200", "-messages", "200", "-callers", "1")...)
	p := r.Push
	if p.Messages != 200 || p.Lost != 0 {
		t.Fatalf("%d messages, %d lost", p.Messages, p.Lost)
	}
	// In the stall 120 of the 200 are due, evenly: half of them wait for half
	// of it or longer.
	for name, l := range map[string]latency{"received": p.Delivery, "answered": p.Call, "sent": p.Late} {
		limit := float64((stall / 2).Milliseconds())
		if l.P90 < limit {
			t.Errorf("due → %s: p90 is %.0f ms, want at least %.0f", name, l.P90, limit)
		}
		if l.Max < 2*limit*0.9 {
			t.Errorf("due → %s: max is %.0f ms, want about %.0f", name, l.Max, 2*limit)
		}
	}
}

// A server that answers at once and delivers late is not flooded.
func TestCallsWaitForDeliveriesUnderWay(t *testing.T) {
	f := newFake(t)
	f.delay = 300 * time.Millisecond
	r := mustBench(t, f.args("broadcast", "-conns", "3", "-messages", "4", "-callers", "4", "-outstanding", "1")...)
	if f.latest.Load() != 1 || r.Push.Deliveries != 12 {
		t.Errorf("%d messages were under way at a time, %d deliveries; want 1 and 12", f.latest.Load(), r.Push.Deliveries)
	}
}

// Room that lost deliveries take is given free, in less time each time: a second
// for every fourth message here would be more than this test has.
func TestLostDeliveriesDoNotBlockTheRest(t *testing.T) {
	f := newFake(t)
	f.copies = func(n int64, conn int) int { return min(1, conn) }
	r := mustBench(t, f.args("broadcast", "-conns", "2", "-messages", "200", "-callers", "1", "-outstanding", "4", "-wait", "100ms")...)
	if p := r.Push; p.Messages != 200 || p.Lost != 200 {
		t.Errorf("%d sent and %d lost, want 200 and 200", p.Messages, p.Lost)
	}
}

func TestWhatCouldNotBeSentInTimeIsTold(t *testing.T) {
	f := newFake(t)
	release := make(chan struct{})
	time.AfterFunc(700*time.Millisecond, func() { close(release) })
	f.beforeCall = func(int64) { <-release }
	r := mustBench(t, f.args("unicast", "-conns", "1", "-rate", "100000", "-duration", "200ms", "-wait", "300ms", "-callers", "1")...)
	if p := r.Push; p.Unsent == 0 || int64(p.Messages)+p.Unsent != 20_000 || p.Lost != 0 {
		t.Errorf("%d sent, %d not, %d lost; want 20000 together", p.Messages, p.Unsent, p.Lost)
	}
}

func TestRefusedHandshakesSayWhy(t *testing.T) {
	f := newFake(t)
	f.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		http.Error(w, `{"code":"forbidden"}`, http.StatusForbidden)
		return true
	}
	r, err := runBench(t, f.args("broadcast", "-conns", "10", "-messages", "1")...)
	if err == nil || !strings.Contains(err.Error(), "0 of 10 connections could be opened") {
		t.Errorf("got %v", err)
	}
	const want = `handshake refused: 403 Forbidden: {"code":"forbidden"}`
	if r.Errors[want] != 10 || r.Connect.Failed != 10 {
		t.Errorf("errors are %v", r.Errors)
	}
}

func TestRetryAfterIsObeyed(t *testing.T) {
	f := newFake(t)
	var asked atomic.Int64
	f.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		if asked.Add(1) > 4 {
			return false
		}
		w.Header().Set("Retry-After", "0")
		http.Error(w, "later", http.StatusServiceUnavailable)
		return true
	}
	r := mustBench(t, f.args("broadcast", "-conns", "10", "-messages", "5", "-in-flight", "3")...)
	if r.Connect.Opened != 10 || r.Connect.Retried != 4 || r.Connect.Failed != 0 || r.Push.Deliveries != 50 {
		t.Errorf("%+v, %d deliveries", r.Connect, r.Push.Deliveries)
	}
}

func TestAServerThatIsFull(t *testing.T) {
	f := newFake(t)
	var in atomic.Int64
	f.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		if in.Add(1) <= 3 {
			return false
		}
		w.Header().Set("Retry-After", "1")
		http.Error(w, "full", http.StatusServiceUnavailable)
		return true
	}
	r, err := runBench(t, f.args("broadcast", "-conns", "5", "-connect-timeout", "500ms")...)
	if err == nil || !strings.Contains(err.Error(), "3 of 5 connections were open after 500ms; the server put handshakes off 2 times (503)") {
		t.Errorf("got %v", err)
	}
	if r.Connect.Opened != 3 || r.Connect.Retried != 2 {
		t.Errorf("%+v", r.Connect)
	}
}

func TestNobodyListens(t *testing.T) {
	f := newFake(t)
	args := f.args("broadcast", "-conns", "5")
	f.http.Close()
	r, err := runBench(t, args...)
	if err == nil || r.Errors["connecting: connection refused"] != 5 {
		t.Errorf("got %v, errors %v", err, r.Errors)
	}
}

func TestAServerWithoutHello(t *testing.T) {
	f := newFake(t)
	f.silent = true
	_, err := runBench(t, f.args("connect", "-conns", "5", "-connect-timeout", "500ms")...)
	if err == nil || !strings.Contains(err.Error(), "-hello") {
		t.Errorf("got %v", err)
	}
	r := mustBench(t, f.args("broadcast", "-conns", "5", "-hello", "0", "-messages", "3")...)
	if r.Connect.Opened != 5 {
		t.Errorf("with -hello 0 %d are open", r.Connect.Opened)
	}
}

func TestConnectionsThatEndAreTold(t *testing.T) {
	f := newFake(t)
	f.beforeCall = func(n int64) {
		if n != 10 {
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		for c := range f.conns {
			if c.number == 2 {
				_ = c.ws.Close(4100, "too slow")
			}
		}
	}
	r := mustBench(t, f.args("broadcast", "-conns", "5", "-messages", "30", "-callers", "1", "-wait", "300ms")...)
	if r.Push.Closed != 1 || r.Push.Lost != 21 || r.Errors["the server closed the connection with code 4100"] != 1 {
		t.Errorf("closed %d, lost %d, errors %v", r.Push.Closed, r.Push.Lost, r.Errors)
	}
}

func TestStuckConnectionsAreNotExpectedToReceive(t *testing.T) {
	f := newFake(t)
	r := mustBench(t, f.args("broadcast", "-conns", "20", "-stuck", "4", "-messages", "10")...)
	if p := r.Push; p.Expected != 160 || p.Deliveries != 160 || f.sent.Load() != 200 {
		t.Errorf("%d of %d delivered, the server sent %d", p.Deliveries, p.Expected, f.sent.Load())
	}
}

func TestFailedCallsAreToldAndEndTheRunWhenThereIsNothingElse(t *testing.T) {
	f := newFake(t)
	fail := func(every int64) func(http.ResponseWriter, *http.Request) bool {
		var n atomic.Int64
		return func(w http.ResponseWriter, r *http.Request) bool {
			if n.Add(1)%every != 0 {
				return false
			}
			http.Error(w, "no such scope", http.StatusForbidden)
			return true
		}
	}
	inner := f.http.Config.Handler
	refuse := fail(4)
	f.http.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "POST" || !refuse(w, r) {
			inner.ServeHTTP(w, r)
		}
	})
	r := mustBench(t, f.args("broadcast", "-conns", "3", "-messages", "40", "-callers", "1")...)
	if p := r.Push; p.Failed != 10 || p.Messages != 30 || p.Expected != 90 || p.Lost != 0 || r.Errors["publishing: 403 Forbidden: no such scope"] != 10 {
		t.Errorf("failed %d, sent %d, expected %d, lost %d, errors %v", p.Failed, p.Messages, p.Expected, p.Lost, r.Errors)
	}
	refuse = fail(1)
	r, err := runBench(t, f.args("broadcast", "-conns", "3", "-callers", "1")...)
	if err == nil || !strings.Contains(err.Error(), "giving up after 100 failed calls in a row: publishing: 403") || r.Push.Failed != 100 {
		t.Errorf("got %v, %d failed", err, r.Push.Failed)
	}
}

func TestCredentials(t *testing.T) {
	dir := t.TempDir()
	tokens, key := filepath.Join(dir, "tokens"), filepath.Join(dir, "key")
	for path, text := range map[string]string{tokens: strings.Repeat("s", 32) + "\n", key: "the-api-key-of-a-backend\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	checker, err := auth.New(auth.Config{TokenKeyFile: tokens, Audience: "app"})
	if err != nil {
		t.Fatal(err)
	}
	f := newFake(t)
	var users atomic.Int64
	f.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		caller, err := checker.Client(token, "")
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return true
		}
		users.Add(1)
		r.URL.RawQuery = "user=" + caller.User
		return false
	}
	r := mustBench(t, f.args("unicast", "-conns", "6", "-users", "3", "-messages", "20", "-user", "bench-{n}",
		"-token-key-file", tokens, "-token-audience", "app", "-api-key-file", key)...)
	if users.Load() != 6 || r.Push.Deliveries != 40 {
		t.Errorf("%d connections with a token, %d deliveries; want 6 and 40", users.Load(), r.Push.Deliveries)
	}
	if _, ok := f.authorization.Load("Bearer the-api-key-of-a-backend"); !ok {
		t.Error("calls came without the API key")
	}
}

func TestOtherServersByTemplate(t *testing.T) {
	f := newFake(t)
	r := mustBench(t, f.args("unicast", "-conns", "4", "-messages", "12", "-hello", "1",
		"-publish-url", f.http.URL+"/v1/any?to={user}", "-publish-body", `{"Users":{users},"Data":{data}}`,
		"-publish-header", "Authorization: Basic abc")...)
	if r.Push.Deliveries != 12 {
		t.Errorf("%d deliveries, want 12", r.Push.Deliveries)
	}
	if _, ok := f.authorization.Load("Basic abc"); !ok {
		t.Error("the header is missing")
	}
}

func TestConnectMeasuresAtEveryStep(t *testing.T) {
	f := newFake(t)
	r := mustBench(t, f.args("connect", "-conns", "40", "-steps", "10,20", "-connect-rate", "1000")...)
	var steps []int
	for _, s := range r.Memory.Steps {
		steps = append(steps, s.Connections)
		if s.RSS <= 0 || s.Anon <= 0 || s.Anon > s.RSS {
			t.Errorf("memory at %d connections: %+v", s.Connections, s.memory)
		}
	}
	if !slices.Equal(steps, []int{10, 20, 40}) || r.Connect.Opened != 40 || r.Connect.ServerCPU <= 0 {
		t.Errorf("steps %v, %+v", steps, r.Connect)
	}
}

func TestInterruptEndsEverything(t *testing.T) {
	f := newFake(t)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	f.beforeCall = func(n int64) {
		if n == 20 {
			cancel()
		}
	}
	var out strings.Builder
	args := f.args("unicast", "-conns", "4", "-callers", "2")
	err := run(ctx, args, os.Getenv, stdio{strings.NewReader(""), &out, &out})
	if err == nil || err.Error() != "interrupted" {
		t.Errorf("got %v", err)
	}
}

func TestChildEndsWithItsParent(t *testing.T) {
	cfg := holdConfig{URL: "ws://127.0.0.1:1/", UserNames: "u{n}", Users: 1, Conns: 1, InFlight: 1}
	f, err := startFleet(cfg, 2)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { f.stop(); close(done) }()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("children outlive the end of their input")
	}
	for _, c := range f.children {
		if !c.cmd.ProcessState.Success() {
			t.Errorf("a child ended with %v", c.cmd.ProcessState)
		}
	}
}

func TestADeadChildIsAnError(t *testing.T) {
	cfg := holdConfig{URL: "ws://127.0.0.1:1/", UserNames: "u{n}", Users: 1, Conns: 1, InFlight: 1}
	f, err := startFleet(cfg, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer f.stop()
	if err := f.children[0].cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := f.wait(ctx, func(sight) bool { return false }); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// keys lists the paths of all fields in decoded JSON.
func keys(prefix string, v any) (all []string) {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			all = append(all, keys(prefix+"."+k, v[k])...)
		}
		return all
	case []any:
		for _, e := range v[:min(len(v), 1)] {
			all = append(all, keys(prefix+"[]", e)...)
		}
		return all
	}
	return []string{strings.TrimPrefix(prefix, ".") + " " + reflect.TypeOf(v).Kind().String()}
}

// Scripts read the output of -json: it may get fields, and keeps those it has.
func TestJSONKeepsItsFields(t *testing.T) {
	f := newFake(t)
	r := mustBench(t, f.args("broadcast", "-conns", "2", "-messages", "2")...)
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	latency := func(name string) (fields []string) {
		for _, f := range []string{"count", "max", "mean", "p50", "p90", "p99", "p999"} {
			fields = append(fields, name+"."+f+" float64")
		}
		return fields
	}
	want := slices.Concat(
		[]string{"connect.failed float64"}, latency("connect.latency_ms"),
		[]string{"connect.opened float64", "connect.per_second float64", "connect.retried float64", "connect.seconds float64", "connect.server_cpu_us float64",
			"connections float64", "machine.cores float64", "machine.cpu string", "machine.go string", "machine.kernel string",
			"memory.anon_bytes_per_connection float64", "memory.rss_bytes_per_connection float64", "memory.steps[].anon_bytes float64",
			"memory.steps[].connections float64", "memory.steps[].machine_slab_bytes float64", "memory.steps[].rss_bytes float64",
			"mode string", "processes float64", "push.bytes_per_delivery float64"},
		latency("push.call_ms"),
		[]string{"push.callers float64", "push.client_cpu_us_per_delivery float64", "push.closed float64", "push.deliveries float64", "push.deliveries_per_second float64"},
		latency("push.delivery_ms"),
		[]string{"push.delivery_seconds float64", "push.duplicates float64", "push.expected float64", "push.failed float64"},
		latency("push.late_ms"),
		[]string{"push.lost float64", "push.messages float64", "push.messages_per_second float64", "push.rate float64", "push.seconds float64",
			"push.server_cores float64", "push.server_cpu_us_per_delivery float64", "push.server_cpu_us_per_message float64", "push.size_bytes float64", "push.unsent float64",
			"stuck float64", "users float64", "via string"},
	)
	if got := keys("", v); !slices.Equal(got, want) {
		t.Errorf("fields are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestTextSaysWhatJSONSays(t *testing.T) {
	f := newFake(t)
	var out, progress strings.Builder
	args := slices.DeleteFunc(f.args("unicast", "-conns", "3", "-duration", "1200ms", "-rate", "50"), func(a string) bool { return a == "-json" || a == "-quiet" })
	if err := run(context.Background(), args, os.Getenv, stdio{strings.NewReader(""), &out, &progress}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"3 of 3", "60 of 60", "lost 0", "50/s asked for", "p99.9", "server CPU"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, out.String())
		}
	}
	if !strings.Contains(progress.String(), "deliveries/s") {
		t.Errorf("no progress was shown: %q", progress.String())
	}
}
