package rpc

import (
	"embed"
	"fmt"
	"net/http"
	"strconv"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
)

// referenceFiles describe the REST API: openapi.json, which openapigen writes, and
// a page that shows it and loads nothing from other servers.
//
//go:embed openapi.json reference
var referenceFiles embed.FS

// registerReference adds the routes of the reference. It needs no credential,
// because it is the same for all callers and public in the source.
func registerReference(mux *runtime.ServeMux) error {
	for _, d := range []struct{ at, file, kind string }{
		{"/openapi.json", "openapi.json", "application/json"},
		{"/docs", "reference/docs.html", "text/html; charset=utf-8"},
		{"/docs/reference.js", "reference/reference.js", "text/javascript; charset=utf-8"},
		{"/docs/reference.css", "reference/reference.css", "text/css; charset=utf-8"},
	} {
		text, err := referenceFiles.ReadFile(d.file)
		if err != nil {
			return fmt.Errorf("reading the reference: %w", err)
		}
		if err := mux.HandlePath(http.MethodGet, d.at, document(d.kind, text)); err != nil {
			return fmt.Errorf("adding %s: %w", d.at, err)
		}
	}
	return nil
}

// document returns a handler that answers with text.
func document(kind string, text []byte) runtime.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request, _ map[string]string) {
		h := w.Header()
		h.Set("Content-Type", kind)
		h.Set("Content-Length", strconv.Itoa(len(text)))
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'")
		h.Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(text) // an error means that the caller is gone
	}
}
