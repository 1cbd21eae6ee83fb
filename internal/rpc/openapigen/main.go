// Openapigen is a plugin of protoc and buf: it has protoc-gen-openapiv2
// describe the REST door, and makes true what that cannot know: that data is
// any JSON value, what is required, how callers show who they are, and an
// example of every operation. All of this stands in api/push/v1/openapi.yaml.
package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/pluginpb"
)

// Paths from the module's root, where buf runs plugins.
const (
	additions = "api/push/v1/openapi.yaml"
	output    = "openapi.json"
)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "openapigen:", err)
		os.Exit(1)
	}
}

// run answers one CodeGeneratorRequest.
func run(in io.Reader, out io.Writer) error {
	resp, err := generate(in)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(additions)
	if err != nil {
		return fmt.Errorf("reading the additions: %w", err)
	}
	var add addition
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&add); err != nil {
		return fmt.Errorf("%s: %w", additions, err)
	}
	if len(resp.GetFile()) != 1 {
		return fmt.Errorf("protoc-gen-openapiv2 wrote %d files, want one: %s", len(resp.GetFile()), resp.GetError())
	}
	file := resp.GetFile()[0]
	document, err := add.to([]byte(file.GetContent()))
	if err != nil {
		return fmt.Errorf("%s: %w", additions, err)
	}
	file.Name, file.Content = proto.String(output), proto.String(string(document))
	answer, err := proto.Marshal(resp)
	if err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	_, err = out.Write(answer)
	return err
}

// generate passes the request on to protoc-gen-openapiv2.
func generate(in io.Reader) (*pluginpb.CodeGeneratorResponse, error) {
	cmd := exec.Command("go", "tool", "protoc-gen-openapiv2")
	cmd.Stdin, cmd.Stderr = in, os.Stderr
	text, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("running protoc-gen-openapiv2: %w", err)
	}
	resp := new(pluginpb.CodeGeneratorResponse)
	if err := proto.Unmarshal(text, resp); err != nil {
		return nil, fmt.Errorf("reading what protoc-gen-openapiv2 wrote: %w", err)
	}
	return resp, nil
}
