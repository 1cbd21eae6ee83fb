//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"
)

// report is the result of a run: what -json prints, described in
// docs/performance.md. Times are in the unit that their names end with.
type report struct {
	Mode        string         `json:"mode"`
	Via         string         `json:"via,omitempty"`
	Connections int            `json:"connections"`
	Users       int            `json:"users"`
	Stuck       int            `json:"stuck"`
	Processes   int            `json:"processes"`
	Machine     machine        `json:"machine"`
	Connect     connectReport  `json:"connect"`
	Memory      memoryReport   `json:"memory"`
	Push        *pushReport    `json:"push,omitempty"`
	Storm       *stormReport   `json:"storm,omitempty"`
	Errors      map[string]int `json:"errors"`

	cfg *config
}

type connectReport struct {
	Opened  int     `json:"opened"`
	Failed  int     `json:"failed"`
	Retried int     `json:"retried"`
	Seconds float64 `json:"seconds"`
	PerS    float64 `json:"per_second"`
	// ServerCPU is per connection.
	ServerCPU float64 `json:"server_cpu_us"`
	Latency   latency `json:"latency_ms"`
}

// stormReport is what became of further connections, and of the messages to
// those that were there, at the same time.
type stormReport struct {
	Connections int `json:"connections"`
	Processes   int `json:"processes"`
	// Connect's CPU is what there is beyond that of as many messages before.
	Connect connectReport `json:"connect"`
	// Push has no CPU of its own.
	Push *pushReport `json:"push"`
	// Slower is how many times as long as before half and 99 % of deliveries
	// took.
	Slower struct {
		P50 float64 `json:"p50"`
		P99 float64 `json:"p99"`
	} `json:"slower"`
}

type memoryReport struct {
	Steps []memoryStep `json:"steps"`
	// The slope between the first step and the last.
	RSS  float64 `json:"rss_bytes_per_connection"`
	Anon float64 `json:"anon_bytes_per_connection"`
}

type memoryStep struct {
	Connections int `json:"connections"`
	memory
}

type pushReport struct {
	Rate     float64 `json:"rate"` // asked for; 0: flat out
	Callers  int     `json:"callers"`
	Size     int     `json:"size_bytes"`
	Messages int     `json:"messages"` // that the server took
	Failed   int     `json:"failed"`
	Unsent   int64   `json:"unsent"`
	Seconds  float64 `json:"seconds"` // from the beginning to the last answer
	PerS     float64 `json:"messages_per_second"`

	Expected       int64   `json:"expected"`
	Deliveries     int64   `json:"deliveries"`
	Lost           int64   `json:"lost"`
	Duplicates     int64   `json:"duplicates"`
	Closed         int     `json:"closed"`           // connections that ended
	DeliveryS      float64 `json:"delivery_seconds"` // from the beginning to the last delivery
	DeliveriesPerS float64 `json:"deliveries_per_second"`
	Bytes          float64 `json:"bytes_per_delivery"`

	Delivery latency `json:"delivery_ms"` // due → received
	Call     latency `json:"call_ms"`     // due → answered
	Late     latency `json:"late_ms"`     // due → sent

	ServerCPUDelivery float64 `json:"server_cpu_us_per_delivery"`
	ServerCPUMessage  float64 `json:"server_cpu_us_per_message"`
	ServerCores       float64 `json:"server_cores"` // busy on average until the last delivery
	ClientCPUDelivery float64 `json:"client_cpu_us_per_delivery"`
}

// latency sums up a histogram, in milliseconds.
type latency struct {
	Count uint64  `json:"count"`
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p999"`
	Max   float64 `json:"max"`
}

func newLatency(h *histogram) latency {
	ms := func(d time.Duration) float64 { return float64(d) / 1e6 }
	return latency{
		Count: h.N, Mean: ms(h.mean()), P50: ms(h.quantile(.5)), P90: ms(h.quantile(.9)),
		P99: ms(h.quantile(.99)), P999: ms(h.quantile(.999)), Max: ms(h.Max),
	}
}

