package rpc

import (
	"context"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/history"
	"pushd.example/internal/testkit"
)

// FuzzREST: whatever stands in path, query and body of whatever route, the
// answer is good or says which field is wrong; it is never our fault.
func FuzzREST(f *testing.F) {
	r := newRig(f, options{limits: Limits{MaxData: 1000, MaxUsers: 10}})
	var routes []route
	for _, m := range apiMethods(f) {
		routes = append(routes, m.routes...)
	}
	for i := range routes {
		f.Add(uint8(i), "42", "limit=3&after=0", `{"user":"42","data":{"a":[1]}}`)
		f.Add(uint8(i), "a/b%", "since=2026-03-01T12:00:00.5%2B01:00&kinds=unicast&unread_only=1", `{"users":["a"],"groups":["g"],"except":["b"],"ttl":"1.5s","exclude_connection":"c","ephemeral":true,"collapse_key":"k","notify_unacked_after":"60s","data":0}`)
		f.Add(uint8(i), "\xff", "a;b&%ZZ&users=a&users=b&page_token=YQ", `{"cursor":"0","ttl":"-1s","d\u0061ta":`)
		f.Add(uint8(i), "..", "refuse=60s&reason=x&since=0001-01-01T00:00:00Z", "null")
	}
	f.Fuzz(func(t *testing.T, which uint8, name, query, body string) {
		rt := routes[int(which)%len(routes)]
		path := rt.path
		for _, part := range strings.Split(rt.path, "/") {
			if strings.HasPrefix(part, "{") {
				path = strings.Replace(path, part, url.PathEscape(name), 1)
			}
		}
		req := httptest.NewRequest(rt.verb, "http://pushd/", strings.NewReader(body))
		at, err := url.Parse("http://pushd" + path)
		testkit.Must(t, err)
		req.URL = at
		req.URL.RawQuery = query
		req.Header.Set("Authorization", "Bearer "+keyAll)
		w := httptest.NewRecorder()
		r.server.REST().ServeHTTP(w, req)
		re := reply{w.Code, w.Header(), w.Body.String()}
		switch re.status {
		case 200, 404, 413:
		case 400:
			p := re.problem(t)
			if !strings.HasPrefix(p.Message, p.field()+": ") || !utf8.ValidString(p.Message) {
				t.Fatalf("%s %s?%s %q: %q blames %q", rt.verb, path, query, body, p.Message, p.field())
			}
		default:
			t.Fatalf("%s %s?%s %q: %d %s", rt.verb, path, query, body, re.status, re.body)
		}
	})
}

// FuzzHistoryOfAnyUser: a user is good in a path exactly if the store takes it.
func FuzzHistoryOfAnyUser(f *testing.F) {
	r := newRig(f, options{})
	for _, user := range []string{"42", "a/b", "%2F", "..", " ", "日本", "\xff", strings.Repeat("u", 129), ""} {
		f.Add(user)
	}
	f.Fuzz(func(t *testing.T, user string) {
		re := r.with(t).rest(keyRead, "GET", "/v1/users/"+url.PathEscape(user)+"/history", "")
		want := 200
		if history.CheckUser(user) != nil {
			want = 400
		}
		if re.status != want {
			t.Fatalf("user %q: %d %s, want %d", user, re.status, re.body, want)
		}
	})
}

// FuzzPublish: any bytes as a request on a stream have a reply, with the number
// that they held, or end the stream; the server lives on.
func FuzzPublish(f *testing.F) {
	r := newRig(f, options{limits: Limits{MaxData: 1000, MaxUsers: 10}})
	for _, req := range []*pushv1.PublishRequest{
		unicast(1, "42", "1"), multicast(-1, []string{"a", ""}, "{"), broadcast(0, `"x"`), {Number: 7},
	} {
		text, err := proto.Marshal(req)
		testkit.Must(f, err)
		f.Add(text)
		f.Add(text[:len(text)-1])
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r := r.with(t)
		ctx, cancel := context.WithCancel(r.as(keyAll))
		defer cancel()
		stream, err := r.conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true},
			pushv1.PushService_Publish_FullMethodName, grpc.ForceCodec(rawCodec{}))
		testkit.Must(t, err)
		testkit.Must(t, stream.SendMsg(text))
		testkit.Must(t, stream.CloseSend())
		var answer []byte
		err = stream.RecvMsg(&answer)
		var req pushv1.PublishRequest
		if unmarshal := proto.Unmarshal(text, &req); unmarshal != nil || len(text) > r.maxRequest() {
			if code := status.Code(err); code != codes.Internal && code != codes.ResourceExhausted {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		testkit.Must(t, err)
		var reply pushv1.PublishResponse
		testkit.Must(t, proto.Unmarshal(answer, &reply))
		if reply.GetNumber() != req.GetNumber() || reply.GetReply() == nil || codes.Code(reply.GetError().GetCode()) == codes.Internal {
			t.Fatalf("%v has the reply %v", &req, &reply)
		}
	})
}

// maxRequest is the limit of the fuzzed server.
func (r *rig) maxRequest() int { return r.server.rest.(*rest).maxBytes }
