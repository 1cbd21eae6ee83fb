package watch_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"pushd.example/internal/history/watch"
)

func TestPosition(t *testing.T) {
	for _, p := range []watch.Position{
		{},
		{Marks: []watch.Mark{{}}},
		{Marks: []watch.Mark{{Read: 1, Run: 1<<64 - 1, Seq: 3}, {Read: 1 << 46, Run: 5}}},
		{Marks: make([]watch.Mark, watch.MaxMarks)},
	} {
		got, err := watch.ParsePosition(p.String())
		if err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("%+v came back as %+v, %v", p, got, err)
		}
	}
	good := watch.Position{Marks: []watch.Mark{{Read: 1, Run: 2, Seq: 3}}}.String()
	for _, s := range []string{
		"x", " ", good[:len(good)-1], good + "A", "B" + good[1:], strings.Repeat("A", 10_000),
		watch.Position{Marks: make([]watch.Mark, watch.MaxMarks+1)}.String(),
	} {
		if p, err := watch.ParsePosition(s); !errors.Is(err, watch.ErrPosition) {
			t.Errorf("%.20q was read as %+v, %v", s, p, err)
		}
	}
}

func FuzzParsePosition(f *testing.F) {
	f.Add("")
	f.Add(watch.Position{Marks: []watch.Mark{{Read: 1, Run: 2, Seq: 3}}}.String())
	f.Fuzz(func(t *testing.T, s string) {
		p, err := watch.ParsePosition(s)
		if err != nil {
			return
		}
		again, err := watch.ParsePosition(p.String())
		if err != nil || !reflect.DeepEqual(again, p) {
			t.Errorf("%q: %+v came back as %+v, %v", s, p, again, err)
		}
	})
}
