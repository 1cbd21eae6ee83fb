package rpc

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/auth"
	"pushd.example/internal/testkit"
)

// TestIssuedTokenIsGood: what either door issues opens the other doors for its
// user, for as long as it says.
func TestIssuedTokenIsGood(t *testing.T) {
	r := newRig(t, options{})
	before := time.Now()
	reply, err := r.invoke(r.as(keyManage), &pushv1.IssueRequest{User: "Zoë", Ttl: durationpb.New(90 * time.Second)})
	testkit.Must(t, err)
	issued := reply.(*pushv1.IssueResponse)
	r.expectTokenOf(t, "Zoë", issued.GetToken(), issued.GetExpires().AsTime(), before, 90*time.Second)

	re := r.rest(keyManage, "POST", "/v1/tokens", `{"user":"Zoë"}`)
	equal(t, "status", re.status, 200)
	var body struct {
		Token   string
		Expires time.Time
	}
	testkit.Must(t, json.Unmarshal([]byte(re.body), &body))
	r.expectTokenOf(t, "Zoë", body.Token, body.Expires, before, time.Hour)
}

func (r *rig) expectTokenOf(t *testing.T, user, token string, expires, before time.Time, ttl time.Duration) {
	t.Helper()
	if expires.Before(before.Add(ttl)) || expires.After(time.Now().Add(ttl+time.Second)) || expires.Nanosecond() != 0 {
		t.Errorf("asked for %v at %v: ends at %v", ttl, before, expires)
	}
	caller, err := r.auth.Client(token, user)
	testkit.Must(t, err)
	equal(t, "the token ends", caller.Expires.UTC(), expires.Add(auth.Leeway).UTC())
	testkit.Must(t, r.callAs(token, &pushv1.HistoryRequest{User: user}))
	equal(t, "as another", grpcProblem(t, r.callAs(token, &pushv1.HistoryRequest{User: "43"})).Code, codes.PermissionDenied)
	equal(t, "issuing more", grpcProblem(t, r.callAs(token, &pushv1.IssueRequest{User: user})).Code, codes.PermissionDenied)
}

func TestTokenTTLOfConfig(t *testing.T) {
	r := newRig(t, options{limits: Limits{MaxTokenTTL: time.Minute}})
	re := r.rest(keyManage, "POST", "/v1/tokens", `{"user":"42","ttl":"61s"}`)
	equal(t, "too long", re.problem(t).Message, "ttl: at most 1m0s, got 1m1s")
	reply, err := r.invoke(r.as(keyManage), &pushv1.IssueRequest{User: "42"})
	testkit.Must(t, err)
	if left := time.Until(reply.(*pushv1.IssueResponse).GetExpires().AsTime()); left > 61*time.Second {
		t.Errorf("a token without ttl is good for %v", left)
	}
}

// TestIssueWithoutTokenKey: the caller learns what the operator must set.
func TestIssueWithoutTokenKey(t *testing.T) {
	open, err := auth.New(auth.Config{Open: true})
	testkit.Must(t, err)
	r := newRig(t, options{auth: open})
	p := grpcProblem(t, r.callAs("", &pushv1.IssueRequest{User: "42"}))
	equal(t, "gRPC code", p.Code, codes.FailedPrecondition)
	re := r.rest("", "POST", "/v1/tokens", `{"user":"42"}`)
	equal(t, "REST status", re.status, 400)
	equal(t, "REST code", re.problem(t).Code, codes.FailedPrecondition)
	equal(t, "the same message", re.problem(t).Message, p.Message)
	if !strings.Contains(p.Message, "-token-key-file") {
		t.Errorf("%q does not say what to set", p.Message)
	}
}
