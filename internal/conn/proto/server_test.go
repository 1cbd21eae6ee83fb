package proto

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"pushd.example/internal/history"
)

// readFrame reads our frame with gobwas/ws; b holds nothing else.
func readFrame(t testing.TB, b []byte) ws.Frame {
	t.Helper()
	rd := bytes.NewReader(b)
	h, err := ws.ReadHeader(rd)
	if err != nil {
		t.Fatal(err)
	}
	if err := ws.CheckHeader(h, ws.StateClientSide); err != nil {
		t.Fatal(err)
	}
	if !h.Fin || h.Length != int64(rd.Len()) {
		t.Fatalf("fin %v, %d bytes declared, %d there", h.Fin, h.Length, rd.Len())
	}
	return ws.Frame{Header: h, Payload: b[len(b)-int(h.Length):]}
}

// textPayload returns the payload of our text frame.
func textPayload(t testing.TB, b []byte) string {
	t.Helper()
	f := readFrame(t, b)
	if f.Header.OpCode != ws.OpText || !utf8.Valid(f.Payload) {
		t.Fatalf("opcode %d, payload %q", f.Header.OpCode, f.Payload)
	}
	return string(f.Payload)
}

var christmas = history.FirstIDAt(time.Date(2026, 12, 24, 18, 0, 0, 20_000_000, time.UTC)) + 5

func TestServerMessages(t *testing.T) {
	cases := []struct {
		name  string
		frame []byte
		want  string
	}{
		{"hello", AppendHello(nil, Hello{"c1", "42", someCursor, 3, true}),
			`{"type":"hello","connection":"c1","user":"42","cursor":"` + someCursorText + `","unread":3,"truncated":true}`},
		{"hello to a user that JSON has to escape", AppendHello(nil, Hello{"", "a\"\\\u2028\x7f\tü\xff", history.Cursor{}, 0, false}),
			`{"type":"hello","connection":"","user":"a\"\\` + "\u2028\x7f" + `\u0009ü` + "\uFFFD" + `","cursor":"0000000000000000000000","unread":0,"truncated":false}`},
		{"unicast", AppendMessage(nil, history.Message{ID: christmas, Kind: history.Unicast, Data: []byte(`{"n":9007199254740993, "s": "ü"}`)}),
			`{"type":"message","id":"` + christmas.String() + `","log":"inbox","kind":"unicast","time":"2026-12-24T18:00:00.020Z","data":{"n":9007199254740993, "s": "ü"}}`},
		{"multicast", AppendMessage(nil, history.Message{ID: 1, Kind: history.Multicast, Data: []byte(`null`)}),
			`{"type":"message","id":"1","log":"inbox","kind":"multicast","time":"2024-01-01T00:00:00.000Z","data":null}`},
		{"recall", AppendRecall(nil, 7, history.Multicast), `{"type":"recall","id":"7","log":"inbox"}`},
		{"read mark", AppendAcked(nil, history.ReadMark{Cursor: history.Cursor{Inbox: 7, Broadcast: history.MaxID}, Unread: 3}),
			`{"type":"acked","cursor":"000000000072gosa7pa2gv","unread":3}`},
		{"recall of a broadcast", AppendRecall(nil, history.MaxID, history.Broadcast), `{"type":"recall","id":"9007199254740991","log":"broadcast"}`},
		{"broadcast", AppendMessage(nil, history.Message{ID: history.MaxID, Kind: history.Broadcast, Data: []byte(`[]`)}),
			`{"type":"message","id":"9007199254740991","log":"broadcast","kind":"broadcast","time":"2093-09-06T15:47:35.551Z","data":[]}`},
		{"pong", AppendPong(nil), `{"type":"pong"}`},
		{"error", AppendError(nil, codeBadJSON, `no "object"`), `{"type":"error","code":"bad_json","message":"no \"object\""}`},
	}
	for _, c := range cases {
		got := textPayload(t, c.frame)
		if got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, c.want)
		}
		if !json.Valid([]byte(got)) {
			t.Errorf("%s: no JSON: %s", c.name, got)
		}
	}
}

