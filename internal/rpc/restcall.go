package rpc

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// restCall is one REST request on its way through the gateway. The gateway gets
// it twice: in the request's context, and as the request's body. So the gateway
// does not read the body; decode reads it after the interceptor has admitted the
// caller.
type restCall struct {
	io.ReadCloser        // the body
	length        int64  // Content-Length; -1 if the request has none
	limit         int    // the most bytes in a body, compressed or not
	contentType   string // as the caller sent it; used in errors only
	encoding      string // Content-Encoding
	query         string // raw

	params   map[string]string // values in the path, by field
	hasBody  bool              // the route takes a body
	tooLarge bool              // the body was over the limit
	held     *reservation      // for the body and the answer, until that is written

	// probe asks only whether a route exists; routed is the answer.
	probe, routed bool
}

type restCallKey struct{}

func restCallFrom(ctx context.Context) *restCall {
	c, _ := ctx.Value(restCallKey{}).(*restCall)
	return c
}

// decode sets msg from the body, the query and the path. Nothing that the caller
// wrote is ignored: a name that the request does not have is an error.
func (c *restCall) decode(msg proto.Message, codec codec) error {
	if c.hasBody {
		body, err := c.read()
		if err != nil {
			return err
		}
		if err := codec.Unmarshal(body, msg); err != nil {
			return c.notJSON(err)
		}
	}
	if err := c.decodeQuery(msg.ProtoReflect()); err != nil {
		return err
	}
	return c.decodePath(msg.ProtoReflect())
}

// largeBody returns how many bytes to reserve for the body: none for a small one.
func (c *restCall) largeBody() int {
	const small = 64 << 10
	switch {
	case c.length >= 0 && c.length <= small && c.encoding != "gzip":
		return 0
	case c.length < 0 || c.encoding == "gzip":
		return c.limit
	}
	return int(min(c.length, int64(c.limit)))
}

// notJSON says that the body is a form if the caller called it one and it is not
// JSON, which is the error err. JSON may have any content type: curl -d calls all
// bodies forms.
func (c *restCall) notJSON(err error) error {
	field, ok := errors.AsType[*FieldError](err)
	mediaType, _, _ := strings.Cut(c.contentType, ";")
	if !ok || field.Field != "body" || !strings.HasSuffix(mediaType, "form-urlencoded") && !strings.HasPrefix(mediaType, "multipart/") {
		return err
	}
	return &FieldError{"body", fmt.Sprintf("want a JSON object, got a form (content-type %s)", clip(mediaType))}
}

// read reads the body, into one buffer if its length is known.
func (c *restCall) read() ([]byte, error) {
	if c.length > int64(c.limit) {
		c.tooLarge = true
		return nil, tooLarge{c.limit, c.length}
	}
	switch c.encoding {
	case "", "identity":
	case "gzip":
		return c.readGzip()
	default:
		return nil, &FieldError{"body", fmt.Sprintf("want content-encoding gzip or none, got %q", clip(c.encoding))}
	}
	if c.length >= 0 {
		body := make([]byte, c.length)
		_, err := io.ReadFull(c, body)
		return body, c.readError(err)
	}
	body, err := io.ReadAll(c)
	return body, c.readError(err)
}

// readGzip reads a body that is compressed by gzip. It is bounded twice: the
// compressed bytes as those of all bodies, and the bytes that come out.
func (c *restCall) readGzip() ([]byte, error) {
	in, err := gzip.NewReader(c.ReadCloser)
	var body []byte
	if err == nil {
		body, err = io.ReadAll(io.LimitReader(in, int64(c.limit)+1))
	}
	if len(body) > c.limit {
		c.tooLarge = true
		return nil, tooLarge{c.limit, -1}
	}
	if err = c.readError(err); err != nil && !c.tooLarge {
		err = &FieldError{"body", "not valid gzip, which its content-encoding is"}
	}
	return body, err
}

func (c *restCall) readError(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		c.tooLarge = true
		return tooLarge{c.limit, c.length}
	}
	return &FieldError{"body", "it ended before its Content-Length, or could not be read"}
}

// decodeQuery sets the fields that the query names. A route that takes a body
// takes no query: all of its fields are in the body.
func (c *restCall) decodeQuery(m protoreflect.Message) error {
	if c.query == "" {
		return nil
	}
	values, err := url.ParseQuery(c.query)
	if err != nil {
		return &FieldError{"query", clip(err.Error())}
	}
	for name, vals := range values {
		field := fieldNamed(m, name)
		if plain, ok := strings.CutSuffix(name, "[]"); ok && fieldNamed(m, plain) != nil {
			return &FieldError{plain, fmt.Sprintf("write %[1]s=a&%[1]s=b, without []", plain)}
		}
		if field == nil || c.hasBody {
			return &FieldError{clip(name), "unknown query parameter"}
		}
		if _, inPath := c.params[string(field.Name())]; inPath {
			return &FieldError{name, "it is in the path and cannot be a query parameter"}
		}
		one := url.Values{name: vals}
		if err := runtime.PopulateQueryParameters(m.Interface(), one, utilities.NewDoubleArray(nil)); err != nil {
			if isDuration(field) {
				return &FieldError{name, wantDuration(strconv.Quote(vals[0]))}
			}
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

// decodePath sets the fields that are in the path. The gateway has set them
// already, but reading the body has reset them.
func (c *restCall) decodePath(m protoreflect.Message) error {
	for name, value := range c.params {
		field := fieldNamed(m, name)
		if m.Has(field) && m.Get(field).String() != value {
			return &FieldError{name, "the body has another value than the path: leave it out of the body"}
		}
		if err := runtime.PopulateFieldFromPath(m.Interface(), name, value); err != nil {
			return &FieldError{name, err.Error()}
		}
	}
	return nil
}

// fieldNamed returns the field with the given proto name or JSON name, nil if
// there is none. protojson accepts both.
func fieldNamed(m protoreflect.Message, name string) protoreflect.FieldDescriptor {
	fields := m.Descriptor().Fields()
	if field := fields.ByTextName(name); field != nil {
		return field
	}
	return fields.ByJSONName(name)
}

// clip shortens text of a caller for an error message, and makes it valid UTF-8,
// as a status must be.
func clip(s string) string {
	const most = 128
	if len(s) > most {
		end := most
		for end > most-utf8.UTFMax && !utf8.RuneStart(s[end]) {
			end--
		}
		s = s[:end] + "…"
	}
	return strings.ToValidUTF8(s, "\ufffd")
}
