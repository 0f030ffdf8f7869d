package server

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// ofVLLM are the metrics that vLLM (0.30) has under the same names, and with the same
// meaning.
var ofVLLM = []string{
	"num_requests_running", "num_requests_waiting", "kv_cache_usage_perc", "prefix_cache_hits_total", "prefix_cache_queries_total",
	"mm_cache_hits_total", "mm_cache_queries_total", "prompt_tokens_total", "generation_tokens_total", "time_to_first_token_seconds",
	"inter_token_latency_seconds", "e2e_request_latency_seconds", "request_queue_time_seconds",
}

// metricNames returns the names of all metrics of a server, without the prefix; those of
// the process and of Go left out.
func metricNames(s *Server) []string {
	name := regexp.MustCompile(`fqName: "` + metricPrefix + `([a-z0-9_]+)"`)
	all := make(chan *prometheus.Desc, 1000)
	s.metrics.registry.Describe(all)
	close(all)
	var names []string
	for desc := range all {
		if found := name.FindStringSubmatch(desc.String()); found != nil {
			names = append(names, found[1])
		}
	}
	slices.Sort(names)
	return names
}

// TestMetricNames: what the documentation lists is what there is, and the dashboard asks
// for nothing else.
func TestMetricNames(t *testing.T) {
	names := metricNames(newServer(t, testOptions()))
	if len(names) < 20 {
		t.Fatalf("%q", names)
	}
	for _, name := range ofVLLM {
		if !slices.Contains(names, name) {
			t.Errorf("there is no %s", name)
		}
	}
	docs, err := os.ReadFile("../../docs/server.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(docs), "\n## Metrics\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var listed []string
	for line := range strings.Lines(section) {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			for _, name := range regexp.MustCompile("`([a-z0-9_]+)`").FindAllStringSubmatch(cells[1], -1) {
				listed = append(listed, name[1])
			}
		}
	}
	slices.Sort(listed)
	if !slices.Equal(listed, names) {
		t.Errorf("docs/server.md lists %q\nand there are %q", listed, names)
	}
	for _, name := range askedMetrics(t, "../../deploy/grafana.json") {
		if base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, ""); !slices.Contains(names, name) && !slices.Contains(names, base) {
			t.Errorf("the dashboard asks for %s", name)
		}
	}
}

// askedMetrics returns the metrics of ours that the queries of a dashboard name.
func askedMetrics(t *testing.T, path string) []string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var dashboard any
	if err := json.Unmarshal(data, &dashboard); err != nil {
		t.Fatal(err)
	}
	var names []string
	var visit func(v any)
	visit = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, value := range v {
				if query, ok := value.(string); ok && (key == "expr" || key == "query") {
					for _, name := range regexp.MustCompile(metricPrefix+`([a-z0-9_]+)`).FindAllStringSubmatch(query, -1) {
						names = append(names, name[1])
					}
				}
				visit(value)
			}
		case []any:
			for _, value := range v {
				visit(value)
			}
		}
	}
	visit(dashboard)
	if len(names) < 10 {
		t.Fatalf("%q", names)
	}
	return names
}
