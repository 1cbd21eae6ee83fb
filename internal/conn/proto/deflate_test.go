package proto

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

// peerDeflate compresses as RFC 7692, section 7.2.1, says, with the standard
// library.
func peerDeflate(t testing.TB, level int, parts ...string) string {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		if _, err := w.Write([]byte(p)); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	return strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
}

// peerInflate is section 7.2.2 with the standard library, and a final block
// behind to see whether the message is complete.
func peerInflate(payload string, most int) (message []byte, err error) {
	in := bytes.NewReader([]byte(payload + "\x00\x00\xff\xff" + "\x01\x00\x00\xff\xff"))
	for in.Len() > 0 {
		part, err := io.ReadAll(io.LimitReader(flate.NewReader(in), int64(most-len(message)+1)))
		if message = append(message, part...); len(message) > most {
			return nil, errTooBig
		}
		if err != nil {
			return nil, err
		}
	}
	return message, nil
}

func inflate(z *Inflater, op Op, payload string, most int) (string, *CloseError) {
	ev := Event{Op: op, Payload: []byte(payload), Deflated: true}
	if err := z.Inflate(&ev, most); err != nil {
		return "", err
	}
	return string(ev.Payload), nil
}

func random(n int) string {
	r := rand.New(rand.NewPCG(7, 7))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

func TestInflate(t *testing.T) {
	const most = 64 << 10
	hello := "\xf2\x48\xcd\xc9\xc9\x07\x00"
	for _, c := range []struct{ name, payload, want string }{
		{"RFC 7692, 7.2.3.1", hello, "Hello"},
		{"RFC 7692, 7.2.3.3: a block that is not compressed", "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", "Hello"},
		{"RFC 7692, 7.2.3.4: a final block", "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "Hello"},
		{"RFC 7692, 7.2.3.5: two blocks", "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", "Hello"},
		{"RFC 7692, 7.2.3.6: an empty message", "\x00", ""},
		{"a final block, then others", "\xf3\x48\xcd\xc9\xc9\x07\x00" + "\xf3\x48\xcd\xc9\xc9\x07\x00" + hello, "HelloHelloHello"},
		{"flushed now and then", peerDeflate(t, 9, "κόσμε ", "κόσμε ", "κόσμε"), "κόσμε κόσμε κόσμε"},
		{"as long as may be", peerDeflate(t, 9, strings.Repeat("x", most)), strings.Repeat("x", most)},
		{"as long, not compressed", peerDeflate(t, 0, strings.Repeat("x", most)), strings.Repeat("x", most)},
		{"as long, codes only", peerDeflate(t, flate.HuffmanOnly, strings.Repeat("xy", most/2)), strings.Repeat("xy", most/2)},
	} {
		var z Inflater
		for range 2 {
			if got, err := inflate(&z, Text, c.payload, most); err != nil || got != c.want {
				t.Errorf("%s: %.40q, %v", c.name, got, err)
			}
		}
	}
}

func TestInflateRefuses(t *testing.T) {
	const most = 1000
	long := peerDeflate(t, 6, random(700))
	repeated := peerDeflate(t, 6, random(100), strings.Repeat(random(100), 2))
	for _, c := range []struct {
		name, payload string
		want          *CloseError
	}{
		{"one byte over the limit", peerDeflate(t, 9, strings.Repeat("x", most+1)), errTooBig},
		{"a bomb", peerDeflate(t, 9, strings.Repeat("\x00", 10<<20)), errTooBig},
		{"a block of the reserved type", "\x07", errDeflate},
		{"not a byte: even an empty message has one", "", errDeflate},
		{"garbage", "\xff\xfe\xfd", errDeflate},
		{"a stored block with a wrong check", "\x00\x05\x00\xfa\xfeHello\x00", errDeflate},
		{"cut short", long[:len(long)/2], errDeflate},
		{"cut short by a byte", repeated[:len(repeated)-2], errDeflate},
		{"a look back before the beginning", "\x02\x13\x00\x00", errDeflate},
		{"the look back of a context that was taken over", strings.TrimPrefix(repeated, peerDeflate(t, 6, random(100))+"\x00\x00\xff\xff"), errDeflate},
		{"text that is none", peerDeflate(t, 6, "Hell\xff"), errText},
		{"half a character", peerDeflate(t, 6, "Hell\xce"), errText},
	} {
		var z Inflater
		// Earlier messages must neither help nor hurt.
		if got, err := inflate(&z, Binary, peerDeflate(t, 6, random(500)), most); err != nil || got != random(500) {
			t.Fatal(err)
		}
		for range 2 {
			if got, err := inflate(&z, Text, c.payload, most); err != c.want {
				t.Errorf("%s: %.40q, %v", c.name, got, err)
			}
		}
		if cap(z.out) > 2*most {
			t.Errorf("%s: %d bytes are kept", c.name, cap(z.out))
		}
	}
}

func TestDeflate(t *testing.T) {
	var z Deflater
	for _, size := range []int{0, 1, 20, 125, 126, 512, 1000, 40_000, 70_000, 1 << 20} {
		for name, message := range map[string]string{
			"zeros": strings.Repeat("0", size), "random": random(size),
			"objects": strings.Repeat(`{"id":1234,"name":"somebody"},`, size/30+1)[:size],
		} {
			plain := AppendFrame(nil, Text, []byte(message))
			got, ok := z.Deflate(plain)
			if !ok {
				if name != "random" && size > 100 {
					t.Errorf("%d bytes of %s do not get shorter", size, name)
				}
				continue
			}
			h, n, err := decodeHeader(got)
			if err != nil || h.Rsv != rsv1 || !h.Fin || Op(h.OpCode) != Text || h.Masked || int(h.Length) != len(got)-n {
				t.Fatalf("%d bytes of %s: header %+v, %v", size, name, h, err)
			}
			if back, err := peerInflate(string(got[n:]), size); err != nil || string(back) != message || len(got) >= len(plain) {
				t.Errorf("%d bytes of %s became %d, %v", size, name, len(got), err)
			}
		}
	}
}

// FuzzInflate: whatever comes is taken, refused as too long or refused as
// malformed, as by the standard library.
func FuzzInflate(f *testing.F) {
	f.Add([]byte("\xf2\x48\xcd\xc9\xc9\x07\x00"), true)
	f.Add([]byte("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), false)
	f.Add([]byte(peerDeflate(f, 9, strings.Repeat("x", 5000))), true)
	f.Add([]byte(peerDeflate(f, 6, random(300), "κόσμε")), false)
	f.Add(bytes.Repeat([]byte("\x00\x00\x00\xff\xff"), 50), true)
	f.Add(bytes.Repeat([]byte("\x03\x00"), 50), true)
	var z Inflater
	f.Fuzz(func(t *testing.T, payload []byte, text bool) {
		const most = 2000
		op := Binary
		if text {
			op = Text
		}
		got, err := inflate(&z, op, string(payload), most)
		want, wrong := peerInflate(string(payload), most)
		switch {
		case errors.Is(wrong, errTooBig):
			if err != errTooBig {
				t.Fatalf("want too big, got %v", err)
			}
		case wrong != nil:
			if err != errDeflate {
				t.Fatalf("want %v, got %v", wrong, err)
			}
		case text && !utf8.Valid(want):
			if err != errText {
				t.Fatalf("want no text, got %v", err)
			}
		case err != nil || got != string(want):
			t.Fatalf("want %q, got %q, %v", want, got, err)
		}
	})
}

// FuzzDeflate: what is compressed is shorter and comes back.
func FuzzDeflate(f *testing.F) {
	f.Add([]byte("Hello"), uint8(1))
	f.Add([]byte(random(100)), uint8(9))
	var z Deflater
	f.Fuzz(func(t *testing.T, some []byte, times uint8) {
		message := bytes.Repeat(some, int(times)%40)
		plain := AppendFrame(nil, Binary, message)
		got, ok := z.Deflate(plain)
		if !ok {
			return
		}
		h, n, _ := decodeHeader(got)
		back, err := peerInflate(string(got[n:]), len(message))
		if err != nil || !bytes.Equal(back, message) || len(got) >= len(plain) || int(h.Length) != len(got)-n {
			t.Fatalf("%d bytes became %d and then %d, %v", len(message), len(got), len(back), err)
		}
	})
}

func BenchmarkDeflate(b *testing.B) {
	message := `{"type":"message","id":"1783459872345","log":"inbox","kind":"unicast","time":"2026-05-04T08:30:00.123Z","data":[`
	for i := 0; len(message) < 1<<10; i++ {
		message += `{"sku":"` + random(i%7) + `","name":"Red running shoes","quantity":1,"price":99.95},`
	}
	plain := AppendFrame(nil, Text, []byte(message))
	b.Run("Deflate 1KiB", func(b *testing.B) {
		b.ReportAllocs()
		var z Deflater
		var packed []byte
		for b.Loop() {
			packed, _ = z.Deflate(plain)
		}
		b.ReportMetric(float64(len(packed)), "bytes")
	})
	b.Run("Inflate 1KiB", func(b *testing.B) {
		b.ReportAllocs()
		var z Inflater
		payload := []byte(peerDeflate(b, 6, message))
		for b.Loop() {
			ev := Event{Op: Binary, Payload: payload}
			if err := z.Inflate(&ev, 64<<10); err != nil {
				b.Fatal(err)
			}
		}
	})
}
