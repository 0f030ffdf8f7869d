package source

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestPrograms reads what other programs write: each of the files has the same four
// pictures and prompts. scripts/batchfixtures makes them.
func TestPrograms(t *testing.T) {
	const dir = "../../../testdata/batch"
	var want [4][]byte
	for i := range want {
		var err error
		if want[i], err = os.ReadFile(filepath.Join(dir, fmt.Sprintf("%d.png", i))); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		files bool   // the pictures are named
		input string // what is carried
	}{
		"datasets.parquet": {}, "datasets-files.parquet": {files: true}, "datasets.jsonl": {files: true},
		"webdataset.tar": {input: `{"label":%d}`}, "webdataset.tar.gz": {input: `{"label":%d}`},
		"pandas.parquet": {}, "pandas-paths.parquet": {files: true}, "pandas.jsonl": {files: true, input: `{"note":"é/\"` + "\u2028" + `","n":%d}`},
		"duckdb.parquet": {}, "duckdb-paths.parquet": {files: true}, "duckdb.jsonl": {files: true},
		"polars.parquet": {}, "polars.jsonl": {files: true},
		"pyarrow-large.parquet": {}, "pyarrow-plain.parquet": {},
	} {
		t.Run(name, func(t *testing.T) {
			records := read(t, Options{Args: []string{filepath.Join(dir, name)}})
			if len(records) != len(want) {
				t.Fatalf("%q", shown(records))
			}
			for i, r := range records {
				prompt := []string{"caption en", "ocr"}[i%2]
				if r.Err != nil || r.ID != fmt.Sprintf("p%d", i) || r.Prompt == nil || *r.Prompt != prompt || len(r.Images) != 1 {
					t.Fatalf("record %d: %q", i, shown(records[i:i+1]))
				}
				if image := r.Images[0]; image.File() != c.files || c.files && image.Name != filepath.Join(dir, fmt.Sprintf("%d.png", i)) || !c.files && !bytes.Equal(image.Data, want[i]) {
					t.Errorf("record %d: %s, %d bytes, %v", i, image.Name, len(image.Data), image.Err)
				}
				if c.input != "" && !sameJSON(t, r.Input, fmt.Sprintf(c.input, i)) {
					t.Errorf("record %d: carried %s", i, r.Input)
				}
			}
		})
	}
	t.Run("coco.json", func(t *testing.T) {
		var lines []string
		for i := range want {
			lines = append(lines, fmt.Sprintf(`%d %s/%d.png {"image_id":%d}`, i, dir, i, i))
		}
		compare(t, read(t, Options{Args: []string{filepath.Join(dir, "coco.json")}}), lines...)
	})
}

// sameJSON compares objects, not how they are written.
func sameJSON(t *testing.T, got []byte, want string) bool {
	t.Helper()
	var a, b map[string]any
	if json.Unmarshal(got, &a) != nil || json.Unmarshal([]byte(want), &b) != nil {
		return false
	}
	return fmt.Sprint(a) == fmt.Sprint(b)
}
