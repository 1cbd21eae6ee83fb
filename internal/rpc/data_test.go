package rpc

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/grpc/codes"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/testkit"
)

// awkward are JSON values that decoding and encoding again would change. Strict
// rules accept them.
var awkward = []string{
	`{"n":9007199254740993, "x" : [1,2]}`,
	`18446744073709551617`, `1.0`, `1.00e+02`, `-0`, `0`, `7`,
	`null`, `true`, `""`, `"data"`, `{}`, `[]`, `[ ]`,
	`"\u0041\/\n\ud83d\ude00"`, `"日本 😀 ` + "\u2028" + `"`,
	`{"b":1,"a":2,"B":3}`, "{\n\t\"a\" :\r\n 1 }",
	`{"data":{"data":"\"data\":\"\""},"user":"x"}`, `[{"data":1},"\\"]`,
	`"` + strings.Repeat("x", 60_000) + `"`,
	nested(128),
}

// lenient are further values. Only AnyData accepts them.
var lenient = []string{
	`"\ud800"`, `{"b":1,"a":2,"b":3}`, nested(129), nested(5000),
}

func nested(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }

// TestDataRoundTrip sends each value in through each door and reads it back
// out of each.
func TestDataRoundTrip(t *testing.T) {
	r, lax := newRig(t, options{}), newRig(t, options{dataRules: AnyData})
	for _, value := range awkward {
		r.checkRoundTrip(t, value)
		lax.checkRoundTrip(t, value)
	}
	for _, value := range lenient {
		lax.checkRoundTrip(t, value)
	}
}

func (r *rig) checkRoundTrip(t *testing.T, value string) {
	t.Helper()
	r.roundTrip(t, value, `{"user":"42","data":`+value+`}`)
	r.roundTrip(t, value, "\n{ \"data\" :\t"+value+" , \"user\" : \"42\" } \n")
	r.roundTrip(t, value, `{"d\u0061ta":`+value+`,"user":"42"}`)

	_, err := r.push.Unicast(r.as(keyAll), &pushv1.UnicastRequest{User: "42", Data: []byte(value)})
	testkit.Must(t, err)
	r.expectLast(t, value)

	stream := r.publish(keyAll)
	testkit.Must(t, stream.Send(unicast(1, "42", value)))
	reply, err := stream.Recv()
	testkit.Must(t, err)
	equal(t, value, reply.GetError() == nil, true)
	r.expectLast(t, value)
}

// roundTrip sends body, whose data is value, by REST.
func (r *rig) roundTrip(t testing.TB, value, body string) {
	t.Helper()
	re := r.rest(keyAll, "POST", "/v1/unicast", body)
	if re.status != 200 {
		t.Fatalf("sending %.200q: %d %s", body, re.status, re.body)
	}
	r.expectLast(t, value)
}

// expectLast reads user 42's last message at both doors.
func (r *rig) expectLast(t testing.TB, value string) {
	t.Helper()
	one := int32(1)
	page, err := r.push.History(r.as(keyAll), &pushv1.HistoryRequest{User: "42", Limit: &one})
	testkit.Must(t, err)
	if got := string(page.GetMessages()[0].GetData()); got != value {
		t.Fatalf("gRPC History:\n got %q\nwant %q", got, value)
	}
	re := r.rest(keyAll, "GET", "/v1/users/42/history?limit=1", "")
	equal(t, "status", re.status, 200)
	if !strings.Contains(re.body, `,"data":`+value+`}],"cursor":"`) {
		t.Fatalf("REST History:\n got %s\nwant data %s", re.body, value)
	}
}

