//go:build linux

package main

import (
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
)

// A storm comes over the running clients: it is counted apart, put off where
// the server says so, and what it gets of their messages is none of theirs.
func TestStorm(t *testing.T) {
	for _, more := range [][]string{{"-rate", "200"}, {"-callers", "2"}} {
		t.Run(strings.Join(more, " "), func(t *testing.T) {
			t.Parallel()
			const conns, crowd = 10, 60
			f := newFake(t)
			var asked, refused atomic.Int64
			users := map[string]bool{}
			f.refuse = func(w http.ResponseWriter, r *http.Request) bool {
				n := asked.Add(1)
				if n <= conns || n%3 != 0 {
					return false
				}
				refused.Add(1)
				w.Header().Set("Retry-After", []string{"1", "0", "2"}[n/3%3])
				http.Error(w, "later", http.StatusServiceUnavailable)
				return true
			}
			r := mustBench(t, f.args("broadcast", append(more, "-conns", "10", "-duration", "300ms", "-storm", "60")...)...)
			s := r.Storm
			if s == nil {
				t.Fatal("nothing is said of the storm")
			}
			if s.Connections != crowd || s.Connect.Opened != crowd || s.Connect.Failed != 0 || int64(s.Connect.Retried) != refused.Load() {
				t.Errorf("%+v; the server refused %d", s.Connect, refused.Load())
			}
			if s.Connect.Latency.Count != crowd || s.Connect.Seconds < 1 {
				t.Errorf("%d connections took %v s, some of which were put off for a second", s.Connect.Latency.Count, s.Connect.Seconds)
			}
			for _, p := range []*pushReport{r.Push, s.Push} {
				if p.Messages == 0 || p.Deliveries != int64(conns*p.Messages) || p.Lost+p.Duplicates+p.Unsent != 0 || p.Failed+p.Closed != 0 {
					t.Errorf("%+v", p)
				}
			}
			if s.Slower.P50 <= 0 || s.Slower.P99 <= 0 || len(r.Errors) != 0 {
				t.Errorf("%+v, errors %v", s.Slower, r.Errors)
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			for user := range f.users {
				users[user] = true
			}
			if len(users) != conns+crowd {
				t.Errorf("%d users, want each connection to have its own", len(users))
			}
		})
	}
}

// The storm's failures are told.
func TestStormThatCannotConnect(t *testing.T) {
	f := newFake(t)
	var asked atomic.Int64
	f.refuse = func(w http.ResponseWriter, r *http.Request) bool {
		if asked.Add(1) <= 5 {
			return false
		}
		http.Error(w, "no", http.StatusForbidden)
		return true
	}
	r, err := runBench(t, f.args("unicast", "-conns", "5", "-messages", "20", "-storm", "7")...)
	if err == nil || r.Push.Messages != 20 || r.Storm == nil || r.Storm.Connect.Failed != 7 || len(r.Errors) != 1 {
		t.Errorf("%v: %+v, %v", err, r.Storm, r.Errors)
	}
}

func TestRetriesAreInOrder(t *testing.T) {
	h := &holder{}
	for _, at := range []int64{5, 3, 9, 3, 1, 9} {
		h.again(retry{at: at})
	}
	var got []int64
	for _, r := range h.retries {
		got = append(got, r.at)
	}
	if want := []int64{1, 3, 3, 5, 9, 9}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestUsersOfTheCrowd(t *testing.T) {
	c := holdConfig{Conns: 10, Users: 4}
	for i, want := range map[int]int{0: 0, 9: 1, 10: 4, 11: 5} {
		if got := c.user(i); got != want {
			t.Errorf("connection %d is of user %d, want %d", i, got, want)
		}
	}
}
