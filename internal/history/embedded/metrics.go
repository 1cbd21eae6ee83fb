package embedded

import (
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/prometheus/client_golang/prometheus"

	"pushd.example/internal/history"
)

// metrics counts what an operator needs. A nil *metrics counts nothing.
type metrics struct {
	registerer prometheus.Registerer
	collectors []prometheus.Collector

	appends [history.Broadcast + 1][results]prometheus.Counter
	groups  prometheus.Histogram
	commits prometheus.Histogram
	stalls  prometheus.Counter
	reopens prometheus.Counter
}

// The results of an append.
const (
	resultStored = iota
	resultDuplicate
	resultError
	results
)

func newMetrics(r prometheus.Registerer, s *Store) (*metrics, error) {
	if r == nil {
		return nil, nil
	}
	m := &metrics{registerer: r}
	appends := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "pushd_history_appends_total",
		Help: "Messages that were to be stored, by kind and result (stored, duplicate, error).",
	}, []string{"kind", "result"})
	for k := history.Unicast; k <= history.Broadcast; k++ {
		for i, result := range [results]string{"stored", "duplicate", "error"} {
			m.appends[k][i] = appends.WithLabelValues(k.String(), result)
		}
	}
	m.groups = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "pushd_history_group_size",
		Help:    "Requests stored together, with one sync.",
		Buckets: prometheus.ExponentialBuckets(1, 2, 11),
	})
	m.commits = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "pushd_history_commit_seconds",
		Help:    "Time to write a group to the log and, with sync always, to force it to disk.",
		Buckets: prometheus.ExponentialBuckets(10e-6, 2, 18),
	})
	m.stalls = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "pushd_history_stalls_total",
		Help: "Times of 5 ms that appends waited because flushes or compactions were behind.",
	})
	m.reopens = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "pushd_history_reopens_total",
		Help: "Times that the history was opened again after a write had failed, and takes pushes again.",
	})
	m.collectors = []prometheus.Collector{appends, m.groups, m.commits, m.stalls, m.reopens, &gauges{store: s}}
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

// group counts a group; err is that of the group as a whole.
func (m *metrics) group(group []*request, err error) {
	if m == nil {
		return
	}
	m.groups.Observe(float64(len(group)))
	for _, r := range group {
		if r.op != opAppend {
			continue
		}
		result := resultStored
		if err != nil || r.err != nil {
			result = resultError
		} else if r.result.Duplicate {
			result = resultDuplicate
		}
		m.appends[r.Kind][result].Inc()
	}
}

func (m *metrics) committed(took time.Duration) {
	if m != nil {
		m.commits.Observe(took.Seconds())
	}
}

func (m *metrics) stalled() {
	if m != nil {
		m.stalls.Inc()
	}
}

func (m *metrics) reopened() {
	if m != nil {
		m.reopens.Inc()
	}
}

// gauges reads Pebble's own figures when they are asked for.
type gauges struct{ store *Store }

type gauge struct {
	desc *prometheus.Desc
	of   func(*pebble.Metrics) float64
}

func newGauge(name, help string, of func(*pebble.Metrics) float64) gauge {
	return gauge{prometheus.NewDesc("pushd_history_"+name, help, nil, nil), of}
}

func pebbleGauges() []gauge {
	return []gauge{
		newGauge("disk_bytes", "Disk space that the history takes.",
			func(m *pebble.Metrics) float64 { return float64(m.DiskSpaceUsage()) }),
		newGauge("wal_bytes", "Size of the logs that are not yet flushed into tables.",
			func(m *pebble.Metrics) float64 { return float64(m.WAL.PhysicalSize) }),
		newGauge("memtable_bytes", "Memory that is not yet flushed into tables.",
			func(m *pebble.Metrics) float64 { return float64(m.MemTable.Size) }),
		newGauge("level0_sublevels", "Unsorted layers that a read looks through; rises when compactions are behind.",
			func(m *pebble.Metrics) float64 { return float64(m.Levels[0].Sublevels) }),
		newGauge("compaction_debt_bytes", "Bytes that compactions have yet to write.",
			func(m *pebble.Metrics) float64 { return float64(m.Compact.EstimatedDebt) }),
		newGauge("cache_bytes", "Memory in the block cache.",
			func(m *pebble.Metrics) float64 { return float64(m.BlockCache.Size) }),
	}
}

var readOnlyDesc = prometheus.NewDesc("pushd_history_read_only",
	"1 while nothing is stored because a write has failed, until the history could be opened again.", nil, nil)

var aheadDesc = prometheus.NewDesc("pushd_history_ids_ahead_seconds",
	"How far the last message id is ahead of the clock: more than a second after the clock was set back.", nil, nil)

// Describe implements prometheus.Collector.
func (g *gauges) Describe(ch chan<- *prometheus.Desc) {
	ch <- readOnlyDesc
	ch <- aheadDesc
	for _, p := range pebbleGauges() {
		ch <- p.desc
	}
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	s := g.store
	s.life.RLock()
	defer s.life.RUnlock()
	if s.closed.Load() {
		return
	}
	readOnly := 0.0
	if s.fault.Load().isBlown() {
		readOnly = 1
	}
	ch <- prometheus.MustNewConstMetric(readOnlyDesc, prometheus.GaugeValue, readOnly)
	ahead := s.headsNow().last.Time().Sub(s.conf.Now())
	ch <- prometheus.MustNewConstMetric(aheadDesc, prometheus.GaugeValue, max(0, ahead.Seconds()))
	if s.db == nil {
		return
	}
	m := s.db.Metrics()
	for _, p := range pebbleGauges() {
		ch <- prometheus.MustNewConstMetric(p.desc, prometheus.GaugeValue, p.of(m))
	}
}