// TestStrictData: what strict rules refuse is refused at both doors, with the field
// and the byte; any JSON passes without them.
func TestStrictData(t *testing.T) {
	many := `{`
	for i := range 100 {
		many += fmt.Sprintf(`"name%d":%d,`, i, i)
	}
	r := newRig(t, options{})
	for _, c := range []struct{ data, problem string }{
		{`"\ud800"`, `lone surrogate \ud800 at byte 2`},
		{`["ab",{"\\":"x\uDFFFy"}]`, `lone surrogate \uDFFF at byte 15`},
		{`{"\ud83d":1}`, `lone surrogate \ud83d at byte 3`},
		{`"\ud83d\u0041"`, `lone surrogate \ud83d at byte 2`},
		{`"\ud83d\ud83d\ude00"`, `lone surrogate \ud83d at byte 2`},
		{`"\ude00\ud83d"`, `lone surrogate \ude00 at byte 2`},
		{`{"a":1,"b":{"a":2}, "a" :3}`, `the name "a" is in one object twice, the second time at byte 21`},
		{`[{},{"a":1,"\u0061":2}]`, `the name "a" is in one object twice, the second time at byte 12`},
		{many + `"name99":1}`, `the name "name99" is in one object twice, the second time at byte ` + strconv.Itoa(len(many)+1)},
		{many + `"name3":1}`, `the name "name3" is in one object twice, the second time at byte ` + strconv.Itoa(len(many)+1)},
		{nested(129), `nested deeper than 128 at byte 129`},
		{`{"a":` + nested(128) + `}`, `nested deeper than 128 at byte 133`},
	} {
		want := "data: " + c.problem + ": JSON decoders differ on it; change it, or run pushd with -data-rules any"
		p := grpcProblem(t, r.call(&pushv1.UnicastRequest{User: "42", Data: []byte(c.data)}))
		equal(t, "gRPC", p.Message, want)
		equal(t, "code", p.Code, codes.InvalidArgument)
		equal(t, "field", p.field(), "data")
		re := r.rest(keyAll, "POST", "/v1/broadcast", `{"data": `+c.data+`}`)
		equal(t, "REST", re.problem(t).Message, want)
		equal(t, "status", re.status, 400)
		testkit.Must(t, AnyData.check([]byte(c.data), 1<<20))
	}
	equal(t, "many names", StrictData.check([]byte(many+`"name100":{"name1":1}}`), 1<<20), nil)
	_, err := New(Config{DataRules: "lax"})
	if err == nil {
		t.Error("unknown rules are taken")
	}
}

// FuzzStrictData compares the rules with a naive reading by encoding/json.
func FuzzStrictData(f *testing.F) {
	for _, value := range append(awkward, lenient...) {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		// A replacement character that is meant cannot be told from one that
		// encoding/json puts in the place of a lone surrogate.
		if !json.Valid([]byte(value)) || !utf8.ValidString(value) || strings.Contains(strings.ToLower(value), "fffd") || strings.Contains(value, "\ufffd") {
			return
		}
		if got := StrictData.check([]byte(value), len(value)); (got == nil) != naivelyStrict(t, value) {
			t.Errorf("%q: %v", value, got)
		}
	})
}

func naivelyStrict(t *testing.T, value string) bool {
	var objects []map[string]bool // nil for an array
	var isName []bool             // whether the next token is a name
	for dec := json.NewDecoder(strings.NewReader(value)); ; {
		token, err := dec.Token()
		if err == io.EOF {
			return true
		}
		testkit.Must(t, err)
		last := len(objects) - 1
		text, isText := token.(string)
		named := last >= 0 && objects[last] != nil && isName[last]
		if isText && (strings.Contains(text, "\ufffd") || named && objects[last][text]) {
			return false
		}
		if named && isText {
			objects[last][text] = true
			isName[last] = false
			continue
		}
		switch token {
		case json.Delim('{'):
			objects, isName = append(objects, map[string]bool{}), append(isName, true)
		case json.Delim('['):
			objects, isName = append(objects, nil), append(isName, false)
		case json.Delim('}'), json.Delim(']'):
			objects, isName = objects[:last], isName[:last]
		}
		if len(objects) > 128 {
			return false
		}
		if last = len(objects) - 1; last >= 0 && token != json.Delim('{') {
			isName[last] = true
		}
	}
}

func TestMulticastAndBroadcastData(t *testing.T) {
	r := newRig(t, options{})
	value := awkward[0]
	equal(t, "multicast", r.rest(keyAll, "POST", "/v1/multicast", `{"data":`+value+`,"users":["42","43"]}`).status, 200)
	r.expectLast(t, value)
	equal(t, "broadcast", r.rest(keyAll, "POST", "/v1/broadcast", `{"data":`+awkward[1]+`}`).status, 200)
	r.expectLast(t, awkward[1])
}

// FuzzDataRoundTrip: raw JSON in by REST is the same bytes out of both doors,
// or it is refused because it is not JSON.
func FuzzDataRoundTrip(f *testing.F) {
	for _, value := range append(awkward, lenient...) {
		f.Add(value)
	}
	f.Add(`{`)
	f.Add("\"\xff\"")
	f.Add(`1,"user":"43"`)
	shared := newRig(f, options{dataRules: AnyData})
	f.Fuzz(func(t *testing.T, value string) {
		r := shared.with(t)
		body := `{"user":"42","data":` + value + `}`
		// More than one value, or less, is not a question about data.
		if !json.Valid([]byte(value)) || !utf8.ValidString(value) || len(value) > 64<<10 {
			var probe map[string]json.RawMessage
			re := r.rest(keyAll, "POST", "/v1/unicast", body)
			if re.status == 200 && json.Unmarshal([]byte(body), &probe) != nil {
				t.Fatalf("%q was taken: %s", body, re.body)
			}
			return
		}
		r.roundTrip(t, strings.Trim(value, " \t\r\n"), body)
	})
}
