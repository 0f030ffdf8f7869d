package server

import (
	"github.com/prometheus/client_golang/prometheus"
)

// stateCollector gives numbers that models have themselves.
type stateCollector struct{ models *models }

// stateMetric is such a number.
type stateMetric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(o *openModel) float64
}

// stateMetrics are the numbers of a model.
var stateMetrics = []stateMetric{
	gauge("num_requests_running", "Requests that have their place.", func(o *openModel) float64 { return float64(o.queue.state().running) }),
	gauge("num_requests_waiting", "Requests that wait for a place.", func(o *openModel) float64 { return float64(o.queue.state().waiting) }),
	gauge("kv_cache_usage_perc", "The share of the memory for keys and values that requests have reserved, 0 to 1.", func(o *openModel) float64 {
		q := o.queue.state()
		return float64(q.taken) / float64(max(1, q.bytes))
	}),
	gauge("kv_cache_bytes", "The memory that keys and values take.", func(o *openModel) float64 { return float64(o.engine.Stats().CacheBytes) }),
	gauge("decode_sequences", "Texts that are decoded together at the moment.", func(o *openModel) float64 { return float64(o.engine.Stats().Sequences) }),
	counter("decode_steps_total", "Steps of decoding.", func(o *openModel) float64 { return float64(o.engine.Stats().Steps) }),
	counter("decode_step_tokens_total", "Tokens of these steps; divided by decode_steps_total, the mean size of a batch.", func(o *openModel) float64 { return float64(o.engine.Stats().Tokens) }),
	counter("decode_step_groups_total", "Groups of texts with the same adapters in these steps; divided by decode_steps_total, how many a step has.", func(o *openModel) float64 { return float64(o.engine.Stats().Groups) }),
	gauge("adapter_sets", "Sets of adapters that are in memory for requests that name them.", func(o *openModel) float64 { return float64(o.engine.Stats().AdapterSets) }),
	gauge("adapter_bytes", "The memory that these take.", func(o *openModel) float64 { return float64(o.engine.Stats().AdapterBytes) }),
	counter("mm_cache_hits_total", "Images that were there already.", func(o *openModel) float64 { return float64(o.images.Stats().Hits) }),
	counter("mm_cache_queries_total", "Images that were asked for.", func(o *openModel) float64 {
		i := o.images.Stats()
		return float64(i.Hits + i.Misses)
	}),
	gauge("mm_cache_bytes", "The memory of images that are kept, with their features.", func(o *openModel) float64 { return float64(o.images.Stats().Bytes) }),
	counter("prefix_cache_hits_total", "Tokens of prompts that were there already, with their images.", func(o *openModel) float64 { return float64(o.engine.Stats().PrefixHitTokens) }),
	counter("prefix_cache_queries_total", "Tokens of prompts that were looked for.", func(o *openModel) float64 { return float64(o.engine.Stats().PrefixTokens) }),
	gauge("prefix_cache_bytes", "The memory of prompts that are kept.", func(o *openModel) float64 { return float64(o.engine.Stats().PrefixBytes) }),
}

func gauge(name, help string, value func(o *openModel) float64) stateMetric {
	return stateMetric{prometheus.NewDesc(metricPrefix+name, help, []string{"model_name"}, nil), prometheus.GaugeValue, value}
}

func counter(name, help string, value func(o *openModel) float64) stateMetric {
	return stateMetric{prometheus.NewDesc(metricPrefix+name, help, []string{"model_name"}, nil), prometheus.CounterValue, value}
}

// Describe implements [prometheus.Collector].
func (c stateCollector) Describe(to chan<- *prometheus.Desc) {
	for _, m := range stateMetrics {
		to <- m.desc
	}
}

// Collect implements [prometheus.Collector]. A model may be open several times, with
// other adapters: its numbers are summed.
func (c stateCollector) Collect(to chan<- prometheus.Metric) {
	for _, m := range stateMetrics {
		sums := map[string]float64{}
		c.models.each(func(o *openModel) { sums[o.name] += m.value(o) })
		for name, sum := range sums {
			to <- prometheus.MustNewConstMetric(m.desc, m.kind, sum, name)
		}
	}
}
