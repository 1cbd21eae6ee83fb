package rpc

import (
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
)

// metrics are the counters of calls. Only the interceptor counts.
type metrics struct {
	methods map[string]*methodMetrics // by full method name
	other   *methodMetrics            // of methods without a rule
	panics  prometheus.Counter
	limited *prometheus.CounterVec // by API key
}

// methodMetrics are the metrics of one method. They are looked up once, because a
// lookup by labels in every call would cost as much as the counting.
type methodMetrics struct {
	ok       prometheus.Counter
	notOK    *prometheus.CounterVec // by code
	duration prometheus.Observer
}

// newMetrics makes the metrics of the methods in rules and registers them with
// reg, unless it is nil.
func newMetrics(reg prometheus.Registerer, rules map[string]rule) (*metrics, error) {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "pushd_rpc_requests_total",
		Help: "Finished calls over gRPC and REST, by method and gRPC code.",
	}, []string{"method", "code"})
	duration := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "pushd_rpc_duration_seconds",
		Help:    "Time from the decoded head of a call to its reply, or to the end of a stream.",
		Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	}, []string{"method"})
	m := &metrics{
		methods: make(map[string]*methodMetrics, len(rules)),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pushd_rpc_panics_total",
			Help: "Panics that were recovered. Each ended one call.",
		}),
		limited: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pushd_rpc_rate_limited_total",
			Help: "Requests over the rate of their API key, by the key's name. They were refused, or on a Publish stream delayed.",
		}, []string{"key"}),
	}
	of := func(label string) *methodMetrics {
		return &methodMetrics{
			ok:       requests.WithLabelValues(label, codes.OK.String()),
			notOK:    requests.MustCurryWith(prometheus.Labels{"method": label}),
			duration: duration.WithLabelValues(label),
		}
	}
	for method := range rules {
		m.methods[method] = of(strings.TrimPrefix(method, "/"))
	}
	m.other = of("other")
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{requests, duration, m.panics, m.limited} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("rpc: registering metrics: %w", err)
		}
	}
	return m, nil
}

// done counts a call that ended with code.
func (m *metrics) done(method string, code codes.Code, took time.Duration) {
	of, ok := m.methods[method]
	if !ok {
		of = m.other
	}
	if code == codes.OK {
		of.ok.Inc()
	} else {
		of.notOK.WithLabelValues(code.String()).Inc()
	}
	of.duration.Observe(took.Seconds())
}
