package rpc

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/conn"
	"pushd.example/internal/history"
	"pushd.example/internal/testkit"
)

// client is a WebSocket client of the rig.
type client struct {
	ws *websocket.Conn
	id string // as its hello says
}

func (r *rig) connect(user string) client {
	r.t.Helper()
	ws, _, err := websocket.Dial(r.t.Context(), fmt.Sprintf("ws://%s/push?token=%s",
		r.door.Addr(), r.token(user, time.Now().Add(time.Hour))), &websocket.DialOptions{
		HTTPHeader: map[string][]string{"User-Agent": {"Bell/7"}}})
	testkit.Must(r.t, err)
	r.t.Cleanup(func() { ws.CloseNow() })
	_, hello, err := ws.Read(r.t.Context())
	testkit.Must(r.t, err)
	var h struct{ Connection string }
	testkit.Must(r.t, json.Unmarshal(hello, &h))
	return client{ws, h.Connection}
}

func TestPresence(t *testing.T) {
	r := newRig(t, options{})
	r.connect("a/b")
	r.connect("a/b")
	resp, err := r.connections.Presence(r.as(keyRead), &pushv1.PresenceRequest{Users: []string{"a/b", "c"}})
	testkit.Must(t, err)
	equal(t, "users", len(resp.GetUsers()), 2)
	equal(t, "who", resp.Users[0].User, "a/b")
	equal(t, "online", resp.Users[0].Online, true)
	equal(t, "connections", resp.Users[0].Connections, 2)
	equal(t, "the other", resp.Users[1].Online, false)

	re := r.rest(keyRead, "GET", "/v1/presence?users=a/b&users=c", "")
	equal(t, "REST", re.body, `{"users":[{"user":"a/b","online":true,"connections":2},{"user":"c","online":false,"connections":0}]}`)
}

func TestListOnline(t *testing.T) {
	r := newRig(t, options{})
	want := []string{"a", "b c", "d/e", "日本"}
	for _, user := range want {
		r.connect(user)
	}
	limit := int32(3)
	var viaGRPC, viaREST []string
	for token := ""; ; {
		resp, err := r.connections.ListOnline(r.as(keyRead), &pushv1.ListOnlineRequest{Limit: &limit, PageToken: token})
		testkit.Must(t, err)
		viaGRPC = append(viaGRPC, resp.GetUsers()...)
		if token = resp.GetNextPageToken(); token == "" {
			break
		}
	}
	for token := ""; ; {
		re := r.rest(keyRead, "GET", "/v1/online?limit=3&page_token="+token, "")
		equal(t, "status", re.status, 200)
		var page struct {
			Users         []string
			NextPageToken string `json:"next_page_token"`
		}
		testkit.Must(t, json.Unmarshal([]byte(re.body), &page))
		viaREST = append(viaREST, page.Users...)
		if token = page.NextPageToken; token == "" {
			break
		}
	}
	if !slices.Equal(viaGRPC, want) || !slices.Equal(viaREST, want) {
		t.Errorf("online: gRPC %q, REST %q, want %q", viaGRPC, viaREST, want)
	}
}

func TestConnectionsAndDisconnect(t *testing.T) {
	r := newRig(t, options{})
	first, second := r.connect("a/b"), r.connect("a/b")
	resp, err := r.connections.ListConnections(r.as(keyRead), &pushv1.ListConnectionsRequest{User: "a/b"})
	testkit.Must(t, err)
	ids := []string{}
	for _, c := range resp.GetConnections() {
		ids = append(ids, c.GetId())
		equal(t, "node", c.GetNode(), "node-1")
		equal(t, "user agent", c.GetUserAgent(), "Bell/7")
		equal(t, "transport", c.GetTransport(), "websocket")
		contains(t, "address", c.GetAddress(), "127.0.0.1:")
		if age := time.Since(c.GetSince().AsTime()); age < -time.Second || age > time.Minute {
			t.Errorf("since %v", c.GetSince().AsTime())
		}
	}
	slices.Sort(ids)
	want := []string{first.id, second.id}
	slices.Sort(want)
	if !slices.Equal(ids, want) {
		t.Errorf("connections %q, want %q", ids, want)
	}

	re := r.rest(keyManage, "DELETE", "/v1/users/a%2Fb/connections/"+first.id+"?reason=moved", "")
	equal(t, "REST", re.body, `{"disconnected":1}`)
	first.expectClosed(t, 4002, "moved")
	gone, err := r.connections.Disconnect(r.as(keyManage), &pushv1.DisconnectRequest{
		User: "a/b", Reason: "logged out", Refuse: durationpb.New(time.Minute)})
	testkit.Must(t, err)
	equal(t, "disconnected", gone.GetDisconnected(), 1)
	second.expectClosed(t, 4002, "logged out")

	_, refused, err := websocket.Dial(t.Context(), fmt.Sprintf("ws://%s/push?token=%s",
		r.door.Addr(), r.token("a/b", time.Now().Add(time.Hour))), nil)
	if err == nil || refused.StatusCode != 403 {
		t.Errorf("a refused user: %v, %v", refused, err)
	}
	re = r.rest(keyManage, "DELETE", "/v1/users/a%2Fb/connections", "")
	equal(t, "nobody left", re.body, `{"disconnected":0}`)
}

func (c client) expectClosed(t *testing.T, code int, reason string) {
	t.Helper()
	_, _, err := c.ws.Read(t.Context())
	var ce websocket.CloseError
	if !errors.As(err, &ce) || int(ce.Code) != code || ce.Reason != reason {
		t.Errorf("read: %v, want a close with %d %s", err, code, reason)
	}
}

