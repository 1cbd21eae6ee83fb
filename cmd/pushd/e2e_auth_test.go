package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/coder/websocket"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/testkit"
)

const (
	sendKey = "a-key-that-may-only-send-0001"
	allKey  = "a-key-that-may-do-everything-0002"
)

// startKeyed runs pushd as in production: keys and tokens are checked.
func startKeyed(t *testing.T, args ...string) (s *server, token func(user, ttl string) string) {
	t.Helper()
	dir := t.TempDir()
	keys, secret := filepath.Join(dir, "keys"), filepath.Join(dir, "secret")
	write := func(path, content string) {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(keys, "# tests\nsender send "+sendKey+"\nadmin * "+allKey+"\n")
	write(secret, "a-secret-of-at-least-32-bytes-for-tests\n")
	s = start(t, append([]string{"-data", filepath.Join(dir, "data"), "-api-key-file", keys, "-token-key-file", secret}, args...)...)
	s.Key, s.keyFile = allKey, keys
	return s, func(user, ttl string) string {
		t.Helper()
		out, errOut, status := s.pushctl("", "token", "-user", user, "-ttl", ttl, "-sign-with", secret)
		if status != 0 {
			t.Fatalf("pushctl token: status %d\n%s", status, errOut)
		}
		return strings.TrimSpace(out)
	}
}

// connectWith dials with the given token and Origin and returns the HTTP
// status, and the connection if it is 101.
func connectWith(t *testing.T, s *server, token, origin string) (*websocket.Conn, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	h := http.Header{}
	if token != "" {
		h.Set("Authorization", "Bearer "+token)
	}
	if origin != "" {
		h.Set("Origin", origin)
	}
	ws, resp, err := websocket.Dial(ctx, "ws://"+s.Listen+"/push", &websocket.DialOptions{HTTPHeader: h})
	if resp == nil {
		t.Fatal(err)
	}
	if ws != nil {
		t.Cleanup(func() { _ = ws.CloseNow() })
	}
	return ws, resp.StatusCode
}

// TestE2EClientTokens walks what a client may send to get in.
func TestE2EClientTokens(t *testing.T) {
	s, token := startKeyed(t, "-origins", "https://*.example.com")
	good := token("42", "1h")
	for name, tc := range map[string]struct {
		token, origin string
		status        int
	}{
		"good":                {good, "", 101},
		"good, Origin listed": {good, "https://app.example.com", 101},
		"no token":            {"", "", 401},
		"damaged":             {good[:len(good)-4] + "AAAA", "", 401},
		"not a token":         {"hello", "", 401},
		"an API key":          {allKey, "", 401},
	} {
		if _, got := connectWith(t, s, tc.token, tc.origin); got != tc.status {
			t.Errorf("%s: status %d, want %d", name, got, tc.status)
		}
	}
	// A page cannot see a status: it is told by a close code.
	for name, tc := range map[string]struct {
		token, origin string
		code          websocket.StatusCode
	}{
		"Origin not listed":           {good, "https://example.org", 4003},
		"a damaged token from a page": {good[:len(good)-4] + "AAAA", "https://app.example.com", 4001},
	} {
		ws, got := connectWith(t, s, tc.token, tc.origin)
		if ws == nil {
			t.Errorf("%s: status %d, want 101", name, got)
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		if _, _, err := ws.Read(ctx); websocket.CloseStatus(err) != tc.code {
			t.Errorf("%s: closed with %v, want %d", name, err, tc.code)
		}
		cancel()
	}
}

// TestE2ETokenEnds holds a connection until its token ends: it is told so with
// a code that means stop, and the token opens no door any more.
func TestE2ETokenEnds(t *testing.T) {
	s, token := startKeyed(t)
	short := token("42", "2s")
	ws, code := connectWith(t, s, short, "")
	if ws == nil {
		t.Fatalf("status %d with a fresh token", code)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		if _, _, err := ws.Read(ctx); err != nil {
			if got := websocket.CloseStatus(err); got != 4001 {
				t.Errorf("closed with %d (%v), want 4001", got, err)
			}
			break
		}
	}
	testkit.WaitForSuccess(t, "the token to be refused", func() error {
		if _, code := connectWith(t, s, short, ""); code != http.StatusUnauthorized {
			return status.Errorf(codes.Unknown, "status %d", code)
		}
		return nil
	})
}

// TestE2EWhoMayCall tries the API with each kind of credential, over both
// doors.
func TestE2EWhoMayCall(t *testing.T) {
	s, token := startKeyed(t)
	own, other := token("42", "1h"), token("43", "1h")
	s.push("unicast", `{"user":"42","data":1}`)
	api, _ := grpcClient(t, s)

	const unicast, broadcast, history = "unicast", "broadcast", "history"
	for _, tc := range []struct {
		call, credential string
		want             codes.Code
	}{
		{unicast, "", codes.Unauthenticated},
		{unicast, "no-such-key-no-such-key", codes.Unauthenticated},
		{unicast, sendKey, codes.OK},
		{unicast, own, codes.PermissionDenied},
		{broadcast, sendKey, codes.PermissionDenied},
		{broadcast, allKey, codes.OK},
		{history, "", codes.Unauthenticated},
		{history, sendKey, codes.PermissionDenied},
		{history, allKey, codes.OK},
		{history, own, codes.OK},
		{history, other, codes.PermissionDenied},
	} {
		ctx := t.Context()
		if tc.credential != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+tc.credential)
		}
		var err error
		method, path, body := "POST", "/v1/"+tc.call, `{"data":1}`
		switch tc.call {
		case unicast:
			body = `{"user":"42","data":1}`
			_, err = api.Unicast(ctx, &pushv1.UnicastRequest{User: "42", Data: []byte("1")})
		case broadcast:
			_, err = api.Broadcast(ctx, &pushv1.BroadcastRequest{Data: []byte("1")})
		case history:
			method, path, body = "GET", "/v1/users/42/history", ""
			_, err = api.History(ctx, &pushv1.HistoryRequest{User: "42"})
		}
		if status.Code(err) != tc.want {
			t.Errorf("gRPC %s with %.12q: %v, want %v", tc.call, tc.credential, err, tc.want)
		}
		s.Key = tc.credential
		got, err := s.rest(method, path, body, nil)
		if err != nil {
			t.Fatal(err)
		}
		if want := map[codes.Code]int{codes.OK: 200, codes.Unauthenticated: 401, codes.PermissionDenied: 403}[tc.want]; got != want {
			t.Errorf("REST %s with %.12q: %d, want %d", tc.call, tc.credential, got, want)
		}
	}
}

// TestE2ERotateKeys adds a key to the file and sends SIGHUP: the new key works
// without a restart; a file that is damaged changes nothing.
func TestE2ERotateKeys(t *testing.T) {
	s, _ := startKeyed(t)
	const newKey = "a-key-that-came-later-000003"
	call := func(key string) int {
		s.Key = key
		code, err := s.rest("GET", "/v1/users/42/history", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		return code
	}
	if got := call(newKey); got != http.StatusUnauthorized {
		t.Fatalf("before it was added the new key gets %d", got)
	}
	reload := func(content string) {
		if err := os.WriteFile(s.keyFile, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	reload("admin * " + allKey + "\nnewer read " + newKey + "\n")
	testkit.WaitForSuccess(t, "the new key to work", func() error {
		if got := call(newKey); got != http.StatusOK {
			return fmt.Errorf("status %d", got)
		}
		return nil
	})
	reload("not a key file")
	testkit.WaitForSuccess(t, "the damaged file to be logged", func() error {
		if !strings.Contains(s.log.String(), "keeping the old credentials") {
			return errors.New("nothing logged")
		}
		return nil
	})
	if got := call(newKey); got != http.StatusOK {
		t.Errorf("after a damaged file the key gets %d", got)
	}
}
