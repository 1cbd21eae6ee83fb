package rpc

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/testkit"
)

// awkward are JSON values that decoding and encoding again would change.
var awkward = []string{
	`{"n":9007199254740993, "x" : [1,2]}`,
	`18446744073709551617`, `1.0`, `1.00e+02`, `-0`, `0`, `7`,
	`null`, `true`, `""`, `"data"`, `{}`, `[]`, `[ ]`,
	`"\u0041\/\n\ud83d\ude00"`, `"\ud800"`, `"日本 😀 ` + "\u2028" + `"`,
	`{"b":1,"a":2,"b":3}`, "{\n\t\"a\" :\r\n 1 }",
	`{"data":{"data":"\"data\":\"\""},"user":"x"}`, `[{"data":1},"\\"]`,
	`"` + strings.Repeat("x", 60_000) + `"`,
	strings.Repeat("[", 5000) + strings.Repeat("]", 5000),
}

// TestDataRoundTrip sends each value in through each door and reads it back
// out of each.
func TestDataRoundTrip(t *testing.T) {
	r := newRig(t, options{})
	for _, value := range awkward {
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
	for _, value := range awkward {
		f.Add(value)
	}
	f.Add(`{`)
	f.Add("\"\xff\"")
	f.Add(`1,"user":"43"`)
	shared := newRig(f, options{})
	f.Fuzz(func(t *testing.T, value string) {
		r := shared.with(t)
		body := `{"user":"42","data":` + value + `}`
		// What is more than one value, or less, is not a question about data.
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
