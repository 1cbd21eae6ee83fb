package conn_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// Set PUSHD_UPDATE_DOCS=1 to have the test write the table instead.
func TestDocsListEveryMetric(t *testing.T) {
	const path, begin, end = "../../docs/operating.md", "<!-- metrics: begin -->\n", "<!-- metrics: end -->"
	want := metricsTable(t, serve(t, nil).metrics)
	doc, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok1 := strings.Cut(string(doc), begin)
	was, tail, ok2 := strings.Cut(rest, end)
	switch {
	case !ok1 || !ok2:
		t.Fatalf("%s lacks the marks %q and %q", path, begin, end)
	case was == want:
		return
	case os.Getenv("PUSHD_UPDATE_DOCS") != "":
		if err := os.WriteFile(path, []byte(head+begin+want+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Errorf("%s does not list the metrics as they are; PUSHD_UPDATE_DOCS=1 go test -run %s ./internal/conn mends it", path, t.Name())
}

// metricsTable describes all metrics, and names the values of their labels, all
// of which are there from the start. Which flusher there is depends on the
// machine.
func metricsTable(t *testing.T, metrics prometheus.Gatherer) string {
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	table := "| metric | | values | what |\n|---|---|---|---|\n"
	for _, f := range families {
		label, values := "", ""
		for _, m := range f.Metric {
			for _, l := range m.Label {
				label, values = "{"+l.GetName()+"}", values+", "+l.GetValue()
			}
		}
		if label == "{flusher}" {
			values = "goroutines, io_uring, sendto"
		}
		table += fmt.Sprintf("| `%s%s` | %s | %s | %s |\n",
			f.GetName(), label, strings.ToLower(f.GetType().String()), strings.TrimPrefix(values, ", "), f.GetHelp())
	}
	return table
}
