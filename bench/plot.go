package main

import (
	"bytes"
	"fmt"
	"html"
)

// plotted are the rows that the plot shows.
var plotted = []string{rowMemory, rowConnect, rowDelivery, rowDeliveries, rowUnicastCPU}

// plot draws a group of bars for each row as SVG, each group to its own scale.
// Colours are legible on light and dark grounds.
func (t *table) plot(subjects []subject) []byte {
	const (
		left, width, bar, gap, title = 110, 460, 18, 6, 34
		total                        = left + width + 110
	)
	colours := map[string]string{"floor": "#8a8f98", "peer": "#c98a2b", "pushd": "#2b7fc9"}
	var b bytes.Buffer
	y := 0
	for _, row := range plotted {
		most := 0.0
		for _, s := range subjects {
			v, _ := t.median(s.name, row)
			most = max(most, v)
		}
		if most <= 0 {
			continue
		}
		fmt.Fprintf(&b, `<text x="0" y="%d" font-weight="bold">%s</text>`+"\n", y+22, html.EscapeString(row))
		y += title
		for _, s := range subjects {
			v, ok := t.median(s.name, row)
			if !ok {
				continue
			}
			long := max(1, int(width*v/most))
			fmt.Fprintf(&b, `<text x="0" y="%d">%s</text><rect x="%d" y="%d" width="%d" height="%d" fill="%s"/><text x="%d" y="%d">%s</text>`+"\n",
				y+14, html.EscapeString(s.name), left, y, long, bar, colours[s.start[0]], left+long+8, y+14, short(v))
			y += bar + gap
		}
		y += gap
	}
	return fmt.Appendf(nil, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" font-family="sans-serif" font-size="13" fill="#5f6b7a">`+"\n%s</svg>\n",
		total, y+gap, total, b.Bytes())
}
