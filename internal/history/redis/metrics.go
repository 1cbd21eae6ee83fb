package redis

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"pushd.example/internal/history"
)

// metrics are the engine's counters. A nil one counts nothing.
type metrics struct {
	registerer prometheus.Registerer
	collectors []prometheus.Collector

	appends   *prometheus.CounterVec
	resyncs   prometheus.Counter
	pipelines prometheus.Histogram
	exchanges prometheus.Histogram
}

func newMetrics(r prometheus.Registerer, s *Store) (*metrics, error) {
	if r == nil {
		return nil, nil
	}
	m := &metrics{
		registerer: r,
		appends: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pushd_history_appends_total", Help: "Pushes, by kind and by result.",
		}, []string{"kind", "result"}),
		resyncs: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pushd_history_resyncs_total",
			Help: "Times that all connections had to read on from history, because this node may have missed messages.",
		}),
		pipelines: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "pushd_history_group_size", Help: "Commands sent to Redis in one batch.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 10),
		}),
		exchanges: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "pushd_history_exchange_seconds", Help: "Time from sending a batch of commands to Redis until all are answered.",
			Buckets: prometheus.ExponentialBuckets(50e-6, 2, 18),
		}),
	}
	m.collectors = []prometheus.Collector{m.appends, m.resyncs, m.pipelines, m.exchanges, &gauges{s}}
	for i, c := range m.collectors {
		if err := r.Register(c); err != nil {
			m.collectors = m.collectors[:i]
			m.unregister()
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) unregister() {
	if m == nil {
		return
	}
	for _, c := range m.collectors {
		m.registerer.Unregister(c)
	}
}

func (m *metrics) appended(k history.Kind, r history.AppendResult, err error) {
	if m == nil {
		return
	}
	result := "stored"
	if err != nil {
		result = "error"
	} else if r.Duplicate {
		result = "duplicate"
	}
	m.appends.WithLabelValues(k.String(), result).Inc()
}

func (m *metrics) resynced() {
	if m != nil {
		m.resyncs.Inc()
	}
}

func (m *metrics) exchanged(ops int, seconds float64) {
	if m != nil {
		m.pipelines.Observe(float64(ops))
		m.exchanges.Observe(seconds)
	}
}

// gauges are read when they are asked for.
type gauges struct{ store *Store }

var (
	upDesc = prometheus.NewDesc("pushd_history_partitions_up",
		"Partitions that take pushes and return this node's pushes to itself.", nil, nil)
	partitionsDesc = prometheus.NewDesc("pushd_history_partitions", "Partitions of the data.", nil, nil)
	nodesDesc      = prometheus.NewDesc("pushd_history_nodes", "Nodes that use this history, as the first partition knows them.", nil, nil)
	waitingDesc    = prometheus.NewDesc("pushd_history_calls_waiting", "Commands that wait to be sent to Redis.", nil, nil)
)

// Describe implements prometheus.Collector.
func (g *gauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{upDesc, partitionsDesc, nodesDesc, waitingDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	up, waiting, nodes := 0, 0, 0
	for i, p := range g.store.partitions {
		if p.ready() == nil {
			up++
		}
		if i == 0 {
			nodes = len(p.nodesNow())
		}
		waiting += p.writes.depth() + p.reads.depth()
	}
	gauge := func(d *prometheus.Desc, v int) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v))
	}
	gauge(upDesc, up)
	gauge(partitionsDesc, len(g.store.partitions))
	gauge(nodesDesc, nodes)
	gauge(waitingDesc, waiting)
}
