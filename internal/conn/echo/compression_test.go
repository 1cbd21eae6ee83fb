package main

import (
	"bytes"
	"compress/flate"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
)

// compressedTimes is how many messages a case of groups 12 and 13 sends; from 8
// KiB on it is a fifth of that. The suite sends 1,000, whatever their size:
//
//	go test ./internal/conn/echo -run Conformance/1[23] -compressed 5000
var compressedTimes = flag.Int("compressed", 5, "how many messages a case of compression sends")

// compressedSizes are the lengths of messages, and into how long frames what
// they are compressed to is cut; 0 is one frame.
var compressedSizes = []struct{ size, frame int }{
	{16, 0}, {64, 0}, {256, 0}, {1024, 0}, {4096, 0}, {8192, 0}, {16384, 0}, {32768, 0}, {65536, 0}, {131072, 0},
	{8192, 256}, {16384, 256}, {32768, 256}, {65536, 256}, {131072, 256}, {131072, 1024}, {131072, 4096}, {131072, 32768},
}

// answered with it, an offer is agreed to.
const agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

// suiteOffer is what the suite offers, beside what it asks of the server.
const suiteOffer = "permessage-deflate; client_no_context_takeover; client_max_window_bits"

// compression is group 12: messages of many kinds and lengths. The suite's own
// texts and pictures are not here; others of the same kinds are.
func compression() (cases []autobahn) {
	for i, kind := range []struct {
		about string
		op    byte
		data  string
	}{
		{"JSON", opText, jsonData()}, {"a picture without compression", opBinary, pictureData()}, {"prose", opBinary, proseData()},
		{"HTML", opText, htmlData()}, {"a document that is compressed within", opBinary, documentData()},
	} {
		cases = append(cases, sizes(fmt.Sprintf("12.%d.", i+1), kind.about, suiteOffer, agreed, 15, kind.op, kind.data)...)
	}
	return cases
}

// offers is group 13: what may be asked of the server.
func offers() (cases []autobahn) {
	data := jsonData()
	const noContext = "; server_no_context_takeover"
	for i, row := range []struct {
		offer, answer string
		window        int
	}{
		{suiteOffer, agreed, 15},
		{suiteOffer + noContext, agreed, 15},
		{suiteOffer + "; server_max_window_bits=8", agreed + "; server_max_window_bits=8", 8},
		{suiteOffer + "; server_max_window_bits=15", agreed + "; server_max_window_bits=15", 15},
		{suiteOffer + noContext + "; server_max_window_bits=8", agreed + "; server_max_window_bits=8", 8},
		{suiteOffer + noContext + "; server_max_window_bits=15", agreed + "; server_max_window_bits=15", 15},
		{suiteOffer + noContext + "; server_max_window_bits=8, " + suiteOffer + noContext + ", " + suiteOffer, agreed + "; server_max_window_bits=8", 8},
	} {
		cases = append(cases, sizes(fmt.Sprintf("13.%d.", i+1), "offering "+row.offer, row.offer, row.answer, row.window, opText, data)...)
	}
	return cases
}

// sizes makes the cases of one kind of message and one offer.
func sizes(prefix, about, offer, answer string, window int, op byte, data string) (cases []autobahn) {
	for i, row := range compressedSizes {
		times := max(1, *compressedTimes)
		if row.size >= 8192 {
			times = max(1, times/5)
		}
		c := autobahn{
			name:  fmt.Sprint(prefix, i+1),
			about: fmt.Sprintf("%s: %d messages of %d bytes, in frames of %d", about, times, row.size, row.frame),
			offer: offer, answer: answer, window: window,
		}
		for k := range times {
			at := k * row.size % (len(data) - row.size)
			f := frame{op: op, payload: data[at : at+row.size]}
			c.talk = append(c.talk, say(packed(f, row.frame), f))
		}
		cases = append(cases, c)
	}
	return cases
}

