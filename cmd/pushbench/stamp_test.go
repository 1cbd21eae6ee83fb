//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestStampComesBackFromAnyWrapping(t *testing.T) {
	stamps := []stamp{
		{run: 0, seq: 0, due: 0},
		{run: maxRun, seq: maxSeq, due: (1<<48 - 1) * 1000},
		{run: 0x123456, seq: 77, due: 86_400_000_001_000},
	}
	for _, want := range stamps {
		for _, size := range []int{minData, minData + 1, 100, 5000} {
			data := newData(size, nil)
			want.put(data)
			if len(data) != size {
				t.Fatalf("data has %d bytes, want %d", len(data), size)
			}
			wrapped, err := json.Marshal(map[string]any{"type": "message", "data": json.RawMessage(data)})
			if err != nil {
				t.Fatalf("data is not JSON: %v: %s", err, data)
			}
			got, rest, ok := nextStamp(append([]byte("~pb~"), wrapped...))
			if !ok || got != want {
				t.Fatalf("got %+v (%v), want %+v", got, ok, want)
			}
			if _, _, ok := nextStamp(rest); ok {
				t.Fatal("one stamp was found twice")
			}
		}
	}
}

func TestStampsOfSeveralMessagesInOneFrame(t *testing.T) {
	var frame []byte
	for seq := range uint32(5) {
		data := newData(64, nil)
		stamp{run: 9, seq: seq, due: 5000}.put(data)
		frame = append(append(frame, data...), '\n')
	}
	for seq := range uint32(5) {
		s, rest, ok := nextStamp(frame)
		if !ok || s.seq != seq {
			t.Fatalf("stamp %d: got %+v, %v", seq, s, ok)
		}
		frame = rest
	}
}

func TestNoStampInOtherText(t *testing.T) {
	whole := string(stamp{run: 1, seq: 2, due: 3000}.append(nil))
	for _, text := range []string{"", "~pb", "~pb~pb~pb", whole[:len(whole)-1], strings.Replace(whole, "A", "!", 1), "~pb" + strings.Repeat("_", 17)} {
		if s, _, ok := nextStamp([]byte(text)); ok {
			t.Errorf("%q: found %+v", text, s)
		}
	}
}

func FuzzNextStamp(f *testing.F) {
	f.Add([]byte(`{"data":"~pbAAAAAAAAAAAAAAAAA"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, rest, ok := nextStamp(b)
		if ok && !bytes.HasSuffix(b[:len(b)-len(rest)], s.append(nil)) {
			t.Fatalf("%q: found %+v, which reads %q", b, s, s.append(nil))
		}
	})
}

// All processes must tell the same time.
func TestClockIsTheKernelsMonotonicClock(t *testing.T) {
	c, err := newClock()
	if err != nil {
		t.Fatal(err)
	}
	before := c.now()
	out, err := exec.Command("cat", "/proc/uptime").Output()
	if err != nil {
		t.Fatal(err)
	}
	after := c.now()
	// /proc/uptime counts hundredths of a second, time asleep included, which
	// CLOCK_MONOTONIC leaves out: it may only be ahead.
	uptime, err := time.ParseDuration(strings.Fields(string(out))[0] + "s")
	if err != nil {
		t.Fatal(err)
	}
	if before > int64(uptime)+int64(20*time.Millisecond) || after < before {
		t.Errorf("the clock went from %v to %v at an uptime of %v", time.Duration(before), time.Duration(after), uptime)
	}
	other, err := newClock()
	if err != nil {
		t.Fatal(err)
	}
	if d := other.now() - c.now(); d > int64(time.Millisecond) || d < -int64(time.Millisecond) {
		t.Errorf("two clocks differ by %v", time.Duration(d))
	}
}

func BenchmarkNextStamp(b *testing.B) {
	data := newData(26, nil)
	stamp{run: 1, seq: 2, due: 3000}.put(data)
	frame := []byte(`{"type":"message","id":"4503599627370496","log":"broadcast","kind":"broadcast","time":"2026-05-04T08:30:00.123Z","data":` + string(data) + `}`)
	b.ReportAllocs()
	for range b.N {
		if _, _, ok := nextStamp(frame); !ok {
			b.Fatal("no stamp")
		}
	}
}