func newReport(cfg *config) report {
	r := report{
		Mode: cfg.mode, Connections: cfg.hold.Conns, Users: cfg.hold.Users, Stuck: cfg.hold.Stuck, Processes: cfg.procs,
		Machine: thisMachine(), Memory: memoryReport{Steps: []memoryStep{}}, Errors: map[string]int{}, cfg: cfg,
	}
	if cfg.mode != "connect" {
		r.Via = cfg.via
	}
	return r
}

func newConnectReport(t tally, got *result, took, cpu time.Duration) connectReport {
	opened := t.Open + t.Closed
	return connectReport{
		Opened: opened, Failed: t.Failed, Retried: t.Retried, Seconds: took.Seconds(),
		PerS: ratio(float64(opened), took.Seconds()), ServerCPU: micros(cpu, int64(opened)), Latency: newLatency(&got.Connect),
	}
}

// connected fills in what opening the connections took.
func (r *report) connected(t tally, got *result, took, cpu time.Duration) {
	r.Connect = newConnectReport(t, got, took, cpu)
	maps.Copy(r.Errors, got.Errors)
	if s := r.Memory.Steps; len(s) > 1 {
		first, last := s[0], s[len(s)-1]
		more := float64(last.Connections - first.Connections)
		r.Memory.RSS = float64(last.RSS-first.RSS) / more
		r.Memory.Anon = float64(last.Anon-first.Anon) / more
	}
}

// pushed is what a run of messages left behind.
type pushed struct {
	driven    *driven
	result    *result
	tally     tally
	verdict   verdict
	serverCPU time.Duration
	clientCPU time.Duration
}

// pushed sums up what a run of messages did.
func (r *report) pushed(p pushed) *pushReport {
	d, t := p.driven, p.tally
	sent := int64(d.calls) - int64(len(d.failed))
	seconds := time.Duration(d.end - d.start).Seconds()
	delivery := time.Duration(max(0, t.Last-d.start)).Seconds()
	delivered := int64(t.Deliveries)

	l := r.cfg.load
	q := &pushReport{Rate: l.rate, Callers: l.callers, Size: l.size}
	q.Messages, q.Failed, q.Unsent = int(sent), len(d.failed), d.unsent
	q.Seconds, q.PerS = seconds, ratio(float64(sent), seconds)
	q.Expected, q.Deliveries, q.Lost, q.Duplicates = p.verdict.expected, delivered, p.verdict.lost, p.verdict.duplicates
	q.Closed, q.DeliveryS = t.Closed, delivery
	q.DeliveriesPerS, q.Bytes = ratio(float64(delivered), delivery), ratio(float64(t.Bytes), float64(delivered))
	q.Delivery, q.Call, q.Late = newLatency(&p.result.Delivery), newLatency(&d.call), newLatency(&d.late)
	q.ServerCPUDelivery, q.ServerCPUMessage = micros(p.serverCPU, delivered), micros(p.serverCPU, sent)
	q.ServerCores = ratio(p.serverCPU.Seconds(), max(seconds, delivery))
	q.ClientCPUDelivery = micros(p.clientCPU, delivered)
	maps.Copy(r.Errors, p.result.Errors)
	maps.Copy(r.Errors, d.errors)
	return q
}