// packed sends f compressed, cut into frames of so many bytes; 0: in one.
func packed(f frame, size int) pieces {
	return func(yield func([]byte) bool) {
		b := deflated(f.payload)
		if size == 0 {
			size = len(b)
		}
		frames := split(f.op, cut(b, size)...)
		frames[0].rsv = rsv1
		yield(encode(frames...))
	}
}

// rsv1 marks a compressed message (RFC 7692, section 6).
const rsv1 = 4

// emptyBlock is not on the wire (RFC 7692, section 7.2.1).
const emptyBlock = "\x00\x00\xff\xff"

// deflated compresses a message, of which the parts are flushed one by one.
func deflated(parts ...string) string {
	var b bytes.Buffer
	w := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	w.Reset(&b)
	for _, p := range parts {
		io.WriteString(w, p)
		w.Flush()
	}
	return strings.TrimSuffix(b.String(), emptyBlock)
}

// deflaters are used again: each has a megabyte.
var deflaters = sync.Pool{New: func() any {
	w, err := flate.NewWriter(nil, flate.BestSpeed)
	if err != nil {
		panic(err)
	}
	return w
}}

// inflated undoes it.
func inflated(payload string) (string, error) {
	b, err := io.ReadAll(flate.NewReader(strings.NewReader(payload + emptyBlock + "\x01" + emptyBlock)))
	return string(b), err
}

// Data of the suite's kinds and about as much of each, the same every time.

const dataSize = 256 << 10

func generate(each func(b *strings.Builder, r *rand.Rand)) string {
	r := rand.New(rand.NewPCG(12, 13))
	var b strings.Builder
	for b.Len() < dataSize {
		each(&b, r)
	}
	return b.String()
}

var words = strings.Fields("der die und in den von zu das mit sich des auf nicht ein dem als auch es an werden aus er hat dass sie nach bei um am sind noch wie einem einen so zum war haben nur oder aber vor zur bis mehr durch man sein wurde Geist Teufel Zauber Natur Himmel Erde Wissenschaft Studium Wein Pudel Nacht Feuer")

func jsonData() string {
	return generate(func(b *strings.Builder, r *rand.Rand) {
		fmt.Fprintf(b, `{"id":%d,"name":"%s %s","balance":%.2f,"active":%v,"tags":["%s","%s"]},`,
			r.IntN(1e9), words[r.IntN(len(words))], words[r.IntN(len(words))], r.Float64()*1e4, r.IntN(2) == 0, words[r.IntN(len(words))], words[r.IntN(len(words))])
	})
}

func pictureData() string {
	x := 0
	return generate(func(b *strings.Builder, r *rand.Rand) {
		b.WriteByte(byte(x>>4 + x>>13 + r.IntN(8)))
		x++
	})
}

func proseData() string {
	return generate(func(b *strings.Builder, r *rand.Rand) {
		b.WriteString(words[int(float64(len(words))*r.Float64()*r.Float64())])
		b.WriteByte(" ,\n"[max(0, r.IntN(14)-11)])
	})
}

func htmlData() string {
	return generate(func(b *strings.Builder, r *rand.Rand) {
		fmt.Fprintf(b, `<tr class="row%d"><td><a href="/item/%d">%s</a></td><td align="right">%d</td></tr>`+"\n",
			r.IntN(2), r.IntN(1e6), words[r.IntN(len(words))], r.IntN(1e4))
	})
}

func documentData() string {
	return generate(func(b *strings.Builder, r *rand.Rand) {
		fmt.Fprintf(b, "%d 0 obj\n<< /Length 2048 /Filter /FlateDecode >>\nstream\n", r.IntN(1000))
		for range 2048 / 8 {
			x := r.Uint64()
			b.WriteString(string([]byte{byte(x), byte(x >> 8), byte(x >> 16), byte(x >> 24), byte(x >> 32), byte(x >> 40), byte(x >> 48), byte(x >> 56)}))
		}
		b.WriteString("\nendstream\nendobj\n")
	})
}
