package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"pushd.example/internal/conn/echo/handler"
	"pushd.example/internal/conn/reactor"
	"pushd.example/internal/testkit"
)

// Any stream of valid frames is heard the same whatever it is cut into, and
// answered as the rules of RFC 6455 say, which are written down in stream.
func TestStreamsInPieces(t *testing.T) {
	r := serve(t, reactor.Config{Handler: handler.New, Limits: reactor.Limits{MessageRate: -1, ClientBacklogBytes: 1 << 20, ClientBacklogFrames: 1 << 10}})
	rapid.Check(t, func(rt *rapid.T) {
		said, want := stream(rt)
		cuts := rapid.SliceOfN(rapid.IntRange(1, len(said)), 0, 40).Draw(rt, "cuts")
		for _, how := range []struct {
			name string
			cuts []int
		}{{"whole", nil}, {"cut", cuts}} {
			if err := converse(dial(t, r.Addr()), said, how.cuts, want); err != nil {
				rt.Fatalf("%s: %v", how.name, err)
			}
		}
	})
	testkit.WaitFor(t, "the buffers to be given back", func() bool { return r.Stats().InputBytes == 0 })
}

// converse sends said, cut at these places, and reports how the answers differ
// from want.
func converse(c *wire, said []byte, cuts []int, want []frame) error {
	var sending sync.WaitGroup
	defer sending.Wait()
	defer c.conn.Close()
	sending.Go(func() {
		from := 0
		for _, to := range slices.Sorted(slices.Values(append(cuts, len(said)))) {
			if _, err := c.conn.Write(said[from:to]); err != nil {
				return // the answers show it
			}
			from = to
		}
	})
	for i, w := range want {
		if f, err := readFrame(c.in); err != nil || f != w {
			return fmt.Errorf("frame %d of %d: want %v, got %v, %v", i, len(want), w, f, err)
		}
	}
	if rest, err := io.ReadAll(c.in); err != nil || len(rest) > 0 {
		return fmt.Errorf("want the end of the stream, got %.40q, %v", rest, err)
	}
	return nil
}

// stream draws what a client says, up to its Close, and what it must hear.
func stream(t *rapid.T) (said []byte, hear []frame) {
	for range rapid.IntRange(0, 8).Draw(t, "messages") {
		op := rapid.SampledFrom([]byte{opText, opBinary}).Draw(t, "opcode")
		payload := drawPayload(t, op)
		frames := split(op, drawParts(t, payload)...)
		for i, f := range frames {
			said = f.append(said)
			if i < len(frames)-1 {
				said, hear = drawControl(t, said, hear)
			}
		}
		hear = append(hear, frame{op: op, payload: payload})
		said, hear = drawControl(t, said, hear)
	}
	end := bye(rapid.SampledFrom([]uint16{0, 1000, 1001, 3000, 4999}).Draw(t, "code"), "")
	said = end.append(said)
	if rapid.Bool().Draw(t, "after Close") {
		said = text("too late").append(said)
	}
	return said, append(hear, end)
}

func drawPayload(t *rapid.T, op byte) string {
	// Lengths about which headers and buffers change, and any.
	size := rapid.OneOf(rapid.SampledFrom([]int{0, 1, 125, 126, 127, 255, 256, 1023, 1025, 4096, 16<<10 + 1, 65535, 65536}), rapid.IntRange(0, 600)).Draw(t, "size")
	if op == opBinary {
		return strings.Repeat(string(rapid.SliceOfN(rapid.Byte(), 7, 7).Draw(t, "bytes")), size/7+1)[:size]
	}
	letter := rapid.SampledFrom([]string{"a", "µ", "€", "𝄞"}).Draw(t, "letter")
	return strings.Repeat(letter, size/len(letter))
}

// drawParts cuts a payload into fragments, anywhere.
func drawParts(t *rapid.T, payload string) (parts []string) {
	cuts := rapid.SliceOfN(rapid.IntRange(0, len(payload)), 0, 10).Draw(t, "fragments")
	from := 0
	for _, to := range slices.Sorted(slices.Values(cuts)) {
		parts = append(parts, payload[from:to])
		from = to
	}
	return append(parts, payload[from:])
}

// drawControl adds a ping or a pong, or neither.
func drawControl(t *rapid.T, said []byte, hear []frame) ([]byte, []frame) {
	payload := string(rapid.SliceOfN(rapid.Byte(), 0, 125).Draw(t, "control"))
	switch rapid.IntRange(0, 3).Draw(t, "kind") {
	case 0:
		return ping(payload).append(said), append(hear, pong(payload))
	case 1:
		return pong(payload).append(said), hear
	}
	return said, hear
}
