package rpc

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/history"
	"pushd.example/internal/testkit"
)

// TestRESTOfAll walks through the API as a backend with curl would.
func TestRESTOfAll(t *testing.T) {
	r := newRig(t, options{})
	var sent struct {
		ID                 string `json:"id"`
		Duplicate          bool   `json:"duplicate"`
		Online, Recipients *int32
	}
	re := r.rest(keyAll, "POST", "/v1/unicast", `{"user":"42","data":{"title":"Hi"},"idempotency_key":"k1","ttl":"3600s"}`)
	testkit.Must(t, json.Unmarshal([]byte(re.body), &sent))
	equal(t, "unicast", re.body, fmt.Sprintf(`{"id":%q,"duplicate":false,"online":0,"recipients":1,"online_users":0,"unknown":1}`, sent.ID))

	re = r.rest(keyAll, "POST", "/v1/unicast", `{"user":"42","data":{"title":"Hi"},"idempotencyKey":"k1"}`)
	equal(t, "retry", re.body, fmt.Sprintf(`{"id":%q,"duplicate":true,"online":0,"recipients":0,"online_users":0,"unknown":0}`, sent.ID))

	re = r.rest(keyAll, "POST", "/v1/multicast", `{"users":["42","43","42"],"data":[1]}`)
	testkit.Must(t, json.Unmarshal([]byte(re.body), &sent))
	equal(t, "multicast", re.body, fmt.Sprintf(`{"id":%q,"duplicate":false,"online":0,"recipients":2,"online_users":0,"unknown":1}`, sent.ID))

	re = r.rest(keyAll, "POST", "/v1/broadcast", `{"data":null}`)
	testkit.Must(t, json.Unmarshal([]byte(re.body), &sent))
	equal(t, "broadcast", re.body, fmt.Sprintf(`{"id":%q,"duplicate":false,"online":0,"online_users":0}`, sent.ID))
	last, err := history.ParseID(sent.ID)
	testkit.Must(t, err)

	re = r.rest(keyAll, "GET", "/v1/users/43/history", "")
	var page struct {
		Messages []struct {
			ID, Log, Kind string
			Time          time.Time
			Data          json.RawMessage
		}
		Cursor string
		Unread int
	}
	testkit.Must(t, json.Unmarshal([]byte(re.body), &page))
	equal(t, "messages", len(page.Messages), 2)
	equal(t, "kind", page.Messages[0].Kind+page.Messages[0].Log, "multicastinbox")
	equal(t, "kind", page.Messages[1].Kind+page.Messages[1].Log, "broadcastbroadcast")
	equal(t, "null", string(page.Messages[1].Data), "null")
	equal(t, "time", page.Messages[1].Time, last.Time())
	equal(t, "content type", re.header.Get("Content-Type"), "application/json")
	contains(t, "page", re.body, `],"cursor":"`+page.Cursor+`","has_more":false,"unread":2,"truncated":false,"before":`)

	re = r.rest(keyAll, "POST", "/v1/users/43/ack", `{"cursor":"`+page.Cursor+`"}`)
	equal(t, "ack", re.body, `{"unread":0}`)
	re = r.rest(keyAll, "GET", "/v1/users/43/history?after="+page.Cursor, "")
	equal(t, "empty page", re.body, `{"messages":[],"cursor":"`+page.Cursor+`","has_more":false,"unread":0,"truncated":false,"before":""}`)
}

// TestPaging both ways sees every message once, in order, in pages of every
// size.
func TestPaging(t *testing.T) {
	r := newRig(t, options{})
	for i := range 7 {
		testkit.Must(t, r.call(&pushv1.UnicastRequest{User: "42", Data: fmt.Append(nil, i)}))
	}
	for limit := int32(1); limit <= 8; limit++ {
		equal(t, "forward", r.walk(t, limit, true), "0123456")
		equal(t, "backward", r.walk(t, limit, false), "0123456")
	}
}

func (r *rig) walk(t *testing.T, limit int32, forward bool) (data string) {
	t.Helper()
	req := &pushv1.HistoryRequest{User: "42", Limit: &limit}
	if forward {
		req.After = "0"
	}
	for range 10 {
		page, err := r.push.History(r.as(keyAll), req)
		testkit.Must(t, err)
		var part string
		for _, m := range page.GetMessages() {
			part += string(m.GetData())
		}
		if forward {
			data += part
			req.After = page.GetCursor()
		} else {
			data = part + data
			req.Before = page.GetMessages()[0].GetId()
		}
		if !page.GetHasMore() {
			return data
		}
	}
	t.Fatal("a page without end")
	return ""
}

