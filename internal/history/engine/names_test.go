package engine_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"pushd.example/internal/history"
	"pushd.example/internal/history/engine"
)

func list(names []string) (list []byte) {
	last := ""
	for _, name := range names {
		list = engine.AppendName(list, last, name)
		last = name
	}
	return list
}

func TestNames(t *testing.T) {
	name := rapid.OneOf(rapid.StringOfN(rapid.RuneFrom([]rune("ab")), 0, 5, -1), rapid.StringN(0, history.MaxUser, history.MaxUser))
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfN(name, 0, 20).Draw(t, "names")
		skip, most := rapid.IntRange(0, 25).Draw(t, "skip"), rapid.IntRange(0, 25).Draw(t, "most")
		from := min(skip, len(names))
		want := names[from:min(from+most, len(names))]
		got, ok := engine.ParseNames(list(names), skip, most)
		if !ok || !slices.Equal(got, want) {
			t.Fatalf("%q, %d of them after %d: %q, %v", names, most, skip, got, ok)
		}
	})
}

// TestNamesAreShort fixes the encoding, which lies on disks.
func TestNamesAreShort(t *testing.T) {
	if got, want := list([]string{"user-10", "user-11", "bob"}), "\x00\x07user-10\x06\x011\x00\x03bob"; string(got) != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func FuzzParseNames(f *testing.F) {
	f.Add(list([]string{"ann", "anna", "bob"}))
	f.Add([]byte{1, 0})
	f.Add([]byte{0, 5, 'a'})
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, b []byte) {
		names, ok := engine.ParseNames(b, 0, len(b))
		if !ok {
			return
		}
		again, ok := engine.ParseNames(list(names), 0, len(b))
		if !ok || !slices.Equal(again, names) {
			t.Errorf("%q are read as %q, and again as %q, %v", b, names, again, ok)
		}
	})
}
