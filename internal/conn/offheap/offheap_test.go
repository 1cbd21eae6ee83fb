package offheap

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

type entry struct {
	a uint64
	_ [3]uint16
}

func TestTable(t *testing.T) {
	const n = 1 << 20
	table, err := NewTable[entry](n)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []uint32{0, 1, 4095, n - 1} {
		if *table.At(i) != (entry{}) {
			t.Errorf("entry %d is not zero", i)
		}
		table.At(i).a = uint64(i) + 1
	}
	for _, i := range []uint32{0, 1, 4095, n - 1} {
		if table.At(i).a != uint64(i)+1 {
			t.Errorf("entry %d was lost", i)
		}
	}
	if table.Len() != n {
		t.Errorf("length %d", table.Len())
	}
	if err := table.Close(); err != nil {
		t.Error(err)
	}
}

func TestTableRefusesPointers(t *testing.T) {
	type pointed struct {
		_ int
		_ [2]struct{ p *int }
	}
	if _, err := NewTable[pointed](1); err == nil || !strings.Contains(err.Error(), "pointers") {
		t.Errorf("a pointer: %v", err)
	}
	if _, err := NewTable[string](1); err == nil {
		t.Error("a string was let in")
	}
	if _, err := NewTable[[0]*int](1); err != nil {
		t.Errorf("no pointer: %v", err)
	}
}

func TestArenaModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a Arena
		model := map[Ref]string{}
		var refs []Ref
		for range rapid.IntRange(1, 300).Draw(t, "operations") {
			if len(refs) > 0 && rapid.Bool().Draw(t, "free") {
				i := rapid.IntRange(0, len(refs)-1).Draw(t, "which")
				r := refs[i]
				a.Free(r, len(model[r]))
				delete(model, r)
				refs = slices.Delete(refs, i, i+1)
				continue
			}
			s := strings.Repeat(string(rune('a'+rapid.IntRange(0, 25).Draw(t, "letter"))), rapid.IntRange(1, MaxString).Draw(t, "length"))
			r := a.Put(s)
			if _, taken := model[r]; taken {
				t.Fatalf("piece %d was given twice", r)
			}
			model[r] = s
			refs = append(refs, r)
			for r, want := range model {
				if got := a.Get(r, len(want)); !bytes.Equal(got, []byte(want)) {
					t.Fatalf("piece %d holds %q, want %q", r, got, want)
				}
			}
		}
	})
}

// Freed memory is used again: the arena does not grow while as much goes as
// comes.
func TestArenaDoesNotGrow(t *testing.T) {
	var a Arena
	var refs []Ref
	for range 3000 {
		refs = append(refs, a.Put(strings.Repeat("x", 60)))
	}
	chunks := len(a.chunks)
	for range 20 {
		for _, r := range refs {
			a.Free(r, 60)
		}
		for i := range refs {
			refs[i] = a.Put(strings.Repeat("y", 57+i%8))
		}
	}
	if len(a.chunks) != chunks {
		t.Errorf("from %d to %d chunks", chunks, len(a.chunks))
	}
}