// stormed fills in what became of a storm.
func (r *report) stormed(connect connectReport, push *pushReport) {
	s := &stormReport{Connections: r.cfg.storm, Processes: r.cfg.stormProcs, Connect: connect, Push: push}
	s.Slower.P50 = ratio(s.Push.Delivery.P50, r.Push.Delivery.P50)
	s.Slower.P99 = ratio(s.Push.Delivery.P99, r.Push.Delivery.P99)
	r.Storm = s
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// micros is a share of d, in microseconds.
func micros(d time.Duration, n int64) float64 { return ratio(float64(d)/1e3, float64(n)) }

func (r *report) print(w io.Writer, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	r.printConnect(t)
	r.printMemory(t)
	if r.Push != nil {
		r.printPush(t, r.Mode, r.Push)
	}
	if s := r.Storm; s != nil {
		fmt.Fprintln(t)
		r.printOpened(t, "storm", s.Connections, s.Connect)
		r.printPush(t, r.Mode, s.Push)
		fmt.Fprintf(t, "storm/before\tp50 %.2f ×, p99 %.2f ×\n", s.Slower.P50, s.Slower.P99)
	}
	for _, text := range slices.Sorted(maps.Keys(r.Errors)) {
		fmt.Fprintf(t, "error\t%s×  %s\n", group(int64(r.Errors[text])), text)
	}
	return t.Flush()
}

func (r *report) printConnect(w io.Writer) {
	r.printOpened(w, "connect", r.Connections, r.Connect)
}

func (r *report) printOpened(w io.Writer, name string, wanted int, c connectReport) {
	fmt.Fprintf(w, "%s\t%s of %s in %.2f s, %s/s; failed %s, put off %s\n",
		name, group(int64(c.Opened)), group(int64(wanted)), c.Seconds, group(int64(c.PerS)), group(int64(c.Failed)), group(int64(c.Retried)))
	printLatency(w, "", c.Latency)
	if r.cfg.server.pid != 0 {
		fmt.Fprintf(w, "\tserver CPU %.1f µs each\n", c.ServerCPU)
	}
}

func (r *report) printMemory(w io.Writer) {
	for i, s := range r.Memory.Steps {
		name := ""
		if i == 0 {
			name = "memory"
		}
		fmt.Fprintf(w, "%s\t%s connections: RSS %.1f MB, anonymous %.1f MB\n", name, group(int64(s.Connections)), float64(s.RSS)/1e6, float64(s.Anon)/1e6)
	}
	if s := r.Memory.Steps; len(s) > 1 {
		fmt.Fprintf(w, "\teach one more: RSS %.0f B, anonymous %.0f B\n", r.Memory.RSS, r.Memory.Anon)
	}
}

func (r *report) printPush(w io.Writer, name string, p *pushReport) {
	how := fmt.Sprintf("flat out with %d callers", p.Callers)
	if p.Rate > 0 {
		how = fmt.Sprintf("%g/s asked for", p.Rate)
	}
	fmt.Fprintf(w, "%s\t%s in %.2f s, %s/s (%s, %s); failed %s, unsent %s\n",
		name, group(int64(p.Messages)), p.Seconds, perSecond(p.PerS), r.Via, how, group(int64(p.Failed)), group(p.Unsent))
	fmt.Fprintf(w, "delivered\t%s of %s in %.2f s, %s/s; lost %s, twice %s; %.0f B each; connections lost %s\n",
		group(p.Deliveries), group(p.Expected), p.DeliveryS, perSecond(p.DeliveriesPerS), group(p.Lost), group(p.Duplicates), p.Bytes, group(int64(p.Closed)))
	printLatency(w, "due → received", p.Delivery)
	printLatency(w, "due → answered", p.Call)
	printLatency(w, "due → sent", p.Late)
	if p.ServerCPUMessage > 0 {
		fmt.Fprintf(w, "server CPU\t%.2f µs a delivery, %.1f µs a message, %.2f cores busy\n", p.ServerCPUDelivery, p.ServerCPUMessage, p.ServerCores)
	}
	if p.ClientCPUDelivery > 0 {
		fmt.Fprintf(w, "own CPU\t%.2f µs a delivery\n", p.ClientCPUDelivery)
	}
}

func printLatency(w io.Writer, name string, l latency) {
	if l.Count == 0 {
		return
	}
	fmt.Fprintf(w, "%s\tp50 %s  p90 %s  p99 %s  p99.9 %s  max %s ms\n", name, short(l.P50), short(l.P90), short(l.P99), short(l.P999), short(l.Max))
}

// short writes three digits that count.
func short(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

func perSecond(v float64) string {
	if v < 100 {
		return short(v)
	}
	return group(int64(v))
}

// group writes n with commas between thousands.
func group(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
