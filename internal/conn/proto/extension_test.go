package proto

import (
	"strings"
	"testing"
)

// TestExtensions: which offer is agreed to, and how the answer says so (RFC
// 7692, section 7.1; the grammar is that of RFC 6455, section 9.1).
func TestExtensions(t *testing.T) {
	const plain = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	named := func(bits string) string { return plain + "; server_max_window_bits=" + bits }
	for _, c := range []struct{ offer, answer string }{
		{"permessage-deflate", plain},
		{"permessage-deflate; client_max_window_bits", plain},
		{"permessage-deflate; client_max_window_bits=8", plain},
		{"permessage-deflate; client_max_window_bits=15; client_no_context_takeover; server_no_context_takeover", plain},
		{"permessage-deflate;server_max_window_bits=8", named("8")},
		{"permessage-deflate ;\tserver_max_window_bits = 10", named("10")},
		{`permessage-deflate; server_max_window_bits="15"`, named("15")},
		{"permessage-deflate; server_max_window_bits=9; client_max_window_bits, permessage-deflate", named("9")},
		{"x-webkit-deflate-frame, permessage-deflate", plain},
		{`, ,foo; bar="a-b"; baz=1; bar;bar, permessage-deflate,`, plain},
		{"permessage-deflate;", plain},
		{"permessage-deflate; ;server_max_window_bits=10; , foo;", named("10")},
		{"foo\r\nSec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=11", named("11")},
		{"permessage-deflate\r\nSec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=11", plain},

		// An offer that cannot be agreed to is passed over for the next one.
		{"permessage-deflate; server_max_window_bits=7, permessage-deflate; server_max_window_bits=12", named("12")},
		{"permessage-deflate; server_max_window_bits, permessage-deflate", plain},
		{"permessage-deflate; client_max_window_bits=16", ""},
		{"permessage-deflate; client_max_window_bits=08", ""},
		{"permessage-deflate; client_max_window_bits=1", ""},
		{"permessage-deflate; client_max_window_bits=150", ""},
		{"permessage-deflate; server_max_window_bits=0x8", ""},
		{"permessage-deflate; server_max_window_bits=1a", ""},
		{`permessage-deflate; server_max_window_bits="1\5"`, ""},
		{"permessage-deflate; server_no_context_takeover=1", ""},
		{"permessage-deflate; client_no_context_takeover=true", ""},
		{"permessage-deflate; client_no_context_takeover; client_no_context_takeover", ""},
		{"permessage-deflate; server_max_window_bits=10; server_max_window_bits=10", ""},
		{"permessage-deflate; something_new", ""},
		{"permessage-deflate; Server_No_Context_Takeover", ""},
		{"deflate-frame, permessage-bzip2", ""},
		{"Permessage-Deflate", ""},
	} {
		var r Request
		if err := r.Parse([]byte(add("Sec-WebSocket-Extensions: "+c.offer)), testPath); err != nil {
			t.Errorf("%q: %v", c.offer, err)
			continue
		}
		answer := ""
		if head := string(AppendUpgrade(nil, r.Key, "", r.Deflate)); strings.Contains(head, "Extensions") {
			_, answer, _ = strings.Cut(head, "Sec-WebSocket-Extensions: ")
			answer = strings.TrimSuffix(answer, "\r\n\r\n")
		}
		if answer != c.answer || (r.Deflate.Window != 0) != (answer != "") {
			t.Errorf("%q\nanswer %q\nwant   %q", c.offer, answer, c.answer)
		}
	}
}

// TestExtensionsMalformed: what is no list of extensions fails the handshake.
func TestExtensionsMalformed(t *testing.T) {
	for _, list := range []string{
		"", ",", " , ", ";", "=", "a b", "a; b=", "a; =b", "a; b=,c", "a; b c", "a=b", "a/b", "(a)",
		`a; b="c`, `a; b="`, `a; b="c"d`, `a; b=""`, `a; b="c d"`, `a; b="c\`, `a; b="c\"`, `a; b='c d'`, "permessage-deflate; \xff",
	} {
		var r Request
		if err := r.Parse([]byte(add("Sec-WebSocket-Extensions: "+list)), testPath); err != errExtensions {
			t.Errorf("%q: %v", list, err)
		}
	}
}
