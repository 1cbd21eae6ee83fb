package history_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"pushd.example/internal/history"
)

func TestPosition(t *testing.T) {
	for _, p := range []history.Position{
		{},
		{Marks: []history.PositionMark{{}}},
		{Marks: []history.PositionMark{{Read: 1, Run: 1<<64 - 1, Seq: 3}, {Read: 1 << 46, Run: 5}}},
		{Marks: make([]history.PositionMark, history.MaxPositionMarks)},
	} {
		got, err := history.ParsePosition(p.String())
		if err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("%+v came back as %+v, %v", p, got, err)
		}
	}
	good := history.Position{Marks: []history.PositionMark{{Read: 1, Run: 2, Seq: 3}}}.String()
	for _, s := range []string{
		"x", " ", good[:len(good)-1], good + "A", "B" + good[1:], strings.Repeat("A", 10_000),
		history.Position{Marks: make([]history.PositionMark, history.MaxPositionMarks+1)}.String(),
	} {
		if p, err := history.ParsePosition(s); !errors.Is(err, history.ErrPosition) {
			t.Errorf("%.20q was read as %+v, %v", s, p, err)
		}
	}
}

func FuzzParsePosition(f *testing.F) {
	f.Add("")
	f.Add(history.Position{Marks: []history.PositionMark{{Read: 1, Run: 2, Seq: 3}}}.String())
	f.Fuzz(func(t *testing.T, s string) {
		p, err := history.ParsePosition(s)
		if err != nil {
			return
		}
		again, err := history.ParsePosition(p.String())
		if err != nil || !reflect.DeepEqual(again, p) {
			t.Errorf("%q: %+v came back as %+v, %v", s, p, again, err)
		}
	})
}
