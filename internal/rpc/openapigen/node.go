package main

import (
	"encoding/json"
	"iter"

	"go.yaml.in/yaml/v3"
)

// object is a mapping whose members are in order. The zero object has none, and
// nothing can be set in it.
type object struct{ node *yaml.Node }

// members goes through a copy, so that members may be set and removed on the
// way.
func (o object) members() iter.Seq2[string, *yaml.Node] {
	return func(yield func(string, *yaml.Node) bool) {
		if o.node == nil {
			return
		}
		content := append([]*yaml.Node(nil), o.node.Content...)
		for i := 0; i+1 < len(content); i += 2 {
			if !yield(content[i].Value, content[i+1]) {
				return
			}
		}
	}
}

// get returns the member called name, nil if there is none.
func (o object) get(name string) *yaml.Node {
	for member, value := range o.members() {
		if member == name {
			return value
		}
	}
	return nil
}

func (o object) object(name string) object { return object{o.get(name)} }

func (o object) set(name string, value *yaml.Node) {
	for i := 0; i+1 < len(o.node.Content); i += 2 {
		if o.node.Content[i].Value == name {
			o.node.Content[i+1] = value
			return
		}
	}
	o.node.Content = append(o.node.Content, text(name), value)
}

func (o object) remove(name string) {
	for i := 0; i+1 < len(o.node.Content); i += 2 {
		if o.node.Content[i].Value == name {
			o.node.Content = append(o.node.Content[:i], o.node.Content[i+2:]...)
			return
		}
	}
}

func text(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
}

func boolean(b bool) *yaml.Node {
	value := "false"
	if b {
		value = "true"
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: value}
}

func mapping(name string, value *yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{text(name), value}}
}

// appendJSON writes n, indented by what newline holds behind its line feed.
// Numbers are written as they were: an example may be one that no double holds.
func appendJSON(dst []byte, n *yaml.Node, newline string) []byte {
	switch n.Kind {
	case yaml.MappingNode:
		return appendList(dst, n, newline, '{', '}')
	case yaml.SequenceNode:
		return appendList(dst, n, newline, '[', ']')
	}
	switch n.ShortTag() {
	case "!!int", "!!float", "!!bool", "!!null":
		return append(dst, n.Value...)
	}
	return appendText(dst, n.Value)
}

func appendList(dst []byte, n *yaml.Node, newline string, open, end byte) []byte {
	dst = append(dst, open)
	inner := newline + "  "
	for i := 0; i < len(n.Content); i++ {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, inner...)
		if n.Kind == yaml.MappingNode {
			dst = append(appendText(dst, n.Content[i].Value), ": "...)
			i++
		}
		dst = appendJSON(dst, n.Content[i], inner)
	}
	if len(n.Content) > 0 {
		dst = append(dst, newline...)
	}
	return append(dst, end)
}

func appendText(dst []byte, s string) []byte {
	quoted, _ := json.Marshal(s) // a string cannot fail
	return append(dst, quoted...)
}
