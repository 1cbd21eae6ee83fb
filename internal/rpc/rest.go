package rpc

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// rest is the REST API: grpc-gateway's routes to inProcess.
type rest struct {
	interceptor *interceptor
	codec       codec
	mux         *runtime.ServeMux
	maxBytes    int // in a body
}

func newREST(all services, i *interceptor, maxBytes int) (*rest, error) {
	h := &rest{interceptor: i, codec: newCodec(), maxBytes: maxBytes}
	h.mux = runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, h.codec),
		runtime.WithIncomingHeaderMatcher(forward),
		runtime.WithMiddlewares(matched),
		runtime.WithErrorHandler(h.failed),
		runtime.WithRoutingErrorHandler(h.notRouted),
		runtime.WithWriteContentLength(),
		// A percent-encoded slash in a user is part of the user.
		runtime.WithUnescapingMode(runtime.UnescapingModeAllExceptSlash),
		// Both would let a POST with a form, which curl -d sends, run the handler
		// of a GET.
		runtime.WithDisablePathLengthFallback(),
		runtime.WithDisableHTTPMethodOverride(),
	)
	if err := all.registerREST(h.mux, &inProcess{interceptor: i, codec: h.codec}); err != nil {
		return nil, fmt.Errorf("rpc: registering REST routes: %w", err)
	}
	if err := registerReference(h.mux); err != nil {
		return nil, fmt.Errorf("rpc: registering the reference: %w", err)
	}
	return h, nil
}

// forward passes the X-Request-Id header on. The gateway itself passes
// Authorization and the caller's address; no other header is used.
func forward(header string) (string, bool) {
	return requestIDKey, strings.EqualFold(header, requestIDKey)
}

// matched runs when the gateway has found a route.
func matched(next runtime.HandlerFunc) runtime.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, params map[string]string) {
		c := restCallFrom(r.Context())
		c.params = params
		if c.probe {
			c.routed = true
			return
		}
		next(w, r, params)
	}
}

// ServeHTTP implements http.Handler.
func (h *rest) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// The interceptor recovers from panics in calls; this recovers from panics in
	// the gateway's code around them.
	defer func() {
		if p := recover(); p != nil {
			h.failed(r.Context(), h.mux, h.codec, w, r, h.interceptor.panicked(r.Context(), r.URL.Path, p))
		}
	}()
	c := &restCall{
		ReadCloser: http.MaxBytesReader(w, r.Body, int64(h.maxBytes)),
		length:     r.ContentLength,
		limit:      h.maxBytes,
		query:      r.URL.RawQuery,

		contentType: r.Header.Get("Content-Type"),
		encoding:    strings.ToLower(r.Header.Get("Content-Encoding")),
	}
	defer func() { c.held.free() }()
	r = r.WithContext(context.WithValue(r.Context(), restCallKey{}, c))
	r.Body = c
	// The query is fill's as well: parsed already, and empty, to the gateway.
	r.Form, r.PostForm = url.Values{}, url.Values{}
	// There is one format. Callers name it in many ways (curl -d says it is a
	// form), which the gateway would parse, and log where it cannot.
	delete(r.Header, "Content-Type")
	h.mux.ServeHTTP(w, r)
}

// failed answers with err, which is a status unless the gateway itself failed.
func (h *rest) failed(ctx context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, err error) {
	c := restCallFrom(ctx)
	if c != nil && c.probe {
		return
	}
	st := status.Convert(h.interceptor.toStatus(ctx, r.URL.Path, err))
	httpStatus := runtime.HTTPStatusFromCode(st.Code())
	if c != nil && c.tooLarge {
		httpStatus = http.StatusRequestEntityTooLarge
	}
	h.write(w, httpStatus, st)
}

// notRouted answers a request whose path or method has no route.
func (h *rest) notRouted(ctx context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, httpStatus int) {
	if c := restCallFrom(ctx); c != nil && c.probe {
		return
	}
	switch httpStatus {
	case http.StatusMethodNotAllowed:
		allowed := strings.Join(h.methodsOf(r), ", ")
		w.Header().Set("Allow", allowed) // RFC 9110, section 15.5.6
		h.write(w, httpStatus, status.New(codes.Unimplemented, fmt.Sprintf("method %s is not allowed here, only %s", r.Method, allowed)))
	case http.StatusNotFound:
		h.write(w, httpStatus, status.New(codes.NotFound, "no such path; /docs lists them all"))
	default:
		h.write(w, http.StatusBadRequest, status.New(codes.InvalidArgument, "the path is not valid: each % must begin an escape such as %2F"))
	}
}

// methodsOf returns the methods with which r's path has a route. The mux does not
// tell, so each method is tried.
func (h *rest) methodsOf(r *http.Request) []string {
	var methods []string
	for _, method := range []string{http.MethodDelete, http.MethodGet, http.MethodPost, http.MethodPut} {
		c := &restCall{probe: true}
		probe := r.WithContext(context.WithValue(r.Context(), restCallKey{}, c))
		probe.Method = method
		h.mux.ServeHTTP(nil, probe)
		if c.routed {
			methods = append(methods, method)
		}
	}
	return slices.Clip(methods)
}

// write answers with st as {"code":…,"message":…,"details":[…]}.
func (h *rest) write(w http.ResponseWriter, httpStatus int, st *status.Status) {
	body, err := h.codec.Marshal(st.Proto())
	if err != nil {
		body = []byte(`{"code":13,"message":"internal error","details":[]}`)
	}
	header := w.Header()
	header.Set("Content-Type", h.codec.ContentType(nil))
	header.Set("Content-Length", strconv.Itoa(len(body)))
	if httpStatus == http.StatusUnauthorized {
		header.Set("WWW-Authenticate", `Bearer realm="pushd"`) // RFC 6750, section 3
	}
	if delay := retryDelay(st); delay > 0 {
		header.Set("Retry-After", strconv.Itoa(int((delay+time.Second-1)/time.Second)))
	}
	w.WriteHeader(httpStatus)
	_, _ = w.Write(body) // an error means that the caller is gone
}

func retryDelay(st *status.Status) time.Duration {
	for _, detail := range st.Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			return info.GetRetryDelay().AsDuration()
		}
	}
	return 0
}