// TestMessageSizes: the payload is whole on both sides of each header form,
// whatever lies before it in dst.
func TestMessageSizes(t *testing.T) {
	overhead := len(textPayload(t, AppendMessage(nil, history.Message{ID: christmas, Kind: history.Unicast})))
	for _, size := range []int{125, 126, 127, 128, 65534, 65535, 65536, 65537} {
		data := `"` + strings.Repeat("d", size-overhead-2) + `"`
		for _, dst := range [][]byte{nil, []byte("before"), make([]byte, 3, 1<<17)} {
			got := AppendMessage(dst, history.Message{ID: christmas, Kind: history.Unicast, Data: []byte(data)})
			if !bytes.HasPrefix(got, dst) {
				t.Fatalf("%d bytes: what was in dst is damaged", size)
			}
			payload := textPayload(t, got[len(dst):])
			if len(payload) != size || !strings.HasSuffix(payload, `"data":`+data+`}`) || !strings.HasPrefix(payload, `{"type"`) {
				t.Fatalf("%d bytes: got %d, %.80q…", size, len(payload), payload)
			}
		}
	}
}

func TestAppendFrame(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 65535, 65536, 1 << 20} {
		payload := bytes.Repeat([]byte{0xA5}, size)
		want, err := ws.CompileFrame(ws.NewBinaryFrame(payload))
		if err != nil {
			t.Fatal(err)
		}
		if got := AppendFrame(nil, Binary, payload); !bytes.Equal(got, want) {
			t.Errorf("%d bytes: the frame differs from that of gobwas/ws", size)
		}
	}
	for name, c := range map[string]struct {
		got  []byte
		want ws.Frame
	}{
		"ping": {AppendPingFrame(nil, []byte("p")), ws.NewPingFrame([]byte("p"))},
		"pong": {AppendPongFrame(nil, []byte("p")), ws.NewPongFrame([]byte("p"))},
	} {
		if want, err := ws.CompileFrame(c.want); err != nil || !bytes.Equal(c.got, want) {
			t.Errorf("%s: got % x, want % x, %v", name, c.got, want, err)
		}
	}
}

func TestAppendCloseFrame(t *testing.T) {
	a122 := strings.Repeat("a", 122)
	cases := []struct {
		code         uint16
		reason, want string
	}{
		{closeNormal, "", ""},
		{CloseTooSlow, "too slow", "too slow"},
		{closeNormal, a122 + "b", a122 + "b"},
		{closeNormal, a122 + "bc", a122 + "b"},
		{closeNormal, a122 + "ü", a122},
		{closeNormal, a122[:121] + "üü", a122[:121] + "ü"},
	}
	for _, c := range cases {
		f := readFrame(t, AppendCloseFrame(nil, c.code, c.reason))
		code, reason := ws.ParseCloseFrameData(f.Payload)
		if f.Header.OpCode != ws.OpClose || uint16(code) != c.code || reason != c.want {
			t.Errorf("%d %q: got opcode %d, %d %q", c.code, c.reason, f.Header.OpCode, code, reason)
		}
	}
	if f := readFrame(t, AppendCloseFrame(nil, closeNoStatus, "unused")); f.Header.OpCode != ws.OpClose || len(f.Payload) > 0 {
		t.Errorf("without a status: %+v", f)
	}
}

// TestCloseErrorsFit: what a client is told when it is cut off is itself a
// frame that a client may receive.
func TestCloseErrorsFit(t *testing.T) {
	words := map[string]bool{}
	for _, e := range []*CloseError{
		errUnmasked, errRSV, errOpcode, errControlSize, errControlSplit, errContinuation, errInterleaved,
		errLength, errCloseSize, errCloseCode, errText, errDeflate, errCloseText, errTooBig, errFragments,
	} {
		words[e.Metric] = true
		f := readFrame(t, AppendCloseFrame(nil, e.Code, e.Reason))
		if _, reason := ws.ParseCloseFrameData(f.Payload); reason != e.Reason || !validCloseCode(e.Code) || !slices.Contains(CloseErrorMetrics[:], e.Metric) {
			t.Errorf("%+v arrives as %q", e, reason)
		}
	}
	if len(words) != len(CloseErrorMetrics) {
		t.Errorf("errors use the words %v of %v", words, CloseErrorMetrics)
	}
}

// FuzzAppendString: whatever the string, JSON reads it back.
func FuzzAppendString(f *testing.F) {
	f.Add("a\"\\\x00\x1f\x7f\u2028\xff\xed\xa0\x80")
	f.Fuzz(func(t *testing.T, s string) {
		b := appendString([]byte(nil), s)
		var got string
		if err := json.Unmarshal(b, &got); err != nil || !utf8.Valid(b) {
			t.Fatalf("%q is written %q: %v", s, b, err)
		}
		if want := string([]rune(s)); got != want {
			t.Fatalf("%q comes back as %q", s, got)
		}
	})
}