func TestBadConnectionInput(t *testing.T) {
	r := newRig(t, options{})
	query := func(name string, values ...string) string { return url.Values{name: values}.Encode() }
	zero, tooMany := int32(0), int32(1001)
	longReason := strings.Repeat("r", 124)
	for _, c := range []struct {
		name    string
		grpc    func() error
		method  string
		path    string
		message string
	}{
		{"presence of nobody", func() error { _, err := r.connections.Presence(r.as(keyAll), &pushv1.PresenceRequest{}); return err },
			"GET", "/v1/presence", "users: between 1 and 1000 users, got 0"},
		{"presence of too many", func() error {
			_, err := r.connections.Presence(r.as(keyAll), &pushv1.PresenceRequest{Users: users(1001)})
			return err
		}, "GET", "/v1/presence?" + query("users", users(1001)...), "users: between 1 and 1000 users, got 1001"},
		{"presence of a bad user", func() error {
			_, err := r.connections.Presence(r.as(keyAll), &pushv1.PresenceRequest{Users: []string{"a", longUser}})
			return err
		}, "GET", "/v1/presence?" + query("users", "a", longUser), "users[1]: at most 128 bytes, got 130"},
		{"online, limit 0", func() error {
			_, err := r.connections.ListOnline(r.as(keyAll), &pushv1.ListOnlineRequest{Limit: &zero})
			return err
		}, "GET", "/v1/online?limit=0", "limit: between 1 and 1000, got 0"},
		{"online, limit too large", func() error {
			_, err := r.connections.ListOnline(r.as(keyAll), &pushv1.ListOnlineRequest{Limit: &tooMany})
			return err
		}, "GET", "/v1/online?limit=1001", "limit: between 1 and 1000, got 1001"},
		{"online, bad token", func() error {
			_, err := r.connections.ListOnline(r.as(keyAll), &pushv1.ListOnlineRequest{PageToken: "!"})
			return err
		}, "GET", "/v1/online?page_token=!", "page_token: want the next_page_token of the page before"},
		{"connections of a bad user", func() error {
			_, err := r.connections.ListConnections(r.as(keyAll), &pushv1.ListConnectionsRequest{User: longUser})
			return err
		}, "GET", "/v1/users/" + longUser + "/connections", "user: at most 128 bytes, got 130"},
		{"disconnect, reason too long", func() error {
			_, err := r.connections.Disconnect(r.as(keyAll), &pushv1.DisconnectRequest{User: "42", Reason: longReason})
			return err
		}, "DELETE", "/v1/users/42/connections?reason=" + longReason, "reason: at most 123 bytes, got 124"},
		{"disconnect, id too long", func() error {
			_, err := r.connections.Disconnect(r.as(keyAll), &pushv1.DisconnectRequest{User: "42", Connection: longUser})
			return err
		}, "DELETE", "/v1/users/42/connections/" + longUser, "connection: at most 64 bytes, got 130"},
		{"disconnect one and refuse", func() error {
			_, err := r.connections.Disconnect(r.as(keyAll), &pushv1.DisconnectRequest{User: "42", Connection: "x", Refuse: durationpb.New(time.Second)})
			return err
		}, "DELETE", "/v1/users/42/connections/x?refuse=1s", "refuse: it refuses all connections of the user and cannot be set together with connection"},
		{"refuse for too long", func() error {
			_, err := r.connections.Disconnect(r.as(keyAll), &pushv1.DisconnectRequest{User: "42", Refuse: durationpb.New(25 * time.Hour)})
			return err
		}, "DELETE", "/v1/users/42/connections?refuse=90000s", "refuse: at most 24h0m0s, got 25h0m0s"},
		{"refuse for less than nothing", func() error {
			_, err := r.connections.Disconnect(r.as(keyAll), &pushv1.DisconnectRequest{User: "42", Refuse: durationpb.New(-time.Second)})
			return err
		}, "DELETE", "/v1/users/42/connections?refuse=-1s", "refuse: more than 0s, got -1s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := r.with(t)
			p := grpcProblem(t, c.grpc())
			equal(t, "gRPC code", p.Code, codes.InvalidArgument)
			equal(t, "gRPC message", p.Message, c.message)
			re := r.rest(keyAll, c.method, c.path, "")
			equal(t, "REST status", re.status, 400)
			equal(t, "REST message", re.problem(t).Message, c.message)
		})
	}
}

// disconnect sends user away and refuses them for d.
func (r *rig) disconnect(user string, d time.Duration) error {
	_, err := r.connections.Disconnect(r.as(keyAll), &pushv1.DisconnectRequest{User: user, Refuse: durationpb.New(d)})
	return err
}

// TestListConnectionsIsBounded: a user with many connections makes no answer of any size.
func TestListConnectionsIsBounded(t *testing.T) {
	r := newRig(t, options{})
	for range maxList + 1 {
		sub, err := r.door.Subscribe(t.Context(), conn.Subscriber{User: "42", Start: history.Start{At: history.StartNow, Limit: 1, MaxBytes: 1}})
		testkit.Must(t, err)
		defer sub.Close()
	}
	list, err := r.connections.ListConnections(r.as(keyAll), &pushv1.ListConnectionsRequest{User: "42"})
	testkit.Must(t, err)
	equal(t, "connections", len(list.GetConnections()), maxList)
}
