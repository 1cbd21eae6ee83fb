# Varnish before the pushd nodes, 6.0 or later. Varnish speaks no TLS: that ends
# before it. It needs -p pipe_timeout=90s (deploy/systemd/varnish.service.d.conf).
# docs/proxies.md has more.
vcl 4.1;

import directors;
import std;

# The clients' door answers 404 to any path but /push, which shows that it is
# there. It closes when a node drains.
probe door {
    .url = "/";
    .expected_response = 404;
    .interval = 1s;
    .timeout = 1s;
    # One failure is enough: a client that is piped to a node that is gone gets no
    # response. A node serves after its first success.
    .initial = 1;
    .window = 2;
    .threshold = 2;
}

backend node1 { .host = "node1"; .port = "8080"; .connect_timeout = 1s; .probe = door; }
backend node2 { .host = "node2"; .port = "8080"; .connect_timeout = 1s; .probe = door; }
backend node3 { .host = "node3"; .port = "8080"; .connect_timeout = 1s; .probe = door; }

sub vcl_init {
    new pushd = directors.round_robin();
    pushd.add_backend(node1);
    pushd.add_backend(node2);
    pushd.add_backend(node3);
}

sub vcl_recv {
    if (req.url ~ "^/push(\?|$)" && req.http.Upgrade ~ "(?i)^websocket$") {
        set req.backend_hint = pushd.backend();
        if (!std.healthy(req.backend_hint)) {
            return (synth(503));
        }
        return (pipe);
    }
    return (synth(404));
}

# Pipe passes bytes in both directions. The two fields have to be copied.
sub vcl_pipe {
    set bereq.http.Upgrade = req.http.Upgrade;
    set bereq.http.Connection = "Upgrade";
}

# Varnish answers 503 itself when it reaches no node. Clients come back then, too.
sub vcl_synth {
    if (resp.status == 503) {
        set resp.http.Retry-After = "2";
    }
}
