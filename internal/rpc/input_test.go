package rpc

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/history"
	"pushd.example/internal/testkit"
)

// badInput is a request that must be refused, with what the refusal says. It
// is sent through both doors; body and path say how where REST writes it in a
// way that follows from no message.
type badInput struct {
	name    string
	req     proto.Message
	body    string // of the REST request; empty: req as JSON
	message string // the whole of it
}

var (
	longUser = strings.Repeat("u", 130)
	hi       = []byte(`{"title":"Hi"}`)
	future   = history.Cursor{Inbox: history.MaxID, Broadcast: 1}.String()
)

func users(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = "user" + strconv.Itoa(i)
	}
	return list
}

func jsonUsers(list []string) string {
	quoted := make([]string, len(list))
	for i, u := range list {
		quoted[i] = quote(u)
	}
	return "[" + strings.Join(quoted, ",") + "]"
}

func badInputs() []badInput {
	limit := func(n int32) *int32 { return &n }
	long := `"` + strings.Repeat("x", 69_998) + `"`
	list := users(10_001)
	withBad := append(users(3), longUser, "u")
	return []badInput{
		{"unicast without user", &pushv1.UnicastRequest{Data: hi}, "", `user: required`},
		{"unicast, user too long", &pushv1.UnicastRequest{User: longUser, Data: hi}, "", `user: at most 128 bytes, got 130`},
		{"unicast without data", &pushv1.UnicastRequest{User: "42"}, `{"user":"42"}`, `data: required: one JSON value`},
		{"data too long", &pushv1.UnicastRequest{User: "42", Data: []byte(long)}, `{"user":"42","data":` + long + `}`, `data: at most 65536 bytes, got 70000`},
		{"data at the end of the longest body", &pushv1.MulticastRequest{Users: users(10_000), Data: []byte(long)}, `{"users":` + jsonUsers(users(10_000)) + `,"data":` + long + `}`, `data: at most 65536 bytes, got 70000`},
		{"data not UTF-8", &pushv1.UnicastRequest{User: "42", Data: []byte("\"abc\xff\"")}, "{\"user\":\"42\",\"data\":\"abc\xff\"}", `data: not valid UTF-8 at byte 5`},
		{"key too long", &pushv1.UnicastRequest{User: "42", Data: hi, IdempotencyKey: strings.Repeat("k", 129)}, `{"user":"42","data":{"title":"Hi"},"idempotency_key":"` + strings.Repeat("k", 129) + `"}`, `idempotency_key: at most 128 bytes, got 129`},
		{"excluded connection too long", &pushv1.BroadcastRequest{Data: hi, ExcludeConnection: strings.Repeat("c", 129)}, "", `exclude_connection: at most 128 bytes, got 129`},
		{"ephemeral with a key", &pushv1.UnicastRequest{User: "42", Data: hi, Ephemeral: true, IdempotencyKey: "k"}, "", `idempotency_key: cannot be set together with ephemeral: such a message is not kept`},
		{"ephemeral with a ttl", &pushv1.MulticastRequest{Users: []string{"42"}, Data: hi, Ephemeral: true, Ttl: durationpb.New(time.Second)}, "", `ttl: cannot be set together with ephemeral: such a message is not kept`},
		{"ephemeral with a durability", &pushv1.BroadcastRequest{Data: hi, Ephemeral: true, Durability: "memory"}, "", `durability: cannot be set together with ephemeral: such a message is not kept`},
		{"ephemeral with a collapse key", &pushv1.BroadcastRequest{Data: hi, Ephemeral: true, CollapseKey: "k"}, "", `collapse_key: cannot be set together with ephemeral: such a message is not kept`},
		{"ephemeral with an event", &pushv1.UnicastRequest{User: "42", Data: hi, Ephemeral: true, NotifyUnackedAfter: durationpb.New(time.Minute)}, `{"user":"42","data":1,"ephemeral":true,"notify_unacked_after":"60s"}`, `notify_unacked_after: cannot be set together with ephemeral: such a message is not kept`},
		{"event too soon", &pushv1.UnicastRequest{User: "42", Data: hi, NotifyUnackedAfter: durationpb.New(999 * time.Millisecond)}, `{"user":"42","data":1,"notify_unacked_after":"0.999s"}`, `notify_unacked_after: at least 1s, got 999ms`},
		{"event too late", &pushv1.MulticastRequest{Users: []string{"42"}, Data: hi, NotifyUnackedAfter: durationpb.New(200 * time.Hour)}, `{"users":["42"],"data":1,"notify_unacked_after":"720000s"}`, `notify_unacked_after: at most 168h0m0s, got 200h0m0s`},
		{"event after the ttl", &pushv1.MulticastRequest{Users: []string{"42"}, Data: hi, Ttl: durationpb.New(time.Minute), NotifyUnackedAfter: durationpb.New(time.Minute)}, `{"users":["42"],"data":1,"ttl":"60s","notify_unacked_after":"60s"}`, `notify_unacked_after: less than the ttl, which is 1m0s, got 1m0s`},
		{"collapse key too long", &pushv1.MulticastRequest{Users: []string{"42"}, Data: hi, CollapseKey: strings.Repeat("k", 129)}, "", `collapse_key: at most 128 bytes, got 129`},
		{"durability unknown", &pushv1.UnicastRequest{User: "42", Data: hi, Durability: "disk"}, `{"user":"42","data":1,"durability":"disk"}`, `durability: want "memory", "replicated" or empty, got "disk"`},
		{"ttl 0", &pushv1.UnicastRequest{User: "42", Data: hi, Ttl: durationpb.New(0)}, `{"user":"42","data":1,"ttl":"0s"}`, `ttl: at least 1ms, got 0s`},
		{"ttl negative", &pushv1.UnicastRequest{User: "42", Data: hi, Ttl: durationpb.New(-time.Second)}, `{"user":"42","data":1,"ttl":"-1s"}`, `ttl: at least 1ms, got -1s`},
		{"ttl below a millisecond", &pushv1.BroadcastRequest{Data: hi, Ttl: durationpb.New(500 * time.Microsecond)}, `{"data":1,"ttl":"0.0005s"}`, `ttl: at least 1ms, got 500µs`},
		{"ttl too long", &pushv1.BroadcastRequest{Data: hi, Ttl: durationpb.New(90_000 * time.Hour)}, `{"data":1,"ttl":"324000000s"}`, `ttl: at most 87600h0m0s, got 90000h0m0s`},
		{"ttl past what Go counts", &pushv1.BroadcastRequest{Data: hi, Ttl: &durationpb.Duration{Seconds: 300_000_000_000}}, `{"data":1,"ttl":"300000000000s"}`, `ttl: at most 87600h0m0s, got 2562047h47m16.854775807s`},
		{"broadcast without data", &pushv1.BroadcastRequest{}, `{}`, `data: required: one JSON value`},
		{"multicast without users", &pushv1.MulticastRequest{Data: hi}, `{"data":1}`, `users: between 1 and 10000 users, got 0`},
		{"multicast, empty list", &pushv1.MulticastRequest{Data: hi, Users: []string{}}, `{"data":1,"users":[]}`, `users: between 1 and 10000 users, got 0`},
		{"multicast, too many users", &pushv1.MulticastRequest{Data: hi, Users: list}, `{"data":1,"users":` + jsonUsers(list) + `}`, `users: between 1 and 10000 users, got 10001`},
		{"multicast, one user too long", &pushv1.MulticastRequest{Data: hi, Users: withBad}, `{"data":1,"users":` + jsonUsers(withBad) + `}`, `users[3]: at most 128 bytes, got 130`},
		{"multicast, one user empty", &pushv1.MulticastRequest{Data: hi, Users: []string{"a", ""}}, `{"data":1,"users":["a",""]}`, `users[1]: required`},
		{"history without user", &pushv1.HistoryRequest{}, "", `user: required`},
		{"history, user too long", &pushv1.HistoryRequest{User: longUser}, "", `user: at most 128 bytes, got 130`},
		{"limit 0", &pushv1.HistoryRequest{User: "42", Limit: limit(0)}, "", `limit: between 1 and 1000, got 0`},
		{"limit negative", &pushv1.HistoryRequest{User: "42", Limit: limit(-1)}, "", `limit: between 1 and 1000, got -1`},
		{"limit too large", &pushv1.HistoryRequest{User: "42", Limit: limit(1001)}, "", `limit: between 1 and 1000, got 1001`},
		{"after and before", &pushv1.HistoryRequest{User: "42", After: "0", Before: "1"}, "", `after: cannot be set together with before`},
		{"after damaged", &pushv1.HistoryRequest{User: "42", After: "abc"}, "", `after: bad cursor: want 22 characters or "0", got 3`},
		{"after foreign", &pushv1.HistoryRequest{User: "42", After: "ZZZZZZZZZZZZZZZZZZZZZZ"}, "", `after: bad cursor: "ZZZZZZZZZZZZZZZZZZZZZZ" is not two ids in base 36`},
		{"after from the future", &pushv1.HistoryRequest{User: "42", After: future}, "", `after: bad cursor: it names a message from the future`},
		{"before damaged", &pushv1.HistoryRequest{User: "42", Before: "abc"}, "", `before: bad message id: want a decimal number below 2^53, got "abc"`},
		{"before too large", &pushv1.HistoryRequest{User: "42", Before: "9007199254740992"}, "", `before: bad message id: want a decimal number below 2^53, got "9007199254740992"`},
		{"unknown kind", &pushv1.HistoryRequest{User: "42", Kinds: []string{"unicast", "Broadcast"}}, "", `kinds[1]: want unicast, multicast or broadcast, got "Broadcast"`},
		{"empty kind", &pushv1.HistoryRequest{User: "42", Kinds: []string{""}}, "", `kinds[0]: want unicast, multicast or broadcast, got ""`},
		{"kind given twice", &pushv1.HistoryRequest{User: "42", Kinds: []string{"unicast", "unicast"}}, "", `kinds[1]: "unicast" is given twice`},
		{"since in the future", &pushv1.HistoryRequest{User: "42", Since: timestamppb.New(time.Now().Add(time.Hour))}, "", `since: at most a minute ahead of the server's clock`},
		{"ack without user", &pushv1.AckRequest{Cursor: "0"}, "", `user: required`},
		{"ack, user too long", &pushv1.AckRequest{User: longUser, Cursor: "0"}, "", `user: at most 128 bytes, got 130`},
		{"ack without cursor", &pushv1.AckRequest{User: "42"}, "", `cursor: required`},
		{"ack, cursor damaged", &pushv1.AckRequest{User: "42", Cursor: "x"}, "", `cursor: bad cursor: want 22 characters or "0", got 1`},
		{"events, no kind of them", &pushv1.ListEventsRequest{Kinds: []string{"seen"}}, "", `kinds[0]: want one of connected, disconnected, acked, delivered, unacked, got "seen"`},
		{"events, user too long", &pushv1.ListEventsRequest{Users: []string{longUser}}, "", `users[0]: at most 128 bytes, got 130`},
		{"events, position damaged", &pushv1.ListEventsRequest{Position: "x"}, "", `position: bad position: "x" is damaged`},
		{"events, wait too long", &pushv1.ListEventsRequest{Wait: durationpb.New(31 * time.Second)}, "", `wait: at most 30s, got 31s`},
		{"events, wait negative", &pushv1.ListEventsRequest{Wait: durationpb.New(-time.Second)}, "", `wait: at least 0s, got -1s`},
		{"receipt of nothing", &pushv1.GetReceiptRequest{Id: ""}, "", `id: required`},
		{"receipt of no id", &pushv1.GetReceiptRequest{Id: "abc"}, "", `id: bad message id: want a decimal number below 2^53, got "abc"`},
		{"recall of nothing", &pushv1.RecallRequest{Id: ""}, "", `id: required`},
		{"recall of no id", &pushv1.RecallRequest{Id: "abc"}, "", `id: bad message id: want a decimal number below 2^53, got "abc"`},
		{"recall of too large an id", &pushv1.RecallRequest{Id: "9007199254740992"}, "", `id: bad message id: want a decimal number below 2^53, got "9007199254740992"`},
		{"token without user", &pushv1.IssueRequest{}, `{}`, `user: required`},
		{"token, user too long", &pushv1.IssueRequest{User: longUser}, "", `user: at most 128 bytes, got 130`},
		{"token of a broken name", &pushv1.IssueRequest{User: "a\ufffd"}, "", `user: issuing a token: bad user: the user (sub) is not valid UTF-8`},
		{"token of no time", &pushv1.IssueRequest{User: "42", Ttl: durationpb.New(0)}, "", `ttl: at least 1s, got 0s`},
		{"token of too short a time", &pushv1.IssueRequest{User: "42", Ttl: durationpb.New(999 * time.Millisecond)}, "", `ttl: at least 1s, got 999ms`},
		{"token of too long a time", &pushv1.IssueRequest{User: "42", Ttl: durationpb.New(24*time.Hour + 1)}, "", `ttl: at most 24h0m0s, got 24h0m0.000000001s`},
		{"ack, cursor from the future", &pushv1.AckRequest{User: "42", Cursor: future}, "", `cursor: bad cursor: it names a message from the future`},
	}
}