// TestPageBytes: a page of large messages stays below what gRPC clients
// receive by default, and says that there is more.
func TestPageBytes(t *testing.T) {
	r := newRig(t, options{})
	large := []byte(`"` + strings.Repeat("x", 60<<10) + `"`)
	for range 100 {
		testkit.Must(t, r.call(&pushv1.UnicastRequest{User: "42", Data: large}))
	}
	limit := int32(1000)
	page, err := r.push.History(r.as(keyAll), &pushv1.HistoryRequest{User: "42", After: "0", Limit: &limit})
	testkit.Must(t, err)
	if n := len(page.GetMessages()); n != maxPageBytes/len(large) || !page.GetHasMore() {
		t.Fatalf("%d messages, has_more %v", n, page.GetHasMore())
	}
}

// TestUsersInPaths: any user can be written in a path.
func TestUsersInPaths(t *testing.T) {
	r := newRig(t, options{})
	for _, user := range []string{"42", "a/b", "a b", "a+b", "100%", "%2F", "日本", "ü", "?x=1", "a//b", "..", ".", "history", "a:b", "\x00\n"} {
		testkit.Must(t, r.call(&pushv1.UnicastRequest{User: user, Data: []byte(quote(user))}))
		// PathEscape leaves dots alone, which clients resolve.
		path := strings.ReplaceAll(url.PathEscape(user), ".", "%2E")
		for _, path := range []string{path, strings.ReplaceAll(path, "%2F", "%2f"), everyByte(user)} {
			re := r.rest(keyAll, "GET", "/v1/users/"+path+"/history", "")
			equal(t, path, re.status, 200)
			contains(t, path, re.body, `"data":`+quote(user)+`}`)
		}
		equal(t, "ack of "+path, r.rest(keyAll, "POST", "/v1/users/"+path+"/ack", `{"cursor":"0"}`).body, `{"unread":1}`)
	}
	for path, message := range map[string]string{
		"%FF":                    "user: not valid UTF-8",
		"":                       "user: required",
		strings.Repeat("u", 129): "user: at most 128 bytes, got 129",
	} {
		re := r.rest(keyAll, "GET", "/v1/users/"+path+"/history", "")
		equal(t, path, re.status, 400)
		equal(t, path, re.problem(t).Message, message)
	}
}

