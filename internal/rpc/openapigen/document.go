package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// addition is what openapi.yaml holds.
type addition struct {
	// Document replaces members of the document itself.
	Document yaml.Node `yaml:"document"`
	// Operations are by operationId; every operation must have one.
	Operations map[string]*operation `yaml:"operations"`
}

// operation is what is added to one operation.
type operation struct {
	// Omit names parameters that cannot be used in this one of several routes.
	Omit []string `yaml:"omit"`
	// Required names the parameters and members of the body that must be there.
	Required []string `yaml:"required"`
	// Parameters are examples of those in path and query.
	Parameters map[string]yaml.Node `yaml:"parameters"`
	Body       yaml.Node            `yaml:"body"`
	Response   yaml.Node            `yaml:"response"`
}

// to returns document, which is JSON, with the addition. JSON is YAML, and YAML
// nodes keep the order of members, which is that of the fields in the proto.
func (a *addition) to(document []byte) ([]byte, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(document, &root); err != nil {
		return nil, fmt.Errorf("reading the document: %w", err)
	}
	doc := object{root.Content[0]}
	for name, value := range (object{&a.Document}).members() {
		doc.set(name, value)
	}
	definitions := doc.object("definitions")
	for _, d := range definitions.members() {
		describeData(object{d})
	}
	done := map[string]bool{}
	for _, path := range doc.object("paths").members() {
		for _, op := range (object{path}).members() {
			id := (object{op}).get("operationId").Value
			add := a.Operations[id]
			if add == nil {
				return nil, fmt.Errorf("nothing about the operation %s", id)
			}
			done[id] = true
			if err := add.to(object{op}, definitions); err != nil {
				return nil, fmt.Errorf("%s: %w", id, err)
			}
		}
	}
	for id := range a.Operations {
		if !done[id] {
			return nil, fmt.Errorf("there is no operation %s", id)
		}
	}
	return append(appendJSON(nil, doc.node, "\n"), '\n'), nil
}

// describeData makes the member data, which is bytes in the proto, what it is
// in REST: any JSON value, which is a schema without a type.
func describeData(definition object) {
	data := definition.object("properties").object("data")
	if format := data.get("format"); format == nil || format.Value != "byte" {
		return
	}
	data.remove("type")
	data.remove("format")
}

// to adds to op; what the parameters do not have is the body's.
func (o *operation) to(op, definitions object) error {
	var body object
	left := slices.Clone(o.Required)
	used := 0
	if list := op.get("parameters"); list != nil {
		list.Content = slices.DeleteFunc(list.Content, func(p *yaml.Node) bool {
			return slices.Contains(o.Omit, object{p}.get("name").Value)
		})
		for _, node := range list.Content {
			p := object{node}
			if p.get("in").Value == "body" {
				body = definitions.object(definitionName(p.object("schema")))
				continue
			}
			if err := o.toParameter(p); err != nil {
				return err
			}
			used++
			left = slices.DeleteFunc(left, func(name string) bool { return name == p.get("name").Value })
		}
	}
	if used != len(o.Parameters) {
		return fmt.Errorf("examples of %d parameters, and there are %d", len(o.Parameters), used)
	}
	if o.Response.IsZero() {
		return errors.New("no example of the response")
	}
	op.object("responses").object("200").set("examples", mapping("application/json", &o.Response))
	return o.toBody(body, left)
}

func (o *operation) toParameter(p object) error {
	name := p.get("name").Value
	example, ok := o.Parameters[name]
	if !ok {
		return fmt.Errorf("no example of the parameter %s", name)
	}
	if slices.Contains(o.Required, name) {
		p.set("required", boolean(true))
	}
	p.set("x-example", &example)
	return nil
}

// toBody adds to the definition of the body, which is only this operation's.
func (o *operation) toBody(body object, required []string) error {
	if body.node == nil {
		if !o.Body.IsZero() || len(required) > 0 {
			return fmt.Errorf("there is no body, and no parameter %v", required)
		}
		return nil
	}
	if o.Body.IsZero() {
		return errors.New("no example of the body")
	}
	list := &yaml.Node{Kind: yaml.SequenceNode}
	for _, name := range required {
		if body.object("properties").get(name) == nil {
			return fmt.Errorf("there is no %s to require", name)
		}
		list.Content = append(list.Content, text(name))
	}
	if len(required) > 0 {
		body.set("required", list)
	}
	body.set("example", &o.Body)
	return nil
}

func definitionName(schema object) string {
	return strings.TrimPrefix(schema.get("$ref").Value, "#/definitions/")
}
