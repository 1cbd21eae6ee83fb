//go:build !race

package proto

import (
	"strings"
	"testing"
)

// TestDeflateAllocations: nothing is allocated for a message in either
// direction, once the tables are there.
func TestDeflateAllocations(t *testing.T) {
	var z Deflater
	var y Inflater
	plain := AppendFrame(nil, Text, []byte(strings.Repeat(`{"id":1234,"name":"somebody"},`, 30)))
	payload := []byte(peerDeflate(t, 6, string(plain[4:])))
	for name, f := range map[string]func(){
		"Deflate": func() { z.Deflate(plain) },
		"Inflate": func() {
			ev := Event{Op: Text, Payload: payload}
			if err := y.Inflate(&ev, 64<<10); err != nil {
				t.Fatal(err)
			}
		},
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
