package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// call is one REST request on its way through the gateway. It goes along twice:
// in the request's context, and as its body, so that the gateway does not read
// the body: fill does, once the guard has let the caller in.
type call struct {
	io.ReadCloser        // the body
	length        int64  // of the body as announced, -1 if it was not
	limit         int    // of the body, in bytes
	query         string // raw

	params   map[string]string // what the path holds, by field
	hasBody  bool              // the route takes one
	tooLarge bool              // the body was over the limit

	// probe asks whether there is a route at all; routed is the answer.
	probe, routed bool
}

type callKey struct{}

func callFrom(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// fill sets in msg what the body, the query and the path say. Nothing that a
// caller wrote is ignored: what has no meaning here is an error.
func (c *call) fill(msg proto.Message, codec codec) error {
	if c.hasBody {
		body, err := c.read()
		if err != nil {
			return err
		}
		if err := codec.Unmarshal(body, msg); err != nil {
			return err
		}
	}
	if err := c.fillQuery(msg.ProtoReflect()); err != nil {
		return err
	}
	return c.fillPath(msg.ProtoReflect())
}

// read reads the body into one buffer of the announced size.
func (c *call) read() ([]byte, error) {
	if c.length > int64(c.limit) {
		c.tooLarge = true
		return nil, tooLarge{c.limit, c.length}
	}
	if c.length >= 0 {
		body := make([]byte, c.length)
		_, err := io.ReadFull(c, body)
		return body, c.readError(err)
	}
	body, err := io.ReadAll(c)
	return body, c.readError(err)
}

func (c *call) readError(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		c.tooLarge = true
		return tooLarge{c.limit, c.length}
	}
	return &FieldError{"body", "it ended early or could not be read"}
}

// fillQuery sets the fields that the query names. A route with a body has all
// of its fields there.
func (c *call) fillQuery(m protoreflect.Message) error {
	if c.query == "" {
		return nil
	}
	values, err := url.ParseQuery(c.query)
	if err != nil {
		return &FieldError{"query", clip(err.Error())}
	}
	for name, vals := range values {
		field := fieldNamed(m, name)
		if field == nil || c.hasBody {
			return &FieldError{clip(name), "unknown query parameter"}
		}
		if _, inPath := c.params[string(field.Name())]; inPath {
			return &FieldError{name, "it is in the path and cannot be a query parameter"}
		}
		one := url.Values{name: vals}
		if err := runtime.PopulateQueryParameters(m.Interface(), one, utilities.NewDoubleArray(nil)); err != nil {
			return &FieldError{name, queryProblem(err)}
		}
	}
	return nil
}

func queryProblem(err error) string {
	if number, ok := errors.AsType[*strconv.NumError](err); ok {
		if number.Func == "ParseBool" {
			return fmt.Sprintf("want true or false, got %q", clip(number.Num))
		}
		return fmt.Sprintf("not a number in range: %q", clip(number.Num))
	}
	if at, ok := errors.AsType[*time.ParseError](err); ok {
		return fmt.Sprintf("want a time such as 2026-03-01T12:00:00Z, got %q", clip(at.Value))
	}
	return clip(err.Error())
}

// fillPath sets the fields that the path holds. The gateway did so before the
// body was read; reading the body has reset them.
func (c *call) fillPath(m protoreflect.Message) error {
	for name, value := range c.params {
		field := fieldNamed(m, name)
		if m.Has(field) && m.Get(field).String() != value {
			return &FieldError{name, "the body and the path differ"}
		}
		if err := runtime.PopulateFieldFromPath(m.Interface(), name, value); err != nil {
			return &FieldError{name, err.Error()}
		}
	}
	return nil
}

// fieldNamed finds a field by either of the names that protojson reads.
func fieldNamed(m protoreflect.Message, name string) protoreflect.FieldDescriptor {
	fields := m.Descriptor().Fields()
	if field := fields.ByTextName(name); field != nil {
		return field
	}
	return fields.ByJSONName(name)
}

// clip shortens what a caller sent, for an error message, and makes it UTF-8,
// which a status must be.
func clip(s string) string {
	const most = 128
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ToValidUTF8(s, "\ufffd")
}