func TestBadInput(t *testing.T) {
	r := newRig(t, options{})
	for _, c := range append(badInputs(), groupInputs()...) {
		t.Run(c.name, func(t *testing.T) {
			r := r.with(t)
			field, _, _ := strings.Cut(c.message, ":")

			p := grpcProblem(t, r.call(c.req))
			equal(t, "gRPC code", p.Code, codes.InvalidArgument)
			equal(t, "gRPC message", p.Message, c.message)
			equal(t, "gRPC field", p.field(), field)

			re := r.restOf(c.req, c.body)
			p = re.problem(t)
			equal(t, "REST status", re.status, 400)
			equal(t, "REST code", p.Code, codes.InvalidArgument)
			equal(t, "REST message", p.Message, c.message)
			equal(t, "REST field", p.field(), field)
		})
	}
	r.expectNothingStored(t)
}

// expectNothingStored: what was refused must have left nothing.
func (r *rig) expectNothingStored(t *testing.T) {
	t.Helper()
	for _, user := range []string{"42", "a", "user1"} {
		page, err := r.store.Page(t.Context(), user, history.Query{Limit: 10})
		testkit.Must(t, err)
		equal(t, "messages of "+user, len(page.Messages), 0)
	}
}

// call makes the gRPC call that req is a request of.
func (r *rig) call(req proto.Message) (err error) {
	return r.callAs(keyAll, req)
}

