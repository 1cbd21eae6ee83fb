package proto

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// FuzzParse: what we accept, net/http and gobwas/ws accept too and read in the
// same way. They are more lenient than we are, so nothing follows from what we
// refuse, but that the refusal is a proper response.
func FuzzParse(f *testing.F) {
	f.Add([]byte(browser))
	f.Add([]byte(add("Authorization: Bearer t\r\nSec-WebSocket-Protocol: a, pushd.v1.json")))
	f.Add([]byte(with("/push", "http://b/push?user=%41+&cursor=ack&token=")))
	f.Add([]byte(with("/push", "/push?user=%C3%A4;&a=%zz")))
	f.Add([]byte("GET /push HTTP/1.1\r\nHost: a\r\n\r\n"))
	f.Add([]byte("\r\n\x16\x03\x01\r\n\r\n"))
	f.Add([]byte(strings.Repeat("G", 40) + " /push HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, input []byte) {
		if end := HeadEnd(input, 0); end >= 0 {
			checkParse(t, input[:end])
		}
	})
}

// FuzzParseParts is FuzzParse on requests that are mostly good.
func FuzzParseParts(f *testing.F) {
	f.Add("http://b/push?user=%41+&cursor=ack&token=", "X: y")
	f.Add("/push?user=%C3%A4;&a=%zz", "Authorization: Bearer t")
	f.Add("/push", "Sec-WebSocket-Protocol: a, pushd.v1.json\r\nSec-WebSocket-Protocol: pushd.token.b")
	f.Add("/push", "Connection: a\r\nUpgrade: b\r\nContent-Length: 0\r\nOrigin: null")
	f.Fuzz(func(t *testing.T, target, field string) {
		input := []byte(strings.Replace(add(field), "/push", target, 1))
		checkParse(t, input[:HeadEnd(input, 0)])
	})
}

func checkParse(t *testing.T, head []byte) {
	t.Helper()
	before := bytes.Clone(head)
	var r Request
	err := r.Parse(head, testPath)
	checkBeginnings(t, head, err)
	if !bytes.Equal(head, before) {
		t.Fatal("Parse changed the head")
	}
	if err != nil {
		checkRefusal(t, err)
		return
	}
	checkAgainstHTTP(t, &r, head)
	checkAgainstUpgrader(t, &r, head)
}

// checkBeginnings: nothing is refused early that would not be refused in the
// end, and what is refused early stays refused.
func checkBeginnings(t *testing.T, head []byte, whole *HTTPError) {
	t.Helper()
	for n := range len(head) + 1 {
		early := CheckBegin(head[:n])
		if early != nil && early != whole {
			t.Fatalf("%q is refused, but with what follows it the answer is %v", head[:n], whole)
		}
		if early == nil && n > 0 && CheckBegin(head[:n-1]) != nil {
			t.Fatalf("%q is refused, but not with one byte more", head[:n-1])
		}
	}
}

func checkRefusal(t *testing.T, e *HTTPError) {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(AppendHTTPError(nil, e, 1))), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != e.Status || e.Status < 400 {
		t.Fatalf("%+v: status %d", e, resp.StatusCode)
	}
}

func checkAgainstHTTP(t *testing.T, r *Request, head []byte) {
	t.Helper()
	req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
	if err != nil {
		t.Fatalf("net/http: %v in %q", err, head)
	}
	if req.Method != "GET" || req.URL.Path != testPath || req.Host != string(r.Host) || req.ContentLength > 0 {
		t.Fatalf("net/http reads %s %q at %q, %d bytes; we read host %q", req.Method, req.URL.Path, req.Host, req.ContentLength, r.Host)
	}
	if got := req.Header.Get("Origin"); got != string(r.Origin) {
		t.Fatalf("Origin is %q, for net/http %q", r.Origin, got)
	}
	query := req.URL.Query()
	for key, value := range map[string][]byte{"user": r.User, "cursor": r.Cursor} {
		if value != nil && !strings.Contains(req.URL.RawQuery, ";") && !slices.Contains(query[key], string(value)) {
			t.Fatalf("%s is %q, for net/url %q", key, value, query[key])
		}
	}
}

// upgradeConn is the connection of a ws.Upgrader: a head to read, and a
// response.
type upgradeConn struct {
	io.Reader
	io.Writer
}

func checkAgainstUpgrader(t *testing.T, r *Request, head []byte) {
	t.Helper()
	var want bytes.Buffer
	u := ws.Upgrader{Protocol: func(p []byte) bool { return string(p) == Subprotocol }}
	head = bytes.TrimPrefix(head, []byte("\r\n"))
	_, err := u.Upgrade(upgradeConn{bytes.NewReader(head), &want})
	if errors.Is(err, ws.ErrHandshakeBadUpgrade) || errors.Is(err, ws.ErrHandshakeBadConnection) {
		// It wants each of these fields to hold the word, RFC 9110, section
		// 5.3, says that several are one list.
		return
	}
	if err != nil {
		t.Fatalf("gobwas/ws: %v in %q", err, head)
	}
	parse := func(b []byte) http.Header {
		resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), nil)
		if err != nil {
			t.Fatalf("%v in %q", err, b)
		}
		resp.Body.Close()
		return resp.Header
	}
	ours, theirs := parse(AppendUpgrade(nil, r.Key, r.Subprotocol, Deflate{})), parse(want.Bytes())
	for _, name := range []string{"Sec-WebSocket-Accept", "Sec-WebSocket-Protocol"} {
		if ours.Get(name) != theirs.Get(name) {
			t.Fatalf("%s is %q, from gobwas/ws %q", name, ours.Get(name), theirs.Get(name))
		}
	}
}
