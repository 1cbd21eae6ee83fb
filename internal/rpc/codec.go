package rpc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pushv1 "pushd.example/api/push/v1"
)

// codec is JSON as REST callers see it: protojson with the proto's names and
// zero values written out, except that bytes fields named data hold any JSON
// value, byte for byte, in both directions. PHP sends ids such as
// 9007199254740993, which a JSON number in most languages cannot hold, so data is
// cut out of the text and never decoded.
type codec struct {
	marshal protojson.MarshalOptions
}

func newCodec() codec {
	return codec{protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}}
}

// dataField is the name of the fields that hold raw JSON.
const dataField = "data"

// ContentType implements runtime.Marshaler.
func (codec) ContentType(any) string { return "application/json" }

// NewDecoder implements runtime.Marshaler. It does not read the body of a call:
// restCall.decode does, after the interceptor has admitted the caller.
func (k codec) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		if c, ok := r.(*restCall); ok {
			c.hasBody = true
			return nil
		}
		body, err := io.ReadAll(r)
		if err != nil {
			return fmt.Errorf("reading JSON: %w", err)
		}
		return k.Unmarshal(body, v)
	})
}

// NewEncoder implements runtime.Marshaler.
func (k codec) NewEncoder(w io.Writer) runtime.Encoder {
	return runtime.EncoderFunc(func(v any) error {
		text, err := k.Marshal(v)
		if err == nil {
			_, err = w.Write(text)
		}
		return err
	})
}

// Unmarshal implements runtime.Marshaler: it sets v from body, one JSON object.
// Errors are FieldErrors. It overwrites body.
func (codec) Unmarshal(body []byte, v any) error {
	msg, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("reading JSON: %T is not a message", v)
	}
	if len(body) == 0 {
		return &FieldError{"body", "required: a JSON object"}
	}
	if !json.Valid(body) {
		return notJSON("body", body)
	}
	m := msg.ProtoReflect()
	data, err := cutData(body, m)
	if err != nil {
		return err
	}
	if err := protojson.Unmarshal(body, msg); err != nil {
		return memberAtFault(body, m, err)
	}
	if data != nil {
		m.Set(rawField(m.Descriptor()), protoreflect.ValueOfBytes(data))
	}
	return nil
}

// memberAtFault returns a FieldError for the member of body that protojson
// refused. protojson's own errors do not always name it, so each member is read
// again alone.
func memberAtFault(body []byte, m protoreflect.Message, err error) error {
	for mem := range members(body) {
		alone := slices.Concat([]byte("{"), body[mem.key:mem.end], []byte("}"))
		if err := protojson.Unmarshal(alone, m.New().Interface()); err != nil {
			return &FieldError{clip(mem.name(body)), memberProblem(fieldNamed(m, mem.name(body)), body[mem.value:mem.end], err)}
		}
	}
	return &FieldError{"body", protojsonProblem(err)}
}

// memberProblem says what is wrong with value, which protojson has refused for
// field. It knows the habits of callers whose language has no types.
func memberProblem(field protoreflect.FieldDescriptor, value []byte, err error) string {
	got := clip(string(value))
	switch wrongType := strings.Contains(err.Error(), "invalid value for string"); {
	case isDuration(field):
		return wantDuration(string(value))
	case wrongType && field.IsList():
		return `want strings in quotes, such as ["7"], got ` + got
	case wrongType:
		return `want a string in quotes, such as "7", got ` + got
	}
	return protojsonProblem(err)
}

func isDuration(field protoreflect.FieldDescriptor) bool {
	return field.Message() != nil && field.Message().FullName() == "google.protobuf.Duration"
}

// wantDuration is the problem of a value that is not a duration.
func wantDuration(value string) string {
	return `want seconds in a string, such as "90s", got ` + clip(value)
}

// protojsonProblem removes the prefix, whose space differs from build to build,
// and the position, which is not one in the caller's text.
func protojsonProblem(err error) string {
	text := strings.TrimPrefix(err.Error(), "proto:")
	if before, after, ok := strings.Cut(text, "): "); ok && strings.Contains(before, "(line ") {
		text = after
	}
	return clip(strings.TrimLeft(text, " \u00a0"))
}

// rawField returns the field of d that holds raw JSON, nil if it has none.
func rawField(d protoreflect.MessageDescriptor) protoreflect.FieldDescriptor {
	field := d.Fields().ByName(dataField)
	if field == nil || field.Kind() != protoreflect.BytesKind || field.IsList() {
		return nil
	}
	return field
}

// cutData returns a copy of the value of data in body, nil if there is none, and
// blanks that member, so that protojson can read the rest. A member that m does
// not have, or that is given twice, is an error. body is valid JSON.
func cutData(body []byte, m protoreflect.Message) (data []byte, err error) {
	raw := rawField(m.Descriptor())
	var seen [8]protoreflect.FieldNumber
	known := seen[:0]
	var cut member
	for mem, err := range members(body) {
		if err != nil {
			return nil, err
		}
		name := mem.name(body)
		field := fieldNamed(m, name)
		if field == nil {
			return nil, &FieldError{clip(name), "unknown field"}
		}
		for _, n := range known {
			if n == field.Number() {
				return nil, &FieldError{name, "given twice"}
			}
		}
		known = append(known, field.Number())
		if raw != nil && field.Number() == raw.Number() {
			cut = mem
		}
	}
	if cut.end == 0 {
		return nil, nil
	}
	data = append(data, body[cut.value:cut.end]...)
	cut.blank(body)
	return data, nil
}

// Marshal implements runtime.Marshaler.
func (k codec) Marshal(v any) ([]byte, error) {
	if page, ok := v.(*pushv1.HistoryResponse); ok {
		return appendHistory(make([]byte, 0, pageSize(page)), page), nil
	}
	msg, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("writing JSON: %T is not a message", v)
	}
	text, err := k.marshal.Marshal(msg)
	if err != nil {
		return nil, fmt.Errorf("writing JSON: %w", err)
	}
	// protojson puts spaces between tokens in some builds and not in others.
	var out bytes.Buffer
	if err := json.Compact(&out, text); err != nil {
		return nil, fmt.Errorf("writing JSON: %w", err)
	}
	return out.Bytes(), nil
}