func (r *rig) callAs(credential string, req proto.Message) error {
	r.t.Helper()
	_, err := r.invoke(r.as(credential), req)
	return err
}

// restOf makes the same call by REST, with body if it is not empty.
func (r *rig) restOf(req proto.Message, body string) reply {
	r.t.Helper()
	return r.restOfAs(keyAll, req, body)
}

// restOfAs takes the first route that there is.
func (r *rig) restOfAs(credential string, req proto.Message, body string) reply {
	r.t.Helper()
	rt := methodOf(r.t, req).routes[0]
	target, text := rt.request(r.t, req)
	if body == "" {
		body = text
	}
	return r.rest(credential, rt.verb, target, body)
}

// TestBadData: what is not JSON has its own table, because at the REST door it
// is the body that is not JSON.
func TestBadData(t *testing.T) {
	r := newRig(t, options{})
	for _, c := range []struct{ data, grpc, rest string }{
		{`{"a":1,"b":}`, `data: not valid JSON at byte 12: `, `body: not valid JSON at byte 32: `},
		{`{"a":`, `data: not valid JSON at byte 5: `, `body: not valid JSON at byte 26: `},
		{`Hi`, `data: not valid JSON at byte 1: `, `body: not valid JSON at byte 21: `},
		{`'x'`, `data: not valid JSON at byte 1: `, `body: not valid JSON at byte 21: `},
		{`01`, `data: not valid JSON at byte 2: `, `body: not valid JSON at byte 22: `},
		{`{} {}`, `data: not valid JSON at byte 4: `, `body: not valid JSON at byte 24: `},
		{"\"a\nb\"", `data: not valid JSON at byte 3: `, `body: not valid JSON at byte 23: `},
		{"\ufeff{}", `data: not valid JSON at byte 1: `, `body: not valid JSON at byte 21: `},
		{` `, `data: not valid JSON at byte 1: `, `body: not valid JSON at byte 22: `},
	} {
		p := grpcProblem(t, r.call(&pushv1.UnicastRequest{User: "42", Data: []byte(c.data)}))
		contains(t, "gRPC message", p.Message, c.grpc)
		equal(t, "gRPC field", p.field(), "data")
		re := r.restOf(&pushv1.UnicastRequest{}, `{"user":"42","data":`+c.data+`}`)
		p = re.problem(t)
		equal(t, "REST status", re.status, 400)
		contains(t, "REST message", p.Message, c.rest)
		equal(t, "REST field", p.field(), "body")
	}
	r.expectNothingStored(t)
}

