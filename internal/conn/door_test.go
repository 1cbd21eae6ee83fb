package conn_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/golang-jwt/jwt/v5"

	"pushd.example/internal/auth"
	"pushd.example/internal/conn"
	"pushd.example/internal/history"
)

const secret = "0123456789abcdef0123456789abcdef"

// withTokens makes a server ask for client tokens.
func withTokens(t *testing.T) func(*conn.Config) {
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := auth.New(auth.Config{TokenKeyFile: path})
	if err != nil {
		t.Fatal(err)
	}
	return func(cfg *conn.Config) { cfg.Auth = a }
}

func token(t *testing.T, user string, expires time.Time) string {
	t.Helper()
	s, err := jwt.NewWithClaims(jwt.SigningMethodHS256,
		jwt.MapClaims{"sub": user, "exp": expires.Unix()}).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTokens(t *testing.T) {
	r := serve(t, withTokens(t))
	door := "ws://" + r.server.Addr().String() + "/push"
	good := token(t, "ann", time.Now().Add(time.Hour))
	bearer := func(s string) func(*websocket.DialOptions) {
		return func(o *websocket.DialOptions) { o.HTTPHeader = http.Header{"Authorization": {"Bearer " + s}} }
	}
	for name, row := range map[string]struct {
		url    string
		change []func(*websocket.DialOptions)
	}{
		"none":            {door, nil},
		"a user alone":    {door + "?user=ann", nil},
		"rubbish":         {door + "?token=x", nil},
		"damaged":         {door + "?token=" + good[:len(good)-3], nil},
		"expired":         {door + "?token=" + token(t, "ann", time.Now().Add(-time.Hour)), nil},
		"of another user": {door + "?user=bob&token=" + good, nil},
		"bad bearer":      {door, []func(*websocket.DialOptions){bearer("x")}},
	} {
		resp := r.wantStatus(http.StatusUnauthorized, row.url, row.change...)
		var body struct{ Code, Message string }
		if err := json.NewDecoder(resp.Body).Decode(&body); err != nil || body.Code != "unauthenticated" || body.Message == "" {
			t.Errorf("%s: body %+v, %v", name, body, err)
		}
		if strings.Contains(body.Message, good[:20]) {
			t.Errorf("%s: the answer repeats the token", name)
		}
	}
	for _, opt := range []struct {
		url     string
		options websocket.DialOptions
	}{
		{door + "?token=" + good, websocket.DialOptions{}},
		{door + "?user=ann&token=" + good, websocket.DialOptions{}},
		{door, websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + good}}}},
		{door, websocket.DialOptions{Subprotocols: []string{"pushd.v1.json", "pushd.token." + good}}},
	} {
		ws, _, err := websocket.Dial(r.ctx, opt.url, &opt.options)
		if err != nil {
			t.Errorf("%s: %v", opt.url, err)
			continue
		}
		defer ws.CloseNow()
		var hello message
		if _, b, err := ws.Read(r.ctx); err != nil || json.Unmarshal(b, &hello) != nil || hello.User != "ann" {
			t.Errorf("%s: hello %s, %v", opt.url, b, err)
		}
		if want := len(opt.options.Subprotocols) > 0; (ws.Subprotocol() == "pushd.v1.json") != want {
			t.Errorf("subprotocol %q", ws.Subprotocol())
		}
	}
}

// fixed is an authenticator that believes everybody, for a while.
type fixed struct{ expires time.Time }

func (f fixed) Client(_, user string) (auth.Caller, error) {
	return auth.Caller{User: user, Expires: f.expires}, nil
}

func TestTokenExpires(t *testing.T) {
	r := serve(t, func(cfg *conn.Config) {
		cfg.Auth = fixed{time.Now().Add(100 * time.Millisecond)}
		cfg.Limits.PingInterval = 10 * time.Second
	})
	if code := r.connect("a").closed().Code; code != 4001 {
		t.Errorf("closed with %d, want 4001", code)
	}
}

