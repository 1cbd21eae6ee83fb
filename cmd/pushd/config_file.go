package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxConfigFile keeps a wrong path, such as a device, from filling memory.
const maxConfigFile = 1 << 20

// readFile applies the settings in the YAML file at path. Its errors name the
// file and, where there is one, the line.
func (l *loader) readFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxConfigFile+1))
	if err != nil {
		return err
	}
	if len(b) > maxConfigFile {
		return fmt.Errorf("%s: larger than %d bytes", path, maxConfigFile)
	}
	return l.applyYAML(path, string(b))
}

func (l *loader) applyYAML(path, source string) error {
	decoder := yaml.NewDecoder(strings.NewReader(source))
	var doc yaml.Node
	if err := decoder.Decode(&doc); errors.Is(err, io.EOF) {
		return nil
	} else if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: more than one YAML document", path)
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil
	}
	if root.Kind != yaml.MappingNode {
		return fmt.Errorf("%s:%d: want lines of the form \"key: value\"", path, root.Line)
	}
	seen := map[string]int{}
	for i := 0; i < len(root.Content); i += 2 {
		key, val := root.Content[i], root.Content[i+1]
		where := fmt.Sprintf("%s:%d", path, key.Line)
		if line, twice := seen[key.Value]; twice {
			return fmt.Errorf("%s: %s is set on line %d already", where, key.Value, line)
		}
		seen[key.Value] = key.Line
		if err := l.applyKey(where, key.Value, val); err != nil {
			return err
		}
	}
	return nil
}

func (l *loader) applyKey(where, key string, val *yaml.Node) error {
	if key == configSetting {
		return fmt.Errorf("%s: a configuration file cannot name another", where)
	}
	for _, s := range l.settings {
		if s.name != key {
			continue
		}
		text, err := yamlText(val)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", where, key, err)
		}
		if err := s.value.set(text); err != nil {
			return fmt.Errorf("%s: %s: %w", where, key, err)
		}
		l.source[key] = where
		return nil
	}
	return fmt.Errorf("%s: unknown key %q%s", where, key, l.didYouMean("", key))
}

// yamlText returns a scalar as it was written, and a list's items joined by
// commas.
func yamlText(n *yaml.Node) (string, error) {
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		return "", errors.New("has no value; remove the line for the default, or write \"\"")
	case n.Kind == yaml.ScalarNode:
		return n.Value, nil
	case n.Kind == yaml.SequenceNode:
		var items []string
		for _, item := range n.Content {
			if item.Kind != yaml.ScalarNode {
				return "", errors.New("want a list of plain values")
			}
			items = append(items, item.Value)
		}
		return strings.Join(items, ","), nil
	}
	return "", errors.New("want a plain value")
}

// didYouMean returns a hint at the setting that is spelled most like name, if
// one is near enough to be meant.
func (l *loader) didYouMean(prefix, name string) string {
	name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
	best, least := "", max(2, len(name)/3)+1
	for _, s := range l.settings {
		if d := editDistance(name, s.name); d < least {
			best, least = s.name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s%s?)", prefix, best)
}

// editDistance counts the letters to add, remove or change to get from a to b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
