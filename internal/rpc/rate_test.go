package rpc

import (
	"os"
	"strconv"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/testkit"
)

const keySlow = "slow-0123456789abcdef"

// TestRate: a key that has used up its burst is refused at both doors and told
// when to come back; nobody else is.
func TestRate(t *testing.T) {
	a, _ := authWith(t, keyFile+"slow send "+keySlow+" rate=0.01,burst=4\n")
	r := newRig(t, options{auth: a})
	send := &pushv1.UnicastRequest{User: "42", Data: hi}
	testkit.Must(t, r.callAs(keySlow, send))
	equal(t, "REST counts too", r.restOfAs(keySlow, send, "").status, 200)
	equal(t, "what is denied counts", grpcProblem(t, r.callAs(keySlow, &pushv1.BroadcastRequest{Data: hi})).Code, codes.PermissionDenied)
	equal(t, "what is wrong counts", r.restOfAs(keySlow, send, "{").status, 400)

	p := grpcProblem(t, r.callAs(keySlow, send))
	equal(t, "gRPC code", p.Code, codes.ResourceExhausted)
	contains(t, "message", p.Message, "this API key may make 0.01 requests a second, 4 at once: wait 1m")
	wait, err := time.ParseDuration(p.Details[0].RetryDelay)
	testkit.Must(t, err)
	if wait < 90*time.Second || wait > 100*time.Second {
		t.Errorf("told to come back in %v", wait)
	}
	re := r.restOfAs(keySlow, send, "")
	equal(t, "REST status", re.status, 429)
	equal(t, "REST code", re.problem(t).Code, codes.ResourceExhausted)
	seconds, err := strconv.Atoi(re.header.Get("Retry-After"))
	testkit.Must(t, err)
	if seconds < 90 || seconds > 100 {
		t.Errorf("Retry-After: %d", seconds)
	}
	equal(t, "counted", r.metric("pushd_rpc_rate_limited_total", "slow"), 2)

	testkit.Must(t, r.callAs(keySend, send))
	testkit.Must(t, r.callAs(r.token("42", time.Now().Add(time.Hour)), &pushv1.HistoryRequest{User: "42"}))
	page, err := r.invoke(r.as(keyAll), &pushv1.HistoryRequest{User: "42"})
	testkit.Must(t, err)
	equal(t, "stored", len(page.(*pushv1.HistoryResponse).GetMessages()), 3)
}

// TestRateAcrossReload: what was used stays used, and a new rate holds at once.
func TestRateAcrossReload(t *testing.T) {
	a, path := authWith(t, keyFile+"slow send "+keySlow+" rate=0.01,burst=1\n")
	r := newRig(t, options{auth: a})
	send := &pushv1.UnicastRequest{User: "42", Data: hi}
	testkit.Must(t, r.callAs(keySlow, send))
	testkit.Must(t, a.Reload())
	equal(t, "after a reload", grpcProblem(t, r.callAs(keySlow, send)).Code, codes.ResourceExhausted)
	testkit.Must(t, os.WriteFile(path, []byte(keyFile+"slow send "+keySlow+"\n"), 0o600))
	testkit.Must(t, a.Reload())
	for range 3 {
		testkit.Must(t, r.callAs(keySlow, send))
	}
}