func everyByte(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

// TestBadREST is what only a REST request can get wrong.
func TestBadREST(t *testing.T) {
	r := newRig(t, options{})
	for _, c := range []struct {
		method, path, body string
		status             int
		code               codes.Code
		field, message     string // message: a part of it
	}{
		{"POST", "/v1/unicast", ``, 400, 3, "body", `body: required: a JSON object`},
		{"POST", "/v1/unicast", `[]`, 400, 3, "body", `body: want a JSON object`},
		{"POST", "/v1/unicast", `null`, 400, 3, "body", `body: want a JSON object`},
		{"POST", "/v1/unicast", `"x"`, 400, 3, "body", `body: want a JSON object`},
		{"POST", "/v1/unicast", `{"user":"42","data":1} x`, 400, 3, "body", `body: not valid JSON at byte 24: `},
		{"POST", "/v1/unicast", `{"user":"42","data":1}{"user":"42","data":1}`, 400, 3, "body", `body: not valid JSON at byte 23: `},
		{"POST", "/v1/unicast", `{"user":"42","data":1,}`, 400, 3, "body", `body: not valid JSON at byte 23: `},
		{"POST", "/v1/unicast", `{"user":"42","data":1,"tll":"3s"}`, 400, 3, "tll", `tll: unknown field`},
		{"POST", "/v1/unicast", `{"user":"42","data":1,"users":["43"]}`, 400, 3, "users", `users: unknown field`},
		{"POST", "/v1/broadcast", `{"data":1,"notify_unacked_after":"60s"}`, 400, 3, "notify_unacked_after", `notify_unacked_after: unknown field`},
		{"POST", "/v1/unicast", `{"user":"42","data":1,"` + strings.Repeat("x", 200) + `":1}`, 400, 3, strings.Repeat("x", 128) + "…", `unknown field`},
		{"POST", "/v1/unicast", `{"user":"42","data":1,"data":2}`, 400, 3, "data", `data: given twice`},
		{"POST", "/v1/unicast", `{"data":1,"user":"42","d\u0061ta":2}`, 400, 3, "data", `data: given twice`},
		{"POST", "/v1/unicast", `{"user":"42","data":1,"user":"43"}`, 400, 3, "user", `user: given twice`},
		{"POST", "/v1/unicast", `{"user":"42","data":1,"idempotency_key":"a","idempotencyKey":"b"}`, 400, 3, "idempotencyKey", `given twice`},
		{"POST", "/v1/unicast", `{"user":42,"data":1}`, 400, 3, "user", `user: want a string in quotes, such as "7", got 42`},
		{"POST", "/v1/unicast", `{"data":{"x":1},"user":42}`, 400, 3, "user", `user: want a string in quotes, such as "7", got 42`},
		{"POST", "/v1/unicast", `{"user":"42","data":1,"ttl":3600}`, 400, 3, "ttl", `ttl: want seconds in a string, such as "90s", got 3600`},
		{"POST", "/v1/unicast", `{"user":"42","data":1,"ttl":"1h"}`, 400, 3, "ttl", `ttl: want seconds in a string, such as "90s", got "1h"`},
		{"POST", "/v1/unicast", `{"user":"42","data":1,"ttl":"` + strings.Repeat("ä", 500) + `"}`, 400, 3, "ttl", "ä…"},
		{"POST", "/v1/unicast", "{\"user\":\"4\xff2\",\"data\":1}", 400, 3, "user", `user: invalid UTF-8`},
		{"POST", "/v1/unicast", `{"user":"\ud800","data":1}`, 400, 3, "user", `user: `},
		{"POST", "/v1/unicast", "{\"\xff\":1}", 400, 3, "\ufffd", `unknown field`},
		{"POST", "/v1/unicast", `user=42&data=1`, 400, 3, "body", `body: not valid JSON at byte 1: `},
		{"POST", "/v1/unicast?user=42", `{"data":1}`, 400, 3, "user", `user: unknown query parameter`},
		{"POST", "/v1/multicast", `{"users":"42","data":1}`, 400, 3, "users", `users: unexpected token "42"`},
		{"POST", "/v1/multicast", `{"users":["41", 42],"data":1}`, 400, 3, "users", `users: want strings in quotes, such as ["7"], got ["41", 42]`},
		{"POST", "/v1/multicast", `{"users":[ -7],"data":1}`, 400, 3, "users", `users: want strings in quotes, such as ["7"], got [ -7]`},
		{"GET", "/v1/presence?users[]=7&users[]=8", ``, 400, 3, "users", `users: write users=a&users=b, without []`},
		{"GET", "/v1/presence?user[]=7", ``, 400, 3, "user[]", `user[]: unknown query parameter`},
		{"GET", "/v1/events?wait=30", ``, 400, 3, "wait", `wait: want seconds in a string, such as "90s", got "30"`},
		{"POST", "/v1/multicast", `{"users":[["42"]],"data":1}`, 400, 3, "users", `users: `},
		{"POST", "/v1/users/42/ack", `{"user":"43","cursor":"0"}`, 400, 3, "user", `user: the body has another value than the path: leave it out of the body`},
		{"GET", "/v1/users/42/history?limit=abc", ``, 400, 3, "limit", `limit: not a number in range: "abc"`},
		{"GET", "/v1/users/42/history?limit=99999999999", ``, 400, 3, "limit", `limit: not a number in range: "99999999999"`},
		{"GET", "/v1/users/42/history?limit=1.5", ``, 400, 3, "limit", `limit: not a number in range: "1.5"`},
		{"GET", "/v1/users/42/history?limit=", ``, 400, 3, "limit", `limit: not a number in range: ""`},
		{"GET", "/v1/users/42/history?limit=1&limit=2", ``, 400, 3, "limit", `limit: too many values`},
		{"GET", "/v1/users/42/history?offset=1", ``, 400, 3, "offset", `offset: unknown query parameter`},
		{"GET", "/v1/users/42/history?since=yesterday", ``, 400, 3, "since", `since: want a time such as 2026-03-01T12:00:00Z, got "yesterday"`},
		{"GET", "/v1/users/42/history?since=1772366400", ``, 400, 3, "since", `since: want a time such as 2026-03-01T12:00:00Z, got "1772366400"`},
		{"GET", "/v1/users/42/history?unread_only=maybe", ``, 400, 3, "unread_only", `unread_only: want true or false, got "maybe"`},
		{"GET", "/v1/users/42/history?user=42", ``, 400, 3, "user", `user: it is in the path`},
		{"GET", "/v1/users/42/history?a%ZZ=1", ``, 400, 3, "query", `query: `},
		{"GET", "/v1/users/42/history?%FF=1", ``, 400, 3, "\ufffd", `unknown query parameter`},
		{"GET", "/v1/users/42/history?a;b", ``, 400, 3, "query", `query: `},
		{"GET", "/v1/users/42/history?limit[x]=1", ``, 400, 3, "limit[x]", `limit[x]: unknown query parameter`},
		{"GET", "/v1/unknown", ``, 404, 5, "", `no such path; /docs lists them all`},
		{"GET", "/", ``, 404, 5, "", `no such path; /docs lists them all`},
		{"POST", "/v1/unicast/", `{}`, 404, 5, "", `no such path; /docs lists them all`},
		{"GET", "/v1/users/a/b/history", ``, 404, 5, "", `no such path; /docs lists them all`},
		{"GET", "/v1/unicast", ``, 405, 12, "", `method GET is not allowed here, only POST`},
		{"DELETE", "/v1/users/42/history", ``, 405, 12, "", `method DELETE is not allowed here, only GET`},
		{"PUT", "/v1/users/42/ack", `{}`, 405, 12, "", `method PUT is not allowed here, only POST`},
	} {
		re := r.rest(keyAll, c.method, c.path, c.body)
		what := fmt.Sprintf("%s %s %.80s", c.method, c.path, c.body)
		p := re.problem(t)
		equal(t, what+": status", re.status, c.status)
		equal(t, what+": code", p.Code, c.code)
		equal(t, what+": field", p.field(), c.field)
		contains(t, what, p.Message, c.message)
		if c.status == 405 {
			_, only, _ := strings.Cut(p.Message, "only ")
			equal(t, what+": Allow", re.header.Get("Allow"), only)
		}
	}
	r.expectNothingStored(t)
}

// TestContentTypes: what curl and others send without being told is JSON too.
func TestContentTypes(t *testing.T) {
	r := newRig(t, options{})
	for _, ct := range []string{"", "application/json", "application/json; charset=utf-8", "application/x-www-form-urlencoded", "text/plain", "application/octet-stream", "garbage; ;"} {
		re := r.rest(keyAll, "POST", "/v1/unicast", `{"user":"42","data":1}`, "Content-Type", ct, "Accept", "text/html", "X-HTTP-Method-Override", "GET")
		equal(t, ct, re.status, 200)
	}
}

// TestBodyTooLarge: 413, and a body that says how large it is is not read.
func TestBodyTooLarge(t *testing.T) {
	r := newRig(t, options{limits: Limits{MaxData: 1000, MaxUsers: 10}})
	limit := Limits{MaxData: 1000, MaxUsers: 10}.maxRequest()

	announced := &countingReader{Reader: strings.NewReader(strings.Repeat(" ", limit+1))}
	for name, body := range map[string]io.Reader{
		"announced": announced,
		"chunked":   struct{ io.Reader }{strings.NewReader(strings.Repeat(" ", limit+1))},
	} {
		req, err := http.NewRequest("POST", r.url+"/v1/unicast", body)
		testkit.Must(t, err)
		req.Header.Set("Authorization", "Bearer "+keyAll)
		req.Header.Set("Expect", "100-continue")
		if body == io.Reader(announced) {
			req.ContentLength = int64(limit + 1)
		}
		re := r.do(req)
		equal(t, name, re.status, 413)
		size := "more"
		if req.ContentLength > 0 {
			size = fmt.Sprint(req.ContentLength)
		}
		equal(t, name, re.problem(t).Message, fmt.Sprintf("body: at most %d bytes, got %s", limit, size))
		equal(t, name, re.problem(t).Code, codes.ResourceExhausted)
	}
	equal(t, "read of the announced body", announced.n, 0)

	exact := `{"user":"42","data":1}`
	exact += strings.Repeat(" ", limit-len(exact))
	equal(t, "at the limit", r.rest(keyAll, "POST", "/v1/unicast", exact).status, 200)
}

// TestBodyIsNotReadWithoutCredential: who is not known cannot make the server
// hold a body.
func TestBodyIsNotReadWithoutCredential(t *testing.T) {
	r := newRig(t, options{})
	body := &countingReader{Reader: strings.NewReader(strings.Repeat(" ", 1<<20))}
	req, err := http.NewRequest("POST", r.url+"/v1/multicast", body)
	testkit.Must(t, err)
	req.ContentLength = 1 << 20
	req.Header.Set("Expect", "100-continue")
	equal(t, "status", r.do(req).status, 401)
	equal(t, "read", body.n, 0)
}

type countingReader struct {
	io.Reader
	n int
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += n
	return n, err
}

// TestForm: a form is named as what it is; JSON is taken whatever it is called.
func TestForm(t *testing.T) {
	r := newRig(t, options{})
	const form = "application/x-www-form-urlencoded"
	re := r.rest(keyAll, "POST", "/v1/unicast", "user=7&data=1", "Content-Type", form+"; charset=UTF-8")
	equal(t, "message", re.problem(t).Message, "body: want a JSON object, got a form (content-type "+form+")")
	equal(t, "status", re.status, 400)
	re = r.rest(keyAll, "POST", "/v1/unicast", `{"user":"7","data":1}`, "Content-Type", form)
	equal(t, "JSON that is called a form", re.status, 200)
	re = r.rest(keyAll, "POST", "/v1/unicast", `{"user":7,"data":1}`, "Content-Type", form)
	contains(t, "message", re.problem(t).Message, "user: want a string in quotes")
}

// TestGzip: a compressed body is taken, within the same bounds.
func TestGzip(t *testing.T) {
	r := newRig(t, options{limits: Limits{MaxData: 1000, MaxUsers: 10}})
	limit := Limits{MaxData: 1000, MaxUsers: 10}.maxRequest()
	compressed := func(body string) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, err := w.Write([]byte(body))
		testkit.Must(t, err)
		testkit.Must(t, w.Close())
		return b.String()
	}
	send := `{"user":"42","data":{"n":9007199254740993}}`
	good := compressed(send)
	for _, c := range []struct {
		name, body, encoding string
		status               int
		message              string
	}{
		{"good", good, "gzip", 200, ""},
		{"upper case", good, "GZIP", 200, ""},
		{"none", send, "identity", 200, ""},
		{"truncated", good[:len(good)-9], "gzip", 400, "body: not valid gzip, which its content-encoding is"},
		{"corrupt", good[:12] + "\xff\xff\xff" + good[15:], "gzip", 400, "body: not valid gzip, which its content-encoding is"},
		{"not compressed", send, "gzip", 400, "body: not valid gzip, which its content-encoding is"},
		{"another one", send, "br", 400, `body: want content-encoding gzip or none, got "br"`},
		{"a bomb", compressed(strings.Repeat(" ", 64<<20)), "gzip", 413, fmt.Sprintf("body: at most %d bytes, got ", limit)},
		{"just too long", compressed(send + strings.Repeat(" ", limit-len(send)+1)), "gzip", 413, fmt.Sprintf("body: at most %d bytes, got more", limit)},
		{"as long as may be", compressed(send + strings.Repeat(" ", limit-len(send))), "gzip", 200, ""},
	} {
		re := r.rest(keyAll, "POST", "/v1/unicast", c.body, "Content-Encoding", c.encoding)
		equal(t, c.name, re.status, c.status)
		if c.status != 200 {
			contains(t, c.name, re.problem(t).Message, c.message)
		}
	}
	page := r.must(&pushv1.HistoryRequest{User: "42"}).(*pushv1.HistoryResponse)
	equal(t, "messages", len(page.GetMessages()), 4)
	equal(t, "data", string(page.GetMessages()[0].GetData()), `{"n":9007199254740993}`)
}

// TestShortBody: a body that ends before its announced length.
func TestShortBody(t *testing.T) {
	r := newRig(t, options{})
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	testkit.Must(t, err)
	defer conn.Close()
	testkit.Must(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = fmt.Fprintf(conn, "POST /v1/unicast HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 100\r\n\r\n{\"user\"", keyAll)
	testkit.Must(t, err)
	testkit.Must(t, conn.(*net.TCPConn).CloseWrite())
	answer, err := io.ReadAll(conn)
	testkit.Must(t, err)
	contains(t, "answer", string(answer), "HTTP/1.1 400 ")
	contains(t, "answer", string(answer), "body: it ended before its Content-Length, or could not be read")
}
