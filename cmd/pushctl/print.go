package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pushv1 "pushd.example/api/push/v1"
)

// line prints one line of output.
func (c *call) line(format string, args ...any) error {
	if _, err := fmt.Fprintf(c.out, format+"\n", args...); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

// result prints what pushd answered: m as JSON, or a line for people.
func (c *call) result(m proto.Message, format string, args ...any) error {
	if !c.json {
		return c.line(format, args...)
	}
	text, err := marshal(m)
	if err != nil {
		return err
	}
	return c.line("%s", text)
}

// marshal returns m as REST would give it. protojson puts spaces at random, so
// that nobody relies on its bytes; they are taken out again.
func marshal(m proto.Message) ([]byte, error) {
	text, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encoding the answer: %w", err)
	}
	var b bytes.Buffer
	err = json.Compact(&b, text)
	return b.Bytes(), err
}

// encode is json.Marshal without its escapes for HTML: data is printed as it was
// sent.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encoding the answer: %w", err)
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// message is a message as frames and REST have it. In gRPC data is bytes, which
// protojson would print in base64.
type message struct {
	ID          string          `json:"id"`
	Log         string          `json:"log"`
	Kind        string          `json:"kind"`
	Time        time.Time       `json:"time"`
	Data        json.RawMessage `json:"data"`
	CollapseKey *string         `json:"collapse_key,omitempty"`
}

func newMessage(m *pushv1.Message) message {
	return message{m.GetId(), m.GetLog(), m.GetKind(), m.GetTime().AsTime(), m.GetData(), m.CollapseKey}
}

func (m message) String() string {
	return fmt.Sprintf("%s  %-9s  %s  %s", clock(m.Time), m.Kind, m.ID, m.Data)
}

// clock is a time as people read it, in their own zone.
func clock(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

// clockOf is clock of a time that may be missing.
func clockOf(t *timestamppb.Timestamp) string {
	if t == nil {
		return "at an unknown time"
	}
	return clock(t.AsTime())
}

// count is "1 user" or "2 users".
func count(n int32, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
