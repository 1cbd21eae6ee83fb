package main

import (
	"go/scanner"
	"go/token"
	"regexp"
	"strings"
)

// paragraph is text that is read in one go, and the line that it begins in.
type paragraph struct {
	line int
	text string
}

// sentence is one of a paragraph.
type sentence struct {
	file string
	line int
	text string
}

// end finds where a sentence ends: at a full stop, or the like, before a space
// and a capital.
var end = regexp.MustCompile(`[.!?][)"”*]*\s+[A-Z]`)

func sentences(ps []paragraph) (all []sentence) {
	for _, p := range ps {
		rest, line := p.text, p.line
		for rest != "" {
			cut := len(rest)
			if at := end.FindStringIndex(rest); at != nil {
				cut = at[1] - 1
			}
			text := rest[:cut]
			if trimmed := strings.TrimSpace(text); trimmed != "" {
				start := line + strings.Count(text[:strings.Index(text, trimmed)], "\n")
				all = append(all, sentence{line: start, text: strings.Join(strings.Fields(trimmed), " ")})
			}
			line += strings.Count(text, "\n")
			rest = rest[cut:]
		}
	}
	return all
}

// head matches the words that begin headless sentences.
var head = regexp.MustCompile(`^(Who|What|Of|Where|With|Nobody|Whom|Whose|Whoever|Whatever)\b`)

// headless reports whether s begins with such a word and is no question.
func (s sentence) headless() bool {
	return head.MatchString(s.text) && !strings.HasSuffix(strings.TrimRight(s.text, `)"”*`), "?")
}

// split makes paragraphs of lines: an empty line ends one, as does a new item of
// a list. Lines that are indented further are code.
type split struct {
	all  []paragraph
	open bool
}

func (s *split) add(number int, line string) {
	text := strings.TrimSpace(line)
	switch {
	case text == "" || strings.HasPrefix(line, "\t") || strings.HasPrefix(line, "    "):
		s.open = false
		return
	case strings.HasPrefix(text, "- "), strings.HasPrefix(text, "#"):
		text = strings.TrimLeft(text, "-# ")
		s.open = false
	}
	if !s.open {
		s.all = append(s.all, paragraph{line: number})
		s.open = true
	}
	last := &s.all[len(s.all)-1]
	if last.text != "" {
		last.text += "\n"
	}
	last.text += text
	if strings.HasPrefix(line, "#") {
		s.open = false // a heading
	}
}

// goComments returns the comments of Go source, without directives.
func goComments(src []byte) []paragraph {
	files := token.NewFileSet()
	file := files.AddFile("", files.Base(), len(src))
	var s scanner.Scanner
	s.Init(file, src, func(token.Position, string) {}, scanner.ScanComments)
	var out split
	last := 0
	for {
		pos, tok, text := s.Scan()
		if tok == token.EOF {
			return out.all
		}
		if tok != token.COMMENT || strings.HasPrefix(text, "//go:") || strings.HasPrefix(text, "//nolint") {
			continue
		}
		number := file.Line(pos)
		if number != last+1 {
			out.open = false
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(strings.TrimPrefix(text, "/*"), "*/"), "\n") {
			out.add(number, strings.TrimPrefix(strings.TrimPrefix(line, "//"), " "))
			last = number
			number++
		}
	}
}

func luaComments(src []byte) []paragraph   { return lineComments(string(src), "--") }
func protoComments(src []byte) []paragraph { return lineComments(string(src), "//") }

// lineComments returns the comments that mark begins.
func lineComments(src, mark string) []paragraph {
	var out split
	number := 0
	for line := range strings.Lines(src) {
		number++
		code, text, found := strings.Cut(line, mark)
		if !found || strings.Count(code, `"`)%2 == 1 {
			out.open = false
			continue
		}
		if strings.TrimSpace(code) != "" {
			out.open = false
		}
		out.add(number, strings.TrimPrefix(strings.TrimRight(text, "\n"), " "))
	}
	return out.all
}

// markdown returns the prose of a document. Each cell of a table is a paragraph,
// since nobody reads a row as one sentence.
func markdown(src []byte) []paragraph {
	var out split
	number, fenced := 0, false
	for line := range strings.Lines(string(src)) {
		number++
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
			out.open = false
			continue
		}
		if fenced {
			continue
		}
		if !strings.HasPrefix(line, "|") {
			out.add(number, strings.TrimRight(line, "\n"))
			continue
		}
		for cell := range strings.SplitSeq(strings.Trim(line, "| \n"), " | ") {
			out.open = false
			if strings.Trim(cell, "-:| ") != "" {
				out.add(number, strings.TrimSpace(cell))
			}
		}
		out.open = false
	}
	return out.all
}
