package rpc

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pushv1 "pushd.example/api/push/v1"
	"pushd.example/internal/history"
	"pushd.example/internal/testkit"
)

// FuzzUnmarshal: any bytes at all are taken exactly when protojson takes them
// with data in base64 instead, and mean the same.
func FuzzUnmarshal(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `{"user":"42","data":{"a":[1,"]"]}}`, `{"data":null,"ttl":"1.5s","idempotencyKey":"k"}`,
		` { "d\u0061ta" : "x\\" , "idempotency_key":"" } `, `{"user":null,"data":1,"data":2}`, `{"user":42}`,
		`{"data":{"data":1},"ttl":null}`, `{"ttl":"1s","data":[]}`, `[{"data":1}]`, `{"data":1}x`, "{\"user\":\"\xff\"}", `{"data":`,
		`{"user":"42","user_":1}`, `{"":1}`, `{"data":1 ,"user":"a" }`, `{"data":1, "data":2, "user":"a"}`,
	} {
		f.Add([]byte(seed))
	}
	k := newCodec()
	f.Fuzz(func(t *testing.T, body []byte) {
		var got, want pushv1.UnicastRequest
		gotErr := k.Unmarshal(bytes.Clone(body), &got)
		wantErr := unmarshalOracle(body, &want)
		if (gotErr == nil) != (wantErr == nil) {
			t.Fatalf("%q:\n got %v\nwant %v", body, gotErr, wantErr)
		}
		if gotErr == nil && !proto.Equal(&got, &want) {
			t.Fatalf("%q:\n got %v\nwant %v", body, &got, &want)
		}
		if _, isField := gotErr.(*FieldError); gotErr != nil && !isField {
			t.Fatalf("%q: %T %v", body, gotErr, gotErr)
		}
	})
}

// unmarshalOracle puts data into base64, as protojson wants it, and writes the
// members again one by one.
func unmarshalOracle(body []byte, msg proto.Message) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	if open, err := dec.Token(); err != nil || open != json.Delim('{') {
		return io.ErrUnexpectedEOF
	}
	var parts []string
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return err
		}
		if key == dataField {
			value = []byte(`"` + base64.StdEncoding.EncodeToString(value) + `"`)
		}
		parts = append(parts, quote(key.(string))+":"+string(value))
	}
	if !json.Valid(body) {
		return io.ErrUnexpectedEOF
	}
	return protojson.Unmarshal([]byte("{"+strings.Join(parts, ",")+"}"), msg)
}

// FuzzMarshalPage: a page is what protojson writes, apart from data, which is
// as it was.
func FuzzMarshalPage(f *testing.F) {
	f.Add(uint64(1<<52), uint8(1), `{"a":1}`, "cursor", true, int32(3), 2)
	f.Add(uint64(4096000), uint8(3), ` [ ] `, "\"\\\n<é", false, int32(-1), 0)
	k := newCodec()
	f.Fuzz(func(t *testing.T, id uint64, kind uint8, data, cursor string, flag bool, unread int32, n int) {
		page := make([]history.Message, n&15)
		for i := range page {
			page[i] = history.Message{ID: history.ID(id+uint64(i)*977) & history.MaxID, Kind: history.Kind(kind%3 + 1), Data: []byte(`""`)}
		}
		resp := &pushv1.HistoryResponse{Messages: messages(page), Cursor: strings.ToValidUTF8(cursor, ""), HasMore: flag, Unread: unread, Truncated: !flag}
		expectLikeProtojson(t, k, resp)

		if !json.Valid([]byte(data)) {
			return
		}
		for _, m := range resp.GetMessages() {
			m.Data = []byte(data)
		}
		text, err := k.Marshal(resp)
		testkit.Must(t, err)
		var back struct {
			Messages []struct{ Data json.RawMessage }
		}
		testkit.Must(t, json.Unmarshal(text, &back))
		equal(t, "messages", len(back.Messages), len(page))
		for _, m := range back.Messages {
			equal(t, "data", string(m.Data), strings.Trim(data, " \t\r\n"))
		}
	})
}

// expectLikeProtojson compares resp, whose data must be `""`, with what
// protojson writes for it. Strings are compared decoded: protojson escapes
// fewer letters.
func expectLikeProtojson(t *testing.T, k codec, resp *pushv1.HistoryResponse) {
	t.Helper()
	text, err := k.Marshal(resp)
	testkit.Must(t, err)
	bare := proto.Clone(resp).(*pushv1.HistoryResponse)
	for _, m := range bare.GetMessages() {
		m.Data = nil
	}
	oracle, err := k.marshal.Marshal(bare)
	testkit.Must(t, err)
	equal(t, "page", canonical(t, text), canonical(t, oracle))
}