// TestChecksAgree: what this package lets through, the store takes.
func TestChecksAgree(t *testing.T) {
	for _, user := range []string{"", "a", "日本", strings.Repeat("u", 128), strings.Repeat("u", 129), "a\xffb", "\x00", "a/b c"} {
		equal(t, quote(user), checkUser("user", user) == nil, history.CheckUser(user) == nil)
	}
}

func TestGoodInput(t *testing.T) {
	r := newRig(t, options{})
	for name, req := range map[string]*pushv1.UnicastRequest{
		"longest user":         {User: strings.Repeat("u", 128), Data: hi},
		"longest data":         {User: "42", Data: []byte(`"` + strings.Repeat("x", 64<<10-2) + `"`)},
		"longest key":          {User: "42", Data: hi, IdempotencyKey: strings.Repeat("k", 128)},
		"longest collapse key": {User: "42", Data: hi, CollapseKey: strings.Repeat("k", 128)},
		"longest connection":   {User: "42", Data: hi, ExcludeConnection: strings.Repeat("c", 128)},
		"shortest ttl":         {User: "42", Data: hi, Ttl: durationpb.New(time.Millisecond)},
		"longest ttl":          {User: "42", Data: hi, Ttl: durationpb.New(87600 * time.Hour)},
	} {
		t.Run(name, func(t *testing.T) { testkit.Must(t, r.with(t).call(req)) })
	}
	testkit.Must(t, r.call(&pushv1.MulticastRequest{Users: users(10_000), Data: hi}))
}

