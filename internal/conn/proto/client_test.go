package proto

import (
	"encoding/json"
	"strings"
	"testing"

	"pushd.example/internal/history"
)

var (
	someCursor     = history.Cursor{Inbox: 4398046511104, Broadcast: 7}
	someCursorText = someCursor.String()
)

func TestParseClient(t *testing.T) {
	ack := ClientMessage{Type: ClientAck, Cursor: someCursor}
	pings := ClientMessage{Type: ClientPing}
	c := `"` + someCursorText + `"`
	cases := []struct {
		name, in string
		want     ClientMessage
		err      *ClientError
	}{
		{"ack", `{"type":"ack","cursor":` + c + `}`, ack, nil},
		{"keys in another order", `{"cursor":` + c + `,"type":"ack"}`, ack, nil},
		{"white space", " {\n\t\"type\" : \"ack\" ,\r\n \"cursor\": " + c + " } \n", ack, nil},
		{"unknown keys", `{"id":"1","type":"ack","why":"","cursor":` + c + `}`, ack, nil},
		{"unknown keys of any type", `{"n":1.5e3,"o":{"type":"x"},"a":[null,true],"type":"ack","cursor":` + c + `}`, ack, nil},
		{"escapes", `{"t\u0079pe":"\u0061ck","cursor":` + c + `}`, ack, nil},
		{"an escape in an unknown key", `{"\"":"\\","type":"ping"}`, pings, nil},
		{"keys in capitals are other keys", `{"type":"ping","TYPE":"ack","Type":1}`, pings, nil},
		{"the last of two counts", `{"type":"ack","type":"ping"}`, pings, nil},
		{"the beginning of history", `{"type":"ack","cursor":"0"}`, ClientMessage{Type: ClientAck}, nil},
		{"ping", `{"type":"ping"}`, pings, nil},
		{"ping with a cursor of nonsense", `{"type":"ping","cursor":5}`, pings, nil},

		{"nothing", ``, ClientMessage{}, errBadJSON},
		{"a word", `ping`, ClientMessage{}, errBadJSON},
		{"a string", `"ping"`, ClientMessage{}, errBadJSON},
		{"null", `null`, ClientMessage{}, errBadJSON},
		{"an array", `[{"type":"ping"}]`, ClientMessage{}, errBadJSON},
		{"a comma at the end", `{"type":"ping",}`, ClientMessage{}, errBadJSON},
		{"a comma at the beginning", `{,"type":"ping"}`, ClientMessage{}, errBadJSON},
		{"two objects", `{"type":"ping"}{"type":"ping"}`, ClientMessage{}, errBadJSON},
		{"something after", `{"type":"ping"} x`, ClientMessage{}, errBadJSON},
		{"cut", `{"type":"ping"`, ClientMessage{}, errBadJSON},
		{"cut in a string", `{"type":"pin`, ClientMessage{}, errBadJSON},
		{"a control character", "{\"type\":\"ping\",\"a\":\"\n\"}", ClientMessage{}, errBadJSON},
		{"a wrong escape", `{"type":"ping","a":"\x"}`, ClientMessage{}, errBadJSON},
		{"no colon", `{"type" "ping"}`, ClientMessage{}, errBadJSON},
		{"NUL after", "{\"type\":\"ping\"}\x00", ClientMessage{}, errBadJSON},
		{"deep", strings.Repeat("[", 60000), ClientMessage{}, errBadJSON},
		{"deeper than encoding/json goes", `{"a":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, ClientMessage{}, errBadJSON},

		{"no type", `{}`, ClientMessage{}, errUnknownType},
		{"no type, but space", ` { } `, ClientMessage{}, errUnknownType},
		{"an unknown type", `{"type":"subscribe"}`, ClientMessage{}, errUnknownType},
		{"a type in capitals", `{"type":"PING"}`, ClientMessage{}, errUnknownType},
		{"a type that is a number", `{"type":1}`, ClientMessage{}, errUnknownType},
		{"a type that is null", `{"type":null}`, ClientMessage{}, errUnknownType},

		{"no cursor", `{"type":"ack"}`, ClientMessage{}, errBadCursor},
		{"a cursor that is a number", `{"type":"ack","cursor":0}`, ClientMessage{}, errBadCursor},
		{"an empty cursor", `{"type":"ack","cursor":""}`, ClientMessage{}, errBadCursor},
		{"a damaged cursor", `{"type":"ack","cursor":"` + strings.ToUpper(strings.Repeat("z", 22)) + `"}`, ClientMessage{}, errBadCursor},
		{"a long cursor", `{"type":"ack","cursor":"` + strings.Repeat("0", 60000) + `"}`, ClientMessage{}, errBadCursor},
	}
	for _, c := range cases {
		m := ClientMessage{Type: 99, Cursor: someCursor} // of the message before
		if err := ParseClient([]byte(c.in), &m); m != c.want || err != c.err {
			t.Errorf("%s: got %+v, %v; want %+v, %v", c.name, m, err, c.want, c.err)
		}
	}
}

// FuzzParseClient compares with a reading by encoding/json alone.
func FuzzParseClient(f *testing.F) {
	f.Add([]byte(`{"type":"ack","cursor":"` + someCursorText + `"}`))
	f.Add([]byte(` { "type" : "ping" , "x" : { "y" : [ 1 , null ] } } `))
	f.Add([]byte(`{"t\u0079pe":"ping","a":"\ud800"}`))
	f.Add([]byte(`{"type":"ping","type":null}`))
	f.Add([]byte("{\"type\":\"ping\",\"\xff\":\"\xff\"}"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		var got ClientMessage
		gotErr := ParseClient(payload, &got)
		want, wantErr := parseClientSlowly(payload)
		if got != want || gotErr != wantErr {
			t.Fatalf("%q: got %+v, %v; encoding/json gives %+v, %v", payload, got, gotErr, want, wantErr)
		}
	})
}

func parseClientSlowly(payload []byte) (ClientMessage, *ClientError) {
	var v any
	if json.Unmarshal(payload, &v) != nil {
		return ClientMessage{}, errBadJSON
	}
	object, ok := v.(map[string]any)
	if !ok {
		return ClientMessage{}, errBadJSON
	}
	switch object["type"] {
	case "ping":
		return ClientMessage{Type: ClientPing}, nil
	case "ack":
		s, _ := object["cursor"].(string)
		c, err := history.ParseCursor(s)
		if err != nil {
			return ClientMessage{}, errBadCursor
		}
		return ClientMessage{Type: ClientAck, Cursor: c}, nil
	}
	return ClientMessage{}, errUnknownType
}
