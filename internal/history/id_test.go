package history_test

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pushd.example/internal/history"
)

// after returns the time n milliseconds after the epoch.
func after(n int64) time.Time { return history.Epoch.Add(time.Duration(n) * time.Millisecond) }

func TestFirstIDAt(t *testing.T) {
	for _, c := range []struct {
		at   time.Time
		want history.ID
	}{
		{time.Time{}, 0},
		{after(-1), 0},
		{history.Epoch, 0},
		{history.Epoch.Add(time.Millisecond - 1), 0},
		{after(1), 1 << 12},
		{after(1).Add(time.Millisecond - 1), 1 << 12},
		{after(1).In(time.FixedZone("far", 3600)), 1 << 12},
		{after(1<<41 - 1), history.MaxID - (1<<12 - 1)},
		{after(1 << 41), history.MaxID},
		{time.Unix(math.MaxInt64/2, 0), history.MaxID},
	} {
		if got := history.FirstIDAt(c.at); got != c.want {
			t.Errorf("FirstIDAt(%v) = %d, want %d", c.at, got, c.want)
		}
	}
}

func TestIDsLastUntil2093(t *testing.T) {
	if y := history.MaxID.Time().Year(); y != 2093 {
		t.Errorf("the last id is of %d", y)
	}
}

func TestIDTimeIsFirstIDAtBackwards(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ms := rapid.Int64Range(0, 1<<41-1).Draw(t, "ms")
		within := time.Duration(rapid.Int64Range(0, int64(time.Millisecond)-1).Draw(t, "within"))
		id := history.FirstIDAt(after(ms).Add(within))
		if !id.Time().Equal(after(ms)) || id.Time().Location() != time.UTC {
			t.Errorf("id %d given at %v says %v", id, after(ms), id.Time())
		}
		last := id + 1<<12 - 1 // the last of this millisecond
		if !last.Time().Equal(after(ms)) {
			t.Errorf("id %d of %v says %v", last, after(ms), last.Time())
		}
	})
}

func TestParseID(t *testing.T) {
	for s, want := range map[string]history.ID{
		"0": 0, "1": 1, "007": 7, "9007199254740991": history.MaxID,
	} {
		if got, err := history.ParseID(s); got != want || err != nil {
			t.Errorf("ParseID(%q) = %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{
		"", " ", "-1", "+1", "1 ", "1.0", "1e3", "0x10", "1_000", "٣", "9007199254740992",
		"18446744073709551615", "18446744073709551616", strings.Repeat("9", 1000),
	} {
		got, err := history.ParseID(s)
		if !errors.Is(err, history.ErrID) || got != 0 {
			t.Errorf("ParseID(%q) = %d, %v, want ErrID", s, got, err)
		}
		if err != nil && len(err.Error()) > 200 {
			t.Errorf("the error repeats %d bytes of input", len(err.Error()))
		}
	}
}

func FuzzParseID(f *testing.F) {
	for _, s := range []string{"", "0", "42", "9007199254740991", "9007199254740992", "-1", "+1", "1_0", "00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := history.ParseID(s)
		if err != nil {
			if !errors.Is(err, history.ErrID) || id != 0 {
				t.Fatalf("ParseID(%q) = %d, %v", s, id, err)
			}
			return
		}
		if id > history.MaxID || strings.TrimLeft(s, "0") != strings.TrimLeft(id.String(), "0") {
			t.Fatalf("ParseID(%q) = %d", s, id)
		}
		// A JavaScript client must not change an id.
		asDouble, _ := strconv.ParseFloat(id.String(), 64)
		if again, err := history.ParseID(strconv.FormatFloat(asDouble, 'f', 0, 64)); again != id || err != nil {
			t.Fatalf("as a double %d is %d, %v", id, again, err)
		}
	})
}
