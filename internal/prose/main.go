// Command prose counts headless sentences, such as "Who reads first decides.",
// in the comments and documents of the repository. Readers who learned English
// late stumble over them; code bases that people like to read begin 0.0 to 0.4 %
// of their comment sentences so.
//
//	go run ./internal/prose [-limit 0.5] [ROOT]
//
// It prints each of them with its place, and fails where a kind of text has more
// than the limit.
package main

import (
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// defaultLimit is in percent of the sentences of comments, and of documents.
const defaultLimit = 0.5

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "prose:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("prose", flag.ContinueOnError)
	limit := flags.Float64("limit", defaultLimit, "percent of sentences that may be headless")
	if err := flags.Parse(args); err != nil {
		return err
	}
	root := "."
	if flags.NArg() > 0 {
		root = flags.Arg(0)
	}
	comments, documents, err := count(root)
	if err != nil {
		return fmt.Errorf("reading %s: %w", root, err)
	}
	var over []string
	for _, t := range []tally{comments, documents} {
		for _, s := range t.headless {
			fmt.Fprintf(out, "%s:%d: %s\n", s.file, s.line, s.text)
		}
		share := 100 * float64(len(t.headless)) / float64(max(1, t.sentences))
		text := fmt.Sprintf("%s: %d of %d sentences are headless: %.2f %%", t.kind, len(t.headless), t.sentences, share)
		fmt.Fprintln(out, text)
		if share > *limit {
			over = append(over, text)
		}
	}
	if over != nil {
		return fmt.Errorf("more than %g %%: %s; begin them with their subject", *limit, strings.Join(over, "; "))
	}
	return nil
}

// tally is what one kind of text has.
type tally struct {
	kind      string
	sentences int
	headless  []sentence
}

func (t *tally) add(file string, ps []paragraph) {
	for _, s := range sentences(ps) {
		t.sentences++
		if s.headless() {
			s.file = file
			t.headless = append(t.headless, s)
		}
	}
}

// count reads the files below root, but for what tools generate.
func count(root string) (comments, documents tally, err error) {
	comments.kind, documents.kind = "comments", "documents"
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules" || name == "build") {
				return fs.SkipDir
			}
			return nil
		}
		read := map[string]func([]byte) []paragraph{".go": goComments, ".lua": luaComments, ".proto": protoComments, ".md": markdown}[filepath.Ext(name)]
		if read == nil {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil || generated(text) {
			return err
		}
		t := &comments
		if strings.HasSuffix(name, ".md") {
			t = &documents
		}
		t.add(path, read(text))
		return nil
	})
	return comments, documents, err
}

func generated(text []byte) bool {
	return strings.Contains(string(text[:min(300, len(text))]), "// Code generated ")
}
