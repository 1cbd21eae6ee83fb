// Command bench runs pushd, the floor (see floor/) and a peer (see peer/) in
// turn on this machine, several times over, measures each with pushbench, and
// prints the medians side by side with their ratios. Ratios of one run can be
// trusted where absolute figures of a shared machine cannot.
//
//	go run -C bench .            the table on standard output
//	go run -C bench . -write     and in docs/performance.md, with a plot
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// settings are the flags.
type settings struct {
	conns    int
	first    int
	frame    int
	messages int
	rounds   int
	unicast  time.Duration
	only     string
	variants variants
	write    bool
	json     string
}

// variants are the pushds to run: names, and the flags of each.
type variants []variant

type variant struct{ name, flags string }

func (v *variants) String() string { return "" }

func (v *variants) Set(s string) error {
	name, flags, _ := strings.Cut(s, "=")
	if name == "" {
		return errors.New("want NAME=FLAGS")
	}
	*v = append(*v, variant{name, flags})
	return nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var s settings
	flag.IntVar(&s.conns, "conns", 15000, "connections")
	flag.IntVar(&s.first, "first", 4000, "connections at which memory is read first")
	flag.IntVar(&s.frame, "frame", 150, "bytes of a broadcast's WebSocket frame, header and all (150 to 65539)")
	flag.IntVar(&s.messages, "messages", 40, "broadcasts of a run")
	flag.IntVar(&s.rounds, "rounds", 3, "runs of each server, of which the medians are shown")
	flag.DurationVar(&s.unicast, "unicast", 3*time.Second, "how long to send unicasts")
	flag.StringVar(&s.only, "only", "", "run these servers only, with commas between")
	flag.Var(&s.variants, "pushd", "run pushd under a name with flags, `NAME=FLAGS`; may be repeated (default: pushd=)")
	flag.BoolVar(&s.write, "write", false, "put the table into docs/performance.md and the plot beside it")
	flag.StringVar(&s.json, "json", "", "`file` for every figure of every run")
	flag.Parse()
	if s.frame < 150 || s.frame > 4+65535 || s.first >= s.conns || s.first < 1 || s.rounds < 1 || s.messages < 1 {
		return errors.New("want -frame from 150 to 65539, -first from 1 to below -conns, -rounds and -messages at least 1")
	}
	if len(s.variants) == 0 {
		s.variants = variants{{name: "pushd"}}
	}
	dir, err := os.MkdirTemp("", "pushd-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	return measure(ctx, s, dir)
}

func measure(ctx context.Context, s settings, dir string) error {
	if err := build(ctx, dir); err != nil {
		return err
	}
	b := bench{settings: s, dir: dir, overhead: map[string]int{}}
	all := newTable()
	subjects := servers(s)
	for round := range s.rounds {
		for i := range subjects {
			// Another one begins each round: what comes first may find the
			// machine cooler, or the disk busier.
			subject := subjects[(round+i)%len(subjects)]
			fmt.Fprintf(os.Stderr, "round %d of %d: %s\n", round+1, s.rounds, subject.name)
			figures, err := b.one(ctx, subject)
			if err != nil {
				return fmt.Errorf("%s: %w", subject.name, err)
			}
			all.add(subject.name, figures)
		}
	}
	about, err := describe(ctx, s)
	if err != nil {
		return err
	}
	fmt.Print(all.text(subjects), "\n", about, "\n")
	return errors.Join(all.save(s.json), publish(s, all, subjects, about))
}

// publish replaces the table in the manual and draws the plot.
func publish(s settings, t *table, subjects []subject, about string) error {
	if !s.write {
		return nil
	}
	docs := filepath.Join("..", "docs")
	if err := os.WriteFile(filepath.Join(docs, "performance.svg"), t.plot(subjects), 0o644); err != nil {
		return err
	}
	page := filepath.Join(docs, "performance.md")
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	const begin, end = "<!-- table: begin, written by bench -->\n", "<!-- table: end -->\n"
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no lines %q and %q to put the table between", page, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return os.WriteFile(page, []byte(before+begin+t.markdown(subjects)+"\n"+about+"\n"+end+after), 0o644)
}
