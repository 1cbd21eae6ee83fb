package proto

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

const testPath = "/push"

// browser is a handshake as a browser sends it.
const browser = "GET /push?token=abc.def-_&cursor=00000000000000000000zz HTTP/1.1\r\n" +
	"Host: push.example.com:8080\r\n" +
	"Connection: Upgrade\r\n" +
	"Pragma: no-cache\r\n" +
	"Cache-Control: no-cache\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36\r\n" +
	"Upgrade: websocket\r\n" +
	"Origin: https://www.example.com\r\n" +
	"Sec-WebSocket-Version: 13\r\n" +
	"Accept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Accept-Language: en-US,en;q=0.9\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
	"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" +
	"Sec-WebSocket-Protocol: pushd.v1.json\r\n\r\n"

// minimal is the least that is accepted; with replaces or adds lines in it.
const minimal = "GET /push HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

func with(old, new string) string {
	if !strings.Contains(minimal, old) {
		panic("nothing to replace: " + old)
	}
	return strings.Replace(minimal, old, new, 1)
}

func add(line string) string { return with("\r\n\r\n", "\r\n"+line+"\r\n\r\n") }

func TestParseBrowser(t *testing.T) {
	var r Request
	if err := r.Parse([]byte(browser), testPath); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, got, want string }{
		{"Host", string(r.Host), "push.example.com:8080"},
		{"Origin", string(r.Origin), "https://www.example.com"},
		{"Key", string(r.Key), "dGhlIHNhbXBsZSBub25jZQ=="},
		{"Subprotocol", r.Subprotocol, Subprotocol},
		{"Token", string(r.Token), "abc.def-_"},
		{"User", string(r.User), ""},
		{"Cursor", string(r.Cursor), "00000000000000000000zz"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, c.got, c.want)
		}
	}
}