func TestBadRequests(t *testing.T) {
	r := serve(t, nil)
	r.unicast("a", "1")
	door := "ws://" + r.server.Addr().String() + "/push"
	for _, query := range []string{
		"", "?user=", "?user=" + strings.Repeat("x", 129), "?user=%ff", "?user=%zz",
		"?user=a&cursor=nonsense", "?user=a&cursor=" + strings.Repeat("Z", 22),
		"?user=a&cursor=" + history.Cursor{Inbox: history.MaxID}.String(),
		"?user=a&user=b",
	} {
		r.wantStatus(http.StatusBadRequest, door+query)
	}
	r.wantStatus(http.StatusNotFound, strings.Replace(door, "push", "pull", 1)+"?user=a")
	for method, status := range map[string]int{"GET": 426, "POST": 405} {
		req, err := http.NewRequestWithContext(r.ctx, method, strings.Replace(door, "ws:", "http:", 1)+"?user=a", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != status {
			t.Errorf("%s: status %d, want %d", method, resp.StatusCode, status)
		}
	}
	r.connect(strings.Repeat("é", 64)) // 128 bytes
}

// from makes a client of a page of origin.
func from(origin string) func(*websocket.DialOptions) {
	return func(o *websocket.DialOptions) { o.HTTPHeader = http.Header{"Origin": {origin}} }
}

// refusal is the reason of a Close frame that refuses a page.
type refusal struct {
	Code, Message string
	RetryAfter    int `json:"retry_after"`
}

// wantPageClosed connects as a page of origin does, which must be closed with
// this code before it gets anything.
func (r *rig) wantPageClosed(code websocket.StatusCode, origin, url string, protocols ...string) (why refusal) {
	r.t.Helper()
	o := websocket.DialOptions{Subprotocols: protocols}
	from(origin)(&o)
	ws, _, err := websocket.Dial(r.ctx, url, &o)
	if err != nil {
		r.t.Fatal(err)
	}
	defer ws.CloseNow()
	if len(protocols) > 0 && ws.Subprotocol() != "pushd.v1.json" {
		r.t.Errorf("subprotocol %q: a browser would not take the answer", ws.Subprotocol())
	}
	_, text, err := ws.Read(r.ctx)
	var closed websocket.CloseError
	if !errors.As(err, &closed) || closed.Code != code {
		r.t.Fatalf("want close code %d, got %q, %v", code, text, err)
	}
	if err := json.Unmarshal([]byte(closed.Reason), &why); err != nil || why.Code == "" {
		r.t.Errorf("the reason is %q, %v", closed.Reason, err)
	}
	return why
}

func TestOrigins(t *testing.T) {
	origins, err := auth.ParseOrigins([]string{"https://*.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	r := serve(t, func(cfg *conn.Config) { cfg.Origins = origins })
	r.wantPageClosed(4003, "https://evil.test", r.url("a"))
	r.wantPageClosed(4003, "null", r.url("a"))
	if online, err := r.server.Connections(r.ctx, "a"); err != nil || len(online) > 0 {
		t.Errorf("refused pages are connected: %v, %v", online, err)
	}
	var o websocket.DialOptions
	from("https://www.example.com")(&o)
	ws, _, err := websocket.Dial(r.ctx, r.url("a"), &o)
	if err != nil {
		t.Fatal(err)
	}
	ws.CloseNow()
	r.connect("a") // no Origin: not a browser
}

// A page that is refused learns why from a close code, since it can see no
// status. Refusals are counted as such, and a client that is no page gets the
// status.
func TestPagesLearnWhyTheyAreRefused(t *testing.T) {
	const page = "https://a.example"
	anywhere, err := auth.ParseOrigins([]string{page})
	if err != nil {
		t.Fatal(err)
	}
	tokens := withTokens(t)
	r := serve(t, func(cfg *conn.Config) {
		tokens(cfg)
		cfg.Origins, cfg.MaxPerUser = anywhere, 1
	})
	door := "ws://" + r.server.Addr().String() + "/push"
	good := token(t, "ann", time.Now().Add(time.Hour))
	old := token(t, "ann", time.Now().Add(-time.Hour))
	for _, row := range []struct {
		name, query string
		protocols   []string
		code        websocket.StatusCode
		why         string
	}{
		{"no token", "", nil, 4001, "unauthenticated"},
		{"an old token in a subprotocol", "", []string{"pushd.v1.json", "pushd.token." + old}, 4001, "unauthenticated"},
		{"an old token", "?token=" + old, nil, 4001, "unauthenticated"},
		{"a bad cursor", "?cursor=x&token=" + good, nil, 4004, "bad_cursor"},
		{"two tokens", "?token=" + good, []string{"pushd.v1.json", "pushd.token." + good}, 4004, "bad_request"},
		{"a bad query", "?cursor=%zz&token=" + good, nil, 4004, "bad_request"},
	} {
		if why := r.wantPageClosed(row.code, page, door+row.query, row.protocols...); why.Code != row.why {
			t.Errorf("%s: the reason is %+v", row.name, why)
		}
	}
	if n := metric(t, r.metrics, `pushd_conn_handshakes_total{status="401"}`); n != 3 {
		t.Errorf("%v refusals for the token are counted, want 3", n)
	}
	if n := metric(t, r.metrics, `pushd_conn_handshakes_total{status="101"}`); n != 0 {
		t.Errorf("%v refused pages are counted as connected", n)
	}
	ws, _, err := websocket.Dial(r.ctx, door+"?token="+good, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	r.wantPageClosed(4029, page, door+"?token="+good)
	if _, err := r.server.Disconnect(r.ctx, conn.Departure{User: "ann", Refuse: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if why := r.wantPageClosed(4003, page, door+"?token="+good); why.Code != "refused" || why.RetryAfter < 3590 {
		t.Errorf("a page of a user who is refused for an hour is told %+v", why)
	}
	r.wantStatus(http.StatusForbidden, door+"?token="+good)
	r.wantStatus(http.StatusUnauthorized, door)
}

// A page that comes when there is no room is told when to come back.
func TestPagesLearnWhenToComeBack(t *testing.T) {
	r := serve(t, func(cfg *conn.Config) { cfg.Limits.UpgradeRatePerIP = 0.01 })
	r.connect("a")
	r.connect("a")
	here := "http://" + r.server.Addr().String()
	if why := r.wantPageClosed(4203, here, r.url("a")); why.Code != "unavailable" || why.RetryAfter < 1 || why.RetryAfter > 31 {
		t.Errorf("a page beyond the rate is told %+v", why)
	}
	r.wantStatus(http.StatusServiceUnavailable, r.url("a"))
}

func TestBinaryIsRefused(t *testing.T) {
	r := serve(t, nil)
	c := r.connect("a")
	if err := c.ws.Write(r.ctx, websocket.MessageBinary, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if code := c.closed().Code; code != websocket.StatusUnsupportedData {
		t.Errorf("closed with %d, want 1003", code)
	}
}

func TestConfigErrors(t *testing.T) {
	r := serve(t, nil)
	good := conn.Config{Listen: "127.0.0.1:0", Store: r.store, Auth: fixed{}}
	for name, change := range map[string]func(*conn.Config){
		"no address":     func(c *conn.Config) { c.Listen = "" },
		"address in use": func(c *conn.Config) { c.Listen = r.server.Addr().String() },
		"no store":       func(c *conn.Config) { c.Store = nil },
		"no auth":        func(c *conn.Config) { c.Auth = nil },
		"relative path":  func(c *conn.Config) { c.Path = "push" },
		"negative":       func(c *conn.Config) { c.StoreWorkers = -1 },
		"bad limit":      func(c *conn.Config) { c.Limits.MaxHeads = -1 },
	} {
		cfg := good
		change(&cfg)
		if _, err := conn.New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
