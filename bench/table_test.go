package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func filled() (*table, []subject) {
	t := newTable()
	for _, v := range []float64{3, 1, 2} {
		t.add("floor", figures{rowDelivery: v})
		t.add("pushd", figures{rowDelivery: v / 20, rowMemory: 100 * v})
		t.add("peer", figures{rowDelivery: 10 * v, rowMemory: 20000 * v})
	}
	return t, []subject{{name: "floor", start: []string{"floor"}}, {name: "peer", start: []string{"peer"}}, {name: "pushd", start: []string{"pushd"}}}
}

func TestTableShowsMediansAndRatios(t *testing.T) {
	table, subjects := filled()
	lines := strings.Split(table.markdown(subjects), "\n")
	for i, want := range []string{
		"|  | floor | peer | pushd | pushd to floor | pushd to peer |",
		"|---|--:|--:|--:|--:|--:|",
		"| " + rowMemory + " | – | 40.0k (20.0k–60.0k) | 200 (100–300) | – | 0.005 × |",
		"| " + rowConnect + " | – | – | – | – | – |",
		"| " + rowDelivery + " | 2.00 (1.00–3.00) | 20.0 (10.0–30.0) | 0.10 (0.05–0.15) | 0.050 × | 0.005 × |",
	} {
		if lines[i] != want {
			t.Errorf("line %d is\n%s\nwant\n%s", i, lines[i], want)
		}
	}
	table.add("pushd", figures{rowMemory: 400})
	if v, ok := table.median("pushd", rowMemory); !ok || v != 250 {
		t.Errorf("the median of 100 to 400 is %v", v)
	}
}

func TestPlotIsWellFormed(t *testing.T) {
	table, subjects := filled()
	svg := table.plot(subjects)
	bars := 0
	for d := xml.NewDecoder(strings.NewReader(string(svg))); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "rect" {
			bars++
		}
	}
	if bars != 5 { // three of CPU, two of memory
		t.Errorf("%d bars, want 5", bars)
	}
}
