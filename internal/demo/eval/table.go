package eval

import (
	"fmt"
	"io"
	"text/tabwriter"

	"paligemma/internal/demo/scene"
)

// Row is a model with its marks.
type Row struct {
	Type    string  `json:"type"`
	Bytes   int64   `json:"bytes"`   // of the file
	Seconds float64 `json:"seconds"` // for all answers
	*Scores
}

// WriteTable prints a line for each model: percentages.
func WriteTable(w io.Writer, rows []Row) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "type\tMB\tcaption F1\tVQA\t")
	for _, kind := range scene.Kinds {
		fmt.Fprintf(t, "%s\t", kind)
	}
	fmt.Fprint(t, "detect F1\tbox IoU\tmask IoU\tOCR\tabsent\t\n")
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%.1f\t%s\t%s\t", r.Type, float64(r.Bytes)/1e6, percent(r.CaptionF1()), percent(r.VQAMean()))
		for _, kind := range scene.Kinds {
			fmt.Fprintf(t, "%s\t", percent(r.VQA[kind].Value()))
		}
		for _, v := range []float64{r.Detect.F1(), r.Box.Value(), r.Mask.Value(), r.OCR.Value(), r.Absent.Value()} {
			fmt.Fprintf(t, "%s\t", percent(v))
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

func percent(v float64) string { return fmt.Sprintf("%.1f", 100*v) }
