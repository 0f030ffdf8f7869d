package convert

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"

	"paligemma/internal/gguf"
	"paligemma/internal/model"
	reader "paligemma/internal/tokenizer"
	"paligemma/internal/units"
)

// Row says what became of one tensor.
type Row struct {
	Name   string    // in the GGUF file
	Source string    // where it comes from
	Shape  []int     // true dimensions, innermost first
	Stored []int64   // dimensions in the file: rows may be padded
	From   string    // its type there, in lower case
	Type   gguf.Type // in the file
	Why    string    // "" where the type is simply the one asked for
	Bytes  int64     // in the file
}

// Report says what a conversion did.
type Report struct {
	Path      string // of the output
	Type      string
	Config    model.Config
	Tokenizer reader.Encoding
	Rows      []Row
	Notes     []string // what a user should know, one line each
	Size      int64    // of the file, in bytes
}

// Parameters is the number of weights, padding not counted.
func (r *Report) Parameters() int64 {
	var all int64
	for _, row := range r.Rows {
		n := int64(1)
		for _, d := range row.Shape {
			n *= int64(d)
		}
		all += n
	}
	return all
}

// BitsPerWeight is the size of the whole file over the number of weights.
func (r *Report) BitsPerWeight() float64 {
	return float64(r.Size) * 8 / float64(r.Parameters())
}

// layerNumber finds the layer in a tensor's name of either kind.
var layerNumber = regexp.MustCompile(`(^|\.)(blk|layers)\.\d+\.`)

// layerIndex finds it in an array's name, the first of its indices.
var layerIndex = regexp.MustCompile(`\[\d+`)

// WriteTable prints the rows, alike ones of several layers as one, then the
// totals and the notes.
func (r *Report) WriteTable(w io.Writer) error {
	type group struct {
		row   Row
		count int
		bytes int64
	}
	var groups []*group
	byKey := map[string]*group{}
	first := map[string]int{} // by name: when it came first
	for _, row := range r.Rows {
		row.Name = layerNumber.ReplaceAllString(row.Name, "$1$2.*.")
		row.Source = layerIndex.ReplaceAllString(layerNumber.ReplaceAllString(row.Source, "$1$2.*."), "[*")
		if _, ok := first[row.Name]; !ok {
			first[row.Name] = len(first)
		}
		key := fmt.Sprint(row.Name, row.Source, row.Stored, row.From, row.Type, row.Why)
		g := byKey[key]
		if g == nil {
			g = &group{row: row}
			byKey[key] = g
			groups = append(groups, g)
		}
		g.count++
		g.bytes += row.Bytes
	}
	// What was split by type stays together.
	slices.SortStableFunc(groups, func(a, b *group) int { return first[a.row.Name] - first[b.row.Name] })
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "tensor\tshape\tfrom\tto\tsize\t")
	for _, g := range groups {
		name := g.row.Name
		if g.count > 1 {
			name += fmt.Sprintf(" ×%d", g.count)
		}
		var shape []string
		for _, d := range g.row.Shape {
			shape = append(shape, fmt.Sprint(d))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", name, strings.Join(shape, "×"),
			g.row.From, g.row.Type, units.Bytes(g.bytes), g.row.Why)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, note := range r.Notes {
		if _, err := fmt.Fprintf(w, "note: %s\n", note); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(w, "tokenizer: %s\n", r.Tokenizer); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, r.Summary())
	return err
}

// Summary returns a line about the file: its type, size, bits per weight, and how many
// tensors have which type.
func (r *Report) Summary() string {
	counts := map[string]int{}
	for _, row := range r.Rows {
		counts[row.Type.String()]++
	}
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(counts[b]-counts[a], strings.Compare(a, b))
	})
	for i, name := range names {
		names[i] = units.Number(counts[name]) + " " + name
	}
	return fmt.Sprintf("%s: %s, %s, %.2f bits per weight, %s weights, %s (%s)", r.Path, r.Type, units.Bytes(r.Size), r.BitsPerWeight(),
		units.Number(r.Parameters()), units.Count(len(r.Rows), "tensor", "tensors"), strings.Join(names, ", "))
}
