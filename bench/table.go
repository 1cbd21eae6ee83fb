package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Rows of the table; more is better in those that end with /s.
const (
	rowMemory     = "memory of an idle connection (RSS), B"
	rowConnect    = "server CPU of a connect, µs"
	rowDelivery   = "broadcast, one at a time: server CPU a delivery, µs"
	rowDeliveries = "broadcast, one at a time: deliveries/s"
	rowHalf       = "broadcast, one at a time: half have it after, ms"
	rowLast       = "broadcast, one at a time: 99 % have it after, ms"
	rowQueuedCPU  = "broadcasts, 8 under way: server CPU a delivery, µs"
	rowQueued     = "broadcasts, 8 under way: deliveries/s"
	rowUnicastCPU = "unicast, 32 callers over HTTP: server CPU a message, µs"
	rowUnicasts   = "unicast, 32 callers over HTTP: messages/s"
	rowUnicastP99 = "unicast, 32 callers over HTTP: p99 until received, ms"
)

var rows = []string{rowMemory, rowConnect, rowDelivery, rowDeliveries, rowHalf, rowLast, rowQueuedCPU, rowQueued, rowUnicastCPU, rowUnicasts, rowUnicastP99}

// table holds what was measured, by server.
type table struct {
	Rounds map[string][]figures `json:"rounds"`
}

func newTable() *table { return &table{map[string][]figures{}} }

func (t *table) add(name string, f figures) { t.Rounds[name] = append(t.Rounds[name], f) }

func (t *table) save(path string) error {
	if path == "" {
		return nil
	}
	text, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// of returns the values of one row, sorted; none if it was not measured.
func (t *table) of(name, row string) []float64 {
	var all []float64
	for _, f := range t.Rounds[name] {
		if v, ok := f[row]; ok {
			all = append(all, v)
		}
	}
	slices.Sort(all)
	return all
}

// median of what was measured, and whether there is any.
func (t *table) median(name, row string) (v float64, ok bool) {
	all := t.of(name, row)
	if len(all) == 0 {
		return 0, false
	}
	n := len(all)
	return (all[(n-1)/2] + all[n/2]) / 2, true
}

func (t *table) cell(name, row string) string {
	v, ok := t.median(name, row)
	if !ok {
		return "–"
	}
	all := t.of(name, row)
	if len(all) == 1 {
		return short(v)
	}
	return fmt.Sprintf("%s (%s–%s)", short(v), short(all[0]), short(all[len(all)-1]))
}

// ratio is how one server's figure relates to another's.
// There is none if one of them is not above zero, as a slope of memory may be.
func (t *table) ratio(name, to, row string) string {
	a, ok1 := t.median(name, row)
	b, ok2 := t.median(to, row)
	if !ok1 || !ok2 || a <= 0 || b <= 0 {
		return "–"
	}
	if a/b < 0.1 {
		return fmt.Sprintf("%.3f ×", a/b)
	}
	return fmt.Sprintf("%.2f ×", a/b)
}

// cells is the table as text: a head and the rows. Behind the figures come the
// ratios of every pushd to the servers that are not.
func (t *table) cells(subjects []subject) [][]string {
	head := []string{""}
	var others, pushds []subject
	for _, s := range subjects {
		head = append(head, s.name)
		if s.start[0] == "pushd" {
			pushds = append(pushds, s)
		} else {
			others = append(others, s)
		}
	}
	for _, p := range pushds {
		for _, o := range others {
			head = append(head, p.name+" to "+o.name)
		}
	}
	all := [][]string{head}
	for _, row := range rows {
		line := []string{row}
		for _, s := range subjects {
			line = append(line, t.cell(s.name, row))
		}
		for _, p := range pushds {
			for _, o := range others {
				line = append(line, t.ratio(p.name, o.name, row))
			}
		}
		all = append(all, line)
	}
	return all
}

func (t *table) text(subjects []subject) string {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, line := range t.cells(subjects) {
		fmt.Fprintln(w, strings.Join(line, "\t"))
	}
	w.Flush()
	return b.String()
}

func (t *table) markdown(subjects []subject) string {
	var b strings.Builder
	for i, line := range t.cells(subjects) {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(line, " | "))
		if i == 0 {
			b.WriteString("|---" + strings.Repeat("|--:", len(line)-1) + "|\n")
		}
	}
	return b.String()
}

func short(v float64) string {
	switch {
	case v >= 10000 || v <= -10000:
		return fmt.Sprintf("%.1fk", v/1000)
	case v >= 100 || v <= -100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10 || v <= -10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// describe says what the figures depend on.
func describe(ctx context.Context, s settings) (string, error) {
	out := func(name string, args ...string) (string, error) {
		b, err := exec.CommandContext(ctx, name, args...).Output()
		return strings.TrimSpace(string(b)), err
	}
	peer, err := out("go", "list", "-m", "-f", "{{.Version}}", "github.com/centrifugal/centrifuge")
	if err != nil {
		return "", err
	}
	kernel, err := out("uname", "-sr")
	if err != nil {
		return "", err
	}
	commit, err := out("git", "describe", "--always", "--dirty")
	if err != nil {
		commit = "unknown" // not a clone
	}
	rounds := fmt.Sprintf("Medians (least–most) of %d rounds", s.rounds)
	if s.rounds == 1 {
		rounds = "One round"
	}
	text := fmt.Sprintf("%s on %s: %s connections, frames of %d bytes, pushbench beside the server on the same %d cores (%s), %s, %s. pushd %s, centrifuge %s.",
		rounds, time.Now().UTC().Format(time.DateOnly), short(float64(s.conns)), s.frame, runtime.NumCPU(), cpu(), kernel, runtime.Version(), commit, peer)
	for _, v := range s.variants {
		if v.flags != "" {
			text += fmt.Sprintf(" %s is `pushd %s`.", v.name, v.flags)
		}
	}
	return text, nil
}

func cpu() string {
	text, _ := os.ReadFile("/proc/cpuinfo") // a name only, which not every machine has
	for line := range strings.Lines(string(text)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
