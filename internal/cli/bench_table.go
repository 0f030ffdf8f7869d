package cli

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"

	"paligemma/internal/bench"
	"paligemma/internal/units"
)

// benchRow is a line of the table.
type benchRow struct {
	what, unit     string
	mid, low, high float64
	achieved       string
}

// writeBenchRows writes a section of the table, and an empty line.
func writeBenchRows(b *bytes.Buffer, what string, rows []benchRow) error {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s\tUNIT\tMEDIAN\tMIN\tMAX\tACHIEVED\n", what)
	for _, row := range rows {
		if row.mid > 0 {
			fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("%s\t%s\t%.2f\t%.2f\t%.2f\t%s", row.what, row.unit, row.mid, row.low, row.high, row.achieved), "\t"))
		}
	}
	err := w.Flush()
	fmt.Fprintln(b)
	return err
}

// benchText is the table.
func benchText(r *bench.Report) (string, error) {
	var b bytes.Buffer
	kind := ""
	if r.Synthetic {
		kind = "synthetic, "
	}
	fmt.Fprintf(&b, "%s: %s%s, %s weights in %s\n", r.Model, kind, r.Type, units.Number(r.Parameters), units.Bytes(r.Bytes))
	fmt.Fprintf(&b, "%s, %s: %s\n", r.Device, units.Count(r.Threads, "thread", "threads"), r.CPU)
	fmt.Fprintf(&b, "%d prompt tokens, %d decoded, %s\n\n", r.PrefillTokens, r.DecodeTokens, units.Count(r.Repetitions, "repetition", "repetitions"))

	low, high := r.Spread()
	rows := []benchRow{
		{"open", "ms", r.Open, low.Open, high.Open, ""},
		{"tokenizer", "ms", r.Tokenizer, low.Tokenizer, high.Tokenizer, ""},
		{"image", "ms", r.Image, low.Image, high.Image, ""},
		{"vision", "ms", r.Vision, low.Vision, high.Vision, fmt.Sprintf("%.1f GFLOPS", r.VisionGFLOPS)},
		{"prefill", "ms", r.Prefill, low.Prefill, high.Prefill, fmt.Sprintf("%.1f GFLOPS", r.PrefillGFLOPS)},
		{"decode", "tokens/s", r.DecodeRate, low.DecodeRate, high.DecodeRate, fmt.Sprintf("%.1f GB/s", r.DecodeGBs)},
		{"first token", "ms", r.FirstToken, low.FirstToken, high.FirstToken, ""},
		{"caption of 20", "ms", r.Caption20, low.Caption20, high.Caption20, ""},
	}
	if err := writeBenchRows(&b, "WHAT", rows); err != nil {
		return "", err
	}
	if len(r.Sequences) > 0 {
		rows = nil
		for i, s := range r.Sequences {
			rows = append(rows, benchRow{strconv.Itoa(s.N), "ms/step", s.Step, low.Sequences[i].Step, high.Sequences[i].Step, fmt.Sprintf("%.1f tokens/s", s.Rate)})
		}
		if err := writeBenchRows(&b, "SEQUENCES", rows); err != nil {
			return "", err
		}
	}
	if r.PeakRSS > 0 {
		fmt.Fprintf(&b, "peak memory: %s\n", units.Bytes(r.PeakRSS))
	}
	if p := r.Probe; p != nil {
		fmt.Fprintf(&b, "what ggml reaches here: reads %.1f GB/s; products in f32 %.0f, bf16 %.0f, q8_0 %.0f, q4_k %.0f GFLOPS\n", p.Read, p.F32, p.BF16, p.Q8_0, p.Q4_K)
	}
	if r.LoadAverage > 0 {
		fmt.Fprintf(&b, "load average before: %.2f\n", r.LoadAverage)
	}
	if by := r.Unsteady(); by > 0 {
		fmt.Fprintf(&b, "the runs differ by %.0f%%: something else was using the machine; measure again when it is quiet\n", 100*by)
	}
	return b.String(), nil
}