func TestLimitsOfConfig(t *testing.T) {
	r := newRig(t, options{limits: Limits{MaxData: 10, MaxUsers: 2}})
	p := grpcProblem(t, r.call(&pushv1.UnicastRequest{User: "42", Data: []byte(`"123456789"`)}))
	equal(t, "data", p.Message, "data: at most 10 bytes, got 11")
	p = grpcProblem(t, r.call(&pushv1.MulticastRequest{Users: users(3), Data: []byte(`1`)}))
	equal(t, "users", p.Message, "users: between 1 and 2 users, got 3")
	for _, bad := range []Limits{{MaxData: -1}, {MaxData: 16<<20 + 1}, {MaxUsers: -1}, {MaxUsers: 1_000_001}, {MaxRecipients: -1}, {MaxRecipients: 1_000_001}, {MaxTokenTTL: time.Millisecond}, {MaxTokenTTL: 366 * 24 * time.Hour}} {
		if _, err := New(Config{Store: r.store, Groups: r.groups, Messages: r.messages, Events: r.events, Directory: r.door, Subscriptions: r.door, Auth: r.auth, Limits: bad}); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
	if _, err := New(Config{}); err == nil {
		t.Error("a Config without a Store was taken")
	}
}

// TestUndecodable: gRPC itself refuses what is not the message it should be,
// and the server lives on.
func TestUndecodable(t *testing.T) {
	r := newRig(t, options{})
	for name, message := range map[string]string{
		"user not UTF-8": "\x0a\x02\xff\xfe\x12\x011",
		"cut short":      "\x0a\x05ab",
		"not protobuf":   "{\"user\":\"42\",\"data\":1}",
	} {
		var reply []byte
		err := r.conn.Invoke(r.as(keyAll), pushv1.PushService_Unicast_FullMethodName, []byte(message), &reply, grpc.ForceCodec(rawCodec{}))
		equal(t, name, status.Code(err), codes.Internal)
	}
	testkit.Must(t, r.call(&pushv1.UnicastRequest{User: "43", Data: hi}))
	r.expectNothingStored(t)
}

// rawCodec sends bytes as they are.
type rawCodec struct{}

func (rawCodec) Name() string                       { return "proto" }
func (rawCodec) Marshal(v any) ([]byte, error)      { return v.([]byte), nil }
func (rawCodec) Unmarshal(data []byte, v any) error { *v.(*[]byte) = data; return nil }
