//go:build linux

package main

import (
	"bytes"
	"compress/flate"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

func compressed(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, 6)
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte(text))
	w.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte("\x00\x00\xff\xff"))
}

func TestInflate(t *testing.T) {
	var z inflater
	for _, text := range []string{"Hello", "Hello", "", strings.Repeat("again ", 10_000), "Hello"} {
		got, err := z.inflate(compressed(t, text))
		if err != nil || string(got) != text {
			t.Fatalf("%.20q became %.20q, %v", text, got, err)
		}
	}
	for name, bad := range map[string][]byte{
		"nothing": {}, "garbage": {0xff}, "cut short": compressed(t, strings.Repeat("again ", 1000))[:10],
		"too long": compressed(t, strings.Repeat("x", maxFrame+1)),
	} {
		for range 2 {
			if _, err := z.inflate(bad); err == nil {
				t.Errorf("%s: no error", name)
			}
		}
	}
}

// Messages are counted with -compression as without it, for any answer of the
// server. Bytes are counted as they arrive, compressed.
func TestCompression(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data.json")
	if err := os.WriteFile(path, []byte(`{"text":"`+strings.Repeat("again and ", 100)+`"}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		mode   websocket.CompressionMode
		args   []string
		shrink bool
	}{
		"taken":       {websocket.CompressionNoContextTakeover, []string{"-compression"}, true},
		"declined":    {websocket.CompressionDisabled, []string{"-compression"}, false},
		"not offered": {websocket.CompressionNoContextTakeover, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			f.compression = c.mode
			r := mustBench(t, f.args("broadcast", append(c.args, "-conns", "8", "-messages", "20", "-data", path)...)...)
			p := r.Push
			if p.Deliveries != 8*20 || p.Lost+p.Duplicates+int64(p.Closed) != 0 || len(r.Errors) != 0 {
				t.Errorf("%+v, errors %v", p, r.Errors)
			}
			if p.Size < 1000 || (p.Bytes < 200) != c.shrink {
				t.Errorf("%d bytes of data came as %v", p.Size, p.Bytes)
			}
		})
	}
}

// A server that uses an extension nobody asked for is not measured.
func TestExtensionsThatWereNotOffered(t *testing.T) {
	for extension, offered := range map[string]bool{
		"": true, "permessage-deflate; server_no_context_takeover": true, "permessage-deflate": false, "x": false,
	} {
		for _, compression := range []bool{false, true} {
			h, err := newHandshakes(holdConfig{URL: "ws://127.0.0.1:1/", UserNames: "u{n}", Users: 1, Compression: compression})
			if err != nil {
				t.Fatal(err)
			}
			head := "HTTP/1.1 101 X\r\nSec-WebSocket-Accept: " + h.accept
			if extension != "" {
				head += "\r\nSec-WebSocket-Extensions: " + extension
			}
			if err := h.check([]byte(head), nil); (err == nil) != (extension == "" || offered && compression) {
				t.Errorf("%q, offering %v: %v", extension, compression, err)
			}
		}
	}
}