func TestParseAccepts(t *testing.T) {
	get := func(target string) string { return with("/push", target) }
	cases := []struct {
		name, head                        string
		token, user, cursor, host, subpro string
	}{
		{name: "the least", head: minimal},
		{name: "names and values in any case", head: with("Upgrade: websocket\r\nConnection: Upgrade", "uPGRADE: WebSocket\r\nCONNECTION: upgrade")},
		{name: "lists", head: with("Upgrade: websocket\r\nConnection: Upgrade", "Upgrade: h2c , websocket\r\nConnection: keep-alive, Upgrade")},
		{name: "lists over several fields", head: with("Connection: Upgrade", "Connection: keep-alive\r\nConnection: ,Upgrade")},
		{name: "white space around values", head: with("Host: a", "Host:\t a \t")},
		{name: "an empty line before", head: "\r\n" + minimal},
		{name: "HTTP/1.2", head: with("HTTP/1.1", "HTTP/1.2")},
		{name: "an absolute target", head: get("http://b:80/push?user=u"), user: "u", host: "b:80"},
		{name: "no body said", head: add("Content-Length: 0")},
		{name: "escaped values", head: get("/push?user=a%20b%2B+c%26&cursor=%30"), user: "a b+ c&", cursor: "0"},
		{name: "escapes of UTF-8 and of NUL", head: get("/push?user=%C3%A4%00"), user: "ä\x00"},
		{name: "unknown and odd pairs", head: get("/push?&x&=&user=u=v&token"), user: "u=v"},
		{name: "characters that browsers leave", head: get(`/push?x={"a"|^}&user=u`), user: "u"},
		{name: "empty values do not count", head: get("/push?user=&user=u&token="), user: "u"},
		{name: "bearer", head: add("Authorization: bearer  t.o-k"), token: "t.o-k"},
		{name: "another scheme", head: strings.Replace(get("/push?token=t"), "\r\n\r\n", "\r\nAuthorization: Basic QTpC\r\n\r\n", 1), token: "t"},
		{name: "token as a subprotocol", head: add("Sec-WebSocket-Protocol: pushd.v1.json, pushd.token.t.o-k"), token: "t.o-k", subpro: Subprotocol},
		{name: "subprotocols in two fields", head: add("Sec-WebSocket-Protocol: other,\r\nsec-websocket-protocol: pushd.v1.json"), subpro: Subprotocol},
		{name: "empty elements in a list", head: add("Sec-WebSocket-Protocol: ,, pushd.v1.json ,"), subpro: Subprotocol},
		{name: "an origin", head: add("Origin: null")},
		{name: "IPv6", head: with("Host: a", "Host: [::1]:8080"), host: "[::1]:8080"},
	}
	var r Request // reused, as shards do
	for _, c := range cases {
		if err := r.Parse([]byte(c.head), testPath); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if c.host == "" {
			c.host = "a"
		}
		got := [...]string{string(r.Token), string(r.User), string(r.Cursor), string(r.Host), r.Subprotocol}
		if want := [...]string{c.token, c.user, c.cursor, c.host, c.subpro}; got != want {
			t.Errorf("%s: got %q, want %q", c.name, got, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	line := func(s string) string { return with("GET /push HTTP/1.1", s) }
	key := func(s string) string { return with("dGhlIHNhbXBsZSBub25jZQ==", s) }
	cases := []struct {
		name, head string
		want       *HTTPError
	}{
		{"nothing", "", errLineEnd},
		{"only a blank line", "\r\n\r\n", errRequestLine},
		{"two blank lines", "\r\n\r\n" + minimal, errRequestLine},
		{"no target", line("GET HTTP/1.1"), errRequestLine},
		{"no version", line("GET /push"), errRequestLine},
		{"two spaces", line("GET  /push HTTP/1.1"), errRequestLine},
		{"a fourth word", line("GET /push HTTP/1.1 x"), errRequestLine},
		{"a space before", line(" GET /push HTTP/1.1"), errRequestLine},
		{"a tab for a space", line("GET\t/push HTTP/1.1"), errRequestLine},
		{"a method that is no token", line("G(T /push HTTP/1.1"), errRequestLine},
		{"not HTTP", line("GET /push HTCPCP/1.1"), errRequestLine},
		{"a version in words", line("GET /push HTTP/1.x"), errRequestLine},
		{"a fragment", line("GET /push#a HTTP/1.1"), errRequestLine},
		{"bytes past ASCII in the target", line("GET /push?user=\xc3\xa4 HTTP/1.1"), errRequestLine},
		{"NUL in the target", line("GET /push?\x00 HTTP/1.1"), errRequestLine},
		{"a bare LF", strings.Replace(minimal, "\r\n", "\n", 1), errLineEnd},
		{"a bare CR in the request line", line("GET /push\r HTTP/1.1"), errRequestLine},

		{"HTTP/1.0", line("GET /push HTTP/1.0"), errHTTPVersion},
		{"HTTP/0.9", line("GET /push HTTP/0.9"), errHTTPVersion},
		{"HTTP/2.0 with prior knowledge", "PRI * HTTP/2.0\r\n\r\n", errHTTPVersion},

		{"another path", line("GET / HTTP/1.1"), errPath},
		{"a longer path", line("GET /push/ HTTP/1.1"), errPath},
		{"the path in capitals", line("GET /PUSH HTTP/1.1"), errPath},
		{"an asterisk", line("GET * HTTP/1.1"), errPath},
		{"an absolute target without a path", line("GET http://a HTTP/1.1"), errPath},
		{"a scheme that is not HTTP's", line("GET ftp://a/push HTTP/1.1"), errPath},

		{"POST", line("POST /push HTTP/1.1"), errMethod},
		{"get in lower case", line("get /push HTTP/1.1"), errMethod},

		{"a cut escape", line("GET /push?user=a%2 HTTP/1.1"), errQuery},
		{"a wrong escape", line("GET /push?user=a%zz HTTP/1.1"), errQuery},
		{"two users", line("GET /push?user=a&user=b HTTP/1.1"), errQueryTwice},
		{"two cursors", line("GET /push?cursor=0&cursor=0 HTTP/1.1"), errQueryTwice},
		{"two tokens", line("GET /push?token=a&token=a HTTP/1.1"), errTokenTwice},

		{"a line without a colon", add("Nonsense"), errFieldLine},
		{"a space before the colon", with("Host: a", "Host : a"), errFieldLine},
		{"a folded line", add("X: a\r\n b"), errFieldLine},
		{"no name", add(": a"), errFieldLine},
		{"NUL in a value", add("X: a\x00b"), errFieldLine},
		{"DEL in a value", add("X: a\x7f"), errFieldLine},
		{"a bare LF in the fields", add("X: a\nY: b"), errLineEnd},
		{"a bare CR in a value", add("X: a\rb"), errFieldLine},
		{"no blank line", strings.TrimSuffix(minimal, "\r\n"), errLineEnd},

		{"no host", with("Host: a\r\n", ""), errHost},
		{"an empty host", with("Host: a", "Host:"), errHost},
		{"two hosts", add("Host: a"), errHost},
		{"a host with a path", with("Host: a", "Host: a/b"), errHost},
		{"an absolute target without a host", line("GET http:///push HTTP/1.1"), errHost},
		{"an absolute target with a user", line("GET http://a@b/push HTTP/1.1"), errHost},

		{"a body", add("Content-Length: 1"), errBody},
		{"a length that is no number", add("Content-Length: -0"), errBody},
		{"a chunked body", add("Transfer-Encoding: chunked"), errBody},
		{"two origins", add("Origin: http://a\r\nOrigin: http://a"), errFieldTwice},
		{"two versions", add("Sec-WebSocket-Version: 13"), errFieldTwice},
		{"two credentials", add("Authorization: Basic QTpC\r\nAuthorization: Bearer t"), errFieldTwice},

		{"plain HTTP", "GET /push HTTP/1.1\r\nHost: a\r\n\r\n", errUpgrade},
		{"no Upgrade", with("Upgrade: websocket\r\n", ""), errUpgrade},
		{"another Upgrade", with("websocket", "h2c"), errUpgrade},
		{"no Connection", with("Connection: Upgrade\r\n", ""), errUpgrade},
		{"Connection without upgrade", with("Connection: Upgrade", "Connection: keep-alive"), errUpgrade},

		{"no version", with("Sec-WebSocket-Version: 13\r\n", ""), errVersion},
		{"version 8", with("Version: 13", "Version: 8"), errVersion},
		{"a list of versions", with("Version: 13", "Version: 13, 8"), errVersion},
		{"version 013", with("Version: 13", "Version: 013"), errVersion},

		{"no key", with("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), errKey},
		{"an empty key", key(""), errKey},
		{"a key of 15 bytes", key("AAAAAAAAAAAAAAAAAAAA"), errKey},
		{"a key of 17 bytes", key("AAAAAAAAAAAAAAAAAAAAAAA="), errKey},
		{"a key of 18 bytes", key("AAAAAAAAAAAAAAAAAAAAAAAA"), errKey},
		{"a key that is not base64", key("????????????????????????"), errKey},
		{"a key in the URL's alphabet", key("-_AAAAAAAAAAAAAAAAAAAA=="), errKey},
		{"two keys", add("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), errKey},

		{"two ways for a token", strings.Replace(line("GET /push?token=a HTTP/1.1"), "\r\n\r\n", "\r\nAuthorization: Bearer a\r\n\r\n", 1), errTokenTwice},
		{"two subprotocol tokens", add("Sec-WebSocket-Protocol: pushd.v1.json, pushd.token.a, pushd.token.b"), errTokenTwice},
		{"another subprotocol", add("Sec-WebSocket-Protocol: mqtt"), errSubprotocol},
		{"only a token for a subprotocol", add("Sec-WebSocket-Protocol: pushd.token.a"), errSubprotocol},
		{"a subprotocol in capitals", add("Sec-WebSocket-Protocol: PUSHD.V1.JSON"), errSubprotocol},
		{"no subprotocol in the field", add("Sec-WebSocket-Protocol: ,"), errProtocolList},
		{"a subprotocol with a space", add("Sec-WebSocket-Protocol: pushd.v1.json a"), errProtocolList},
	}
	for _, c := range cases {
		var r Request
		if got := r.Parse([]byte(c.head), testPath); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

// TestParseForgets: nothing of one request shows in the next.
func TestParseForgets(t *testing.T) {
	var r Request
	full := strings.Replace(browser, "cursor=", "user=%41&cursor=", 1)
	if err := r.Parse([]byte(full), testPath); err != nil || string(r.User) != "A" {
		t.Fatal(err, string(r.User))
	}
	if err := r.Parse([]byte(minimal), testPath); err != nil {
		t.Fatal(err)
	}
	if r.Token != nil || r.User != nil || r.Cursor != nil || r.Origin != nil || r.Subprotocol != "" {
		t.Errorf("left over: %+v", r)
	}
}

func TestHeadEnd(t *testing.T) {
	b := []byte("GET / HTTP/1.1\r\nA: b\r\n\r\nframes\r\n\r\n")
	want := bytes.Index(b, []byte("frames"))
	for n := range len(b) + 1 {
		for from := range n + 1 {
			if from > want {
				continue // would have been found before
			}
			got := HeadEnd(b[:n], from)
			if n < want && got != -1 || n >= want && from < want && got != want {
				t.Fatalf("%d bytes, %d searched before: got %d, want %d", n, from, got, want)
			}
		}
	}
	// A head whose lines end in LF, in part or all of them, has an end too: its
	// client is to be refused at once.
	for _, head := range []string{"GET /\n\n", "GET /\n\r\n", "GET /\r\n\n", "\r\nGET /\r\nA: b\n\n"} {
		for n := range len(head) + 1 {
			want := -1
			if n == len(head) {
				want = n
			}
			for from := range n {
				if got := HeadEnd([]byte(head[:n]), from); got != want {
					t.Fatalf("%q, %d searched before: got %d, want %d", head[:n], from, got, want)
				}
			}
		}
		var r Request
		if err := r.Parse([]byte(head), "/"); err == nil {
			t.Errorf("%q was taken for a request", head)
		}
	}
	if HeadEnd(nil, 0) != -1 {
		t.Error("found an end in nothing")
	}
}

// TestResponses reads what we write with net/http.
func TestCheckBegin(t *testing.T) {
	for _, c := range []struct {
		input string
		at    int // so many bytes are enough to see that this is no request; 0: it may be one
	}{
		{minimal, 0},
		{"\r\n" + minimal, 0},
		{"POST", 0},
		{"M-SEARCH * HTTP/1.1", 0},
		{strings.Repeat("X", maxMethod) + " /", 0},
		{strings.Repeat("X", maxMethod) + "X /", maxMethod + 1},
		{"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 1}, // TLS ClientHello
		{"\x80\x2e\x01\x00\x02", 1},                         // of SSL 2
		{"\x00\x00\x00\x12\x04", 1},                         // HTTP/2 SETTINGS
		{"SSH-2.0-OpenSSH_9.6\r\n", 20},
		{"GET\t/push", 4},
		{"{\"type\":\"ping\"}", 1},
		{" GET /push", 1},
		{"\n", 1},
		{"\rG", 2},
		{"\r\n\r", 3},
		{"\xffGET /", 1},
	} {
		for n := range len(c.input) + 1 {
			want := c.at > 0 && n >= c.at
			if err := CheckBegin([]byte(c.input[:n])); (err != nil) != want {
				t.Errorf("%q: %v", c.input[:n], err)
			}
		}
	}
}

func TestResponses(t *testing.T) {
	read := func(b []byte) (*http.Response, string) {
		t.Helper()
		req, _ := http.NewRequest("GET", "http://a/push", nil)
		rd := bufio.NewReader(bytes.NewReader(b))
		resp, err := http.ReadResponse(rd, req)
		if err != nil {
			t.Fatalf("%v in %q", err, b)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || rd.Buffered() > 0 {
			t.Fatalf("%v, %d bytes left over in %q", err, rd.Buffered(), b)
		}
		return resp, string(body)
	}
	for _, e := range []*HTTPError{
		ErrHeadTooLarge, ErrHandshakeSlow, ErrUnauthenticated, ErrBadUser, ErrBadCursor, ErrOrigin, ErrBusy,
		errRequestLine, errHTTPVersion, errPath, errMethod, errFieldLine, errQuery, errQueryTwice, errBody, errHost,
		errFieldTwice, errUpgrade, errVersion, errKey, errTokenTwice, errProtocolList, errSubprotocol,
		{Status: 400, Code: "quoted", Message: "a \"b\" \\ \n\x01 \xff ü"},
	} {
		resp, body := read(AppendHTTPError(nil, e, 0))
		var got struct{ Code, Message string }
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Errorf("%v: body %q: %v", e, body, err)
		}
		if resp.StatusCode != e.Status || got.Code != e.Code || got.Message != strings.ToValidUTF8(e.Message, "\uFFFD") {
			t.Errorf("%+v: got %d %+v", e, resp.StatusCode, got)
		}
		if !resp.Close || resp.Header.Get("Content-Type") != "application/json" || resp.Header.Get("Retry-After") != "" {
			t.Errorf("%v: %v", e, resp.Header)
		}
	}
	header := func(e *HTTPError, retryAfter int, name, want string) {
		t.Helper()
		resp, _ := read(AppendHTTPError([]byte(nil), e, retryAfter))
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%v: %s is %q, want %q", e, name, got, want)
		}
	}
	header(ErrBusy, 7, "Retry-After", "7")
	header(errMethod, 0, "Allow", "GET")
	header(errUpgrade, 0, "Upgrade", "websocket")
	header(errVersion, 0, "Sec-WebSocket-Version", "13")
	header(ErrUnauthenticated, 0, "WWW-Authenticate", "Bearer")
}

// TestAppendUpgrade uses the example of RFC 6455, section 1.3.
func TestAppendUpgrade(t *testing.T) {
	for _, subprotocol := range []string{"", Subprotocol} {
		b := AppendUpgrade([]byte("before"), []byte("dGhlIHNhbXBsZSBub25jZQ=="), subprotocol, Deflate{})
		b, ok := bytes.CutPrefix(b, []byte("before"))
		resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), nil)
		if err != nil || !ok {
			t.Fatal(err, string(b))
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusSwitchingProtocols ||
			resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" ||
			resp.Header.Get("Sec-WebSocket-Protocol") != subprotocol ||
			resp.Header.Get("Upgrade") != "websocket" || resp.Header.Get("Connection") != "Upgrade" {
			t.Errorf("got %q", b)
		}
	}
}

// TestIsText: every byte at every place of a line is judged as by itself.
func TestIsText(t *testing.T) {
	for size := range 20 {
		for at := range size {
			for c := range 256 {
				for _, fill := range []byte{' ', 'a', '\t', 0x80, 0xFF} {
					line := bytes.Repeat([]byte{fill}, size)
					line[at] = byte(c)
					if got, want := isText(line), c >= ' ' && c != 0x7F || c == '\t'; got != want {
						t.Fatalf("%q: %v", line, got)
					}
				}
			}
		}
	}
}