func canonical(t *testing.T, text []byte) string {
	t.Helper()
	var v any
	testkit.Must(t, json.Unmarshal(text, &v))
	out, err := json.Marshal(v)
	testkit.Must(t, err)
	return string(out)
}

// TestPageOrder: the members come in the proto's order, without spaces.
func TestPageOrder(t *testing.T) {
	id := history.FirstIDAt(time.Date(2026, 1, 2, 3, 4, 5, 60e6, time.UTC))
	whole := history.FirstIDAt(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	page := []history.Message{{ID: id, Kind: history.Unicast, Data: []byte(`{ }`)}, {ID: whole, Kind: history.Broadcast}}
	text, err := newCodec().Marshal(&pushv1.HistoryResponse{Messages: messages(page), Cursor: "c", Unread: 2})
	testkit.Must(t, err)
	equal(t, "page", string(text), `{"messages":[`+
		`{"id":"`+id.String()+`","log":"inbox","kind":"unicast","time":"2026-01-02T03:04:05.060Z","data":{ }},`+
		`{"id":"`+whole.String()+`","log":"broadcast","kind":"broadcast","time":"2026-01-02T03:04:05Z","data":null}`+
		`],"cursor":"c","has_more":false,"unread":2,"truncated":false,"before":""}`)
}

// TestRawFields: data is raw where the codec knows it: at the top of a request
// and in a page. Anywhere else it would come out as base64.
func TestRawFields(t *testing.T) {
	methods := pushv1.File_push_v1_push_proto.Services().ByName("PushService").Methods()
	for i := range methods.Len() {
		m := methods.Get(i)
		if m.IsStreamingClient() || m.IsStreamingServer() {
			continue // only gRPC has them
		}
		for path := range dataFields(m.Input(), "") {
			if path != dataField || rawField(m.Input()) == nil {
				t.Errorf("%s: the codec does not read %s", m.Input().Name(), path)
			}
		}
		for path := range dataFields(m.Output(), "") {
			if m.Output().Name() != "HistoryResponse" || path != "messages.data" {
				t.Errorf("%s: the codec does not write %s", m.Output().Name(), path)
			}
		}
	}
}

// dataFields returns the paths of d's fields named data, at any depth.
func dataFields(d protoreflect.MessageDescriptor, prefix string) map[string]bool {
	paths := map[string]bool{}
	for i := range d.Fields().Len() {
		field := d.Fields().Get(i)
		name := prefix + string(field.Name())
		if field.Name() == dataField {
			paths[name] = true
		} else if field.Message() != nil {
			for path := range dataFields(field.Message(), name+".") {
				paths[path] = true
			}
		}
	}
	return paths
}

// TestWriterKnowsEveryField: appendHistory is by hand, so a new field in the
// proto must be written there too.
func TestWriterKnowsEveryField(t *testing.T) {
	page := &pushv1.HistoryResponse{Messages: messages([]history.Message{{ID: 1 << 40, Kind: history.Unicast, Data: []byte(`""`), CollapseKey: "k"}, {ID: 1 << 41, Kind: history.Broadcast, Data: []byte(`""`)}}), Cursor: "c"}
	for _, m := range []proto.Message{page, page.GetMessages()[0]} {
		fields := m.ProtoReflect().Descriptor().Fields()
		for i := range fields.Len() {
			if f := fields.Get(i); f.HasPresence() && !m.ProtoReflect().Has(f) {
				t.Errorf("%s: fill it in here and write it in page.go", f.FullName())
			}
		}
	}
	expectLikeProtojson(t, newCodec(), page)
}

// TestCodecElsewhere: the parts of runtime.Marshaler that calls do not use.
func TestCodecElsewhere(t *testing.T) {
	k := newCodec()
	var req pushv1.UnicastRequest
	testkit.Must(t, k.NewDecoder(strings.NewReader(`{"user":"42","data":[ ]}`)).Decode(&req))
	equal(t, "decoded", string(req.GetData()), "[ ]")
	var out strings.Builder
	testkit.Must(t, k.NewEncoder(&out).Encode(&pushv1.AckResponse{Unread: 7}))
	equal(t, "encoded", out.String(), `{"unread":7}`)
	if _, err := k.Marshal(7); err == nil {
		t.Error("7 is not a message")
	}
	if err := k.Unmarshal([]byte(`7`), new(int)); err == nil {
		t.Error("an int is not a message")
	}
}

// TestChecksAllocateNothing: the checks stand on the path of every push.
func TestChecksAllocateNothing(t *testing.T) {
	data := []byte(awkward[0])
	got := testing.AllocsPerRun(100, func() {
		if StrictData.check(data, 1<<10) != nil || checkUser("user", "42") != nil || checkText("idempotency_key", "k", maxKey) != nil {
			t.Error("refused")
		}
	})
	equal(t, "allocations", got, 0)
}
