package conn

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"pushd.example/internal/conn/proto"
	"pushd.example/internal/conn/reactor"
)

// collector turns what the loops count into metrics when they are asked for.
// Loops count in plain fields, which they publish once a turn: an atomic per
// delivery would cost more than the rest of the delivery's bookkeeping.
type collector struct {
	server *Server

	connections, handshakes, refused, closes, errors *prometheus.Desc
	deliveries, dropped, replayed, holes, acks       *prometheus.Desc
	frames, bytes, deferred, received, panics        *prometheus.Desc
	backlogged, backlogBytes, inputBytes, waiting    *prometheus.Desc
	turns, flusher, unrecorded                       *prometheus.Desc
	deflations, deflated, deflateBytes, inflated     *prometheus.Desc
}

func newCollector(s *Server) *collector {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("pushd_conn_"+name, help, labels, nil)
	}
	return &collector{
		server:       s,
		connections:  d("connections", "Connections, by state.", "state"),
		handshakes:   d("handshakes_total", "Requests answered, by HTTP status, also where a browser page is told by a close code instead; 0 for clients that went away before.", "status"),
		refused:      d("refused_total", "Connections answered 503 because of a limit, by reason.", "reason"),
		closes:       d("closes_total", "Open connections that ended, by reason.", "reason"),
		errors:       d("client_errors_total", "What clients did wrong in their frames, which ended their connections, by error.", "error"),
		deliveries:   d("deliveries_total", "Messages sent live, one for each connection, by log; none: ephemeral ones.", "log"),
		dropped:      d("ephemeral_dropped_total", "Ephemeral messages not sent, one for each connection, by reason.", "reason"),
		replayed:     d("replayed_total", "Messages sent out of history, one for each connection."),
		holes:        d("holes_total", "Live messages that found one missing before them, and were fetched with it."),
		acks:         d("acks_total", "Read marks moved by clients."),
		unrecorded:   d("deliveries_unrecorded_total", "Ranges of inboxes, and broadcasts, that were delivered and could not be recorded: receipts and events do not know of them."),
		frames:       d("frames_sent_total", "Frames handed to the kernel."),
		bytes:        d("bytes_sent_total", "Bytes handed to the kernel."),
		deferred:     d("frames_deferred_total", "Frames that had to wait in a backlog."),
		received:     d("messages_received_total", "Messages, pings and pongs of clients."),
		panics:       d("panics_total", "Panics recovered, each at the cost of a connection."),
		backlogged:   d("backlogged_connections", "Connections with a backlog."),
		backlogBytes: d("backlog_bytes", "Bytes that wait for clients to read, a frame counted for each of them."),
		inputBytes:   d("input_bytes", "Buffers that hold what clients have begun and not finished: heads of requests, messages.", "kind"),
		waiting:      d("store_calls_waiting", "Calls of the store that wait for a worker."),
		turns:        d("turn_seconds", "Time that loops spent in a turn, without waiting."),
		deflations:   d("deflations_total", "Messages compressed, each once however many connections get it."),
		deflated:     d("messages_deflated_total", "Messages sent compressed, one for each connection."),
		deflateBytes: d("deflated_bytes_total", "Bytes of what was sent compressed, before and after.", "stage"),
		inflated:     d("messages_inflated_total", "Messages of clients that came compressed."),
		flusher:      d("flusher_info", "How frames are handed to the kernel.", "flusher"),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, n int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	r := c.server.reactor.Stats()
	gauge(c.connections, r.Connecting+r.Waiting, "connecting")
	gauge(c.connections, r.Open, "open")
	gauge(c.connections, r.Closing, "closing")
	for i, n := range r.Handshakes {
		counter(c.handshakes, n, strconv.Itoa(reactor.Outcome(i).Status()))
	}
	for i, n := range c.server.reactor.Refused() {
		counter(c.refused, n, reactor.Refusal(i).String())
	}
	for i, n := range r.Closes {
		counter(c.closes, n, reactor.Reason(i).String())
	}
	for i, n := range r.Errors {
		counter(c.errors, n, proto.CloseErrorMetrics[i])
	}
	counter(c.frames, r.Frames)
	counter(c.bytes, r.Bytes)
	counter(c.deferred, r.Deferred)
	counter(c.received, r.Messages)
	counter(c.panics, r.Panics)
	gauge(c.backlogged, r.Backlogged)
	gauge(c.backlogBytes, r.BacklogBytes)
	gauge(c.inputBytes, r.HeadBytes, "head")
	gauge(c.inputBytes, r.InputBytes, "message")
	gauge(c.waiting, c.server.calls.depth())
	gauge(c.flusher, 1, c.server.reactor.Flusher())
	ch <- turns(c.turns, &r.Turns)
	counter(c.deflations, r.Deflations)
	counter(c.deflated, r.Deflated)
	counter(c.deflateBytes, r.DeflatedFrom, "before")
	counter(c.deflateBytes, r.DeflatedTo, "after")
	counter(c.inflated, r.Inflated)

	s := c.server.stats()
	counter(c.deliveries, s.Inbox, "inbox")
	counter(c.deliveries, s.Broadcast, "broadcast")
	counter(c.deliveries, s.Ephemeral, "none")
	for i, n := range s.Dropped {
		counter(c.dropped, n, dropWords[i])
	}
	counter(c.replayed, s.Replayed)
	counter(c.holes, s.Holes)
	counter(c.acks, s.Acks)
	counter(c.unrecorded, s.Unrecorded)
}

func turns(d *prometheus.Desc, h *reactor.Histogram) prometheus.Metric {
	buckets := make(map[float64]uint64, len(h.Buckets))
	n := uint64(0)
	for i, k := range h.Buckets {
		n += k
		buckets[reactor.TurnBounds[i].Seconds()] = n
	}
	return prometheus.MustNewConstHistogram(d, h.Count, h.Sum.Seconds(), buckets)
}

// stats returns the sum over all shards.
func (s *Server) stats() (sum stats) {
	sum.Unrecorded = s.reporter.Dropped()
	for i := range sum.Dropped {
		sum.Dropped[i] = s.subscribers.dropped[i].Load()
	}
	for _, sh := range s.shards {
		sh.published.mu.Lock()
		n := sh.published.stats
		sh.published.mu.Unlock()
		sum.Inbox += n.Inbox
		sum.Broadcast += n.Broadcast
		sum.Replayed += n.Replayed
		sum.Holes += n.Holes
		sum.Acks += n.Acks
		sum.Ephemeral += n.Ephemeral
		sum.Unrecorded += n.Unrecorded
		for i, dropped := range n.Dropped {
			sum.Dropped[i] += dropped
		}
		sum.Sessions += n.Sessions
	}
	return sum
}
