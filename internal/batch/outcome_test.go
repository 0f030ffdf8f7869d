package batch_test

import (
	"archive/tar"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"paligemma/internal/batch"
)

func part(t testing.TB, text string) batch.Part {
	t.Helper()
	p, err := batch.ParsePart(text, os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestParts: the parts of a run are together what an unbroken run writes, and merged
// they are in its order.
func TestParts(t *testing.T) {
	e, dir := open(t), pictures(t, 11)
	lines := filepath.Join(dir, "q.jsonl")
	put(t, lines, []byte(`{"id":"x","image":"0001.png","prompt":"its own"}`+"\n"+`{"id":"y","image":"gone.png"}`+"\n"))
	for _, c := range []struct {
		name    string
		output  string
		parts   int
		prompts []string
		args    []string
	}{
		{"file, records dealt out", "o.jsonl", 3, []string{"caption en"}, []string{dir, lines}},
		{"folder, records dealt out", "o", 3, []string{"caption en"}, []string{dir, lines}},
		{"several prompts", "o.jsonl", 4, []string{"caption en", "ocr", "x"}, []string{dir, lines}},
		{"more parts than records", "o.jsonl", 20, []string{"caption en"}, []string{dir, lines}},
		{"folder, whole files", "o", 2, []string{"caption en"}, []string{dir, lines}},
		{"one part", "o", 1, []string{"caption en"}, []string{dir, lines}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tmp := t.TempDir()
			o := newOptions(e, filepath.Join(tmp, "whole.jsonl"), c.args...)
			o.Task.Prompts, o.Job.Prompts = c.prompts, c.prompts
			run(t, e, o)
			o.Output = filepath.Join(tmp, c.output)
			for i := range c.parts {
				o.Part = part(t, fmt.Sprintf("%d/%d", i, c.parts))
				run(t, e, o)
			}
			merged := filepath.Join(tmp, "merged.jsonl")
			if err := batch.Merge(t.Context(), o.Output, merged, false); err != nil {
				t.Fatal(err)
			}
			if got, want := results(t, merged), results(t, filepath.Join(tmp, "whole.jsonl")); !slices.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// TestVerify finds each kind of fault.
func TestVerify(t *testing.T) {
	e, dir := open(t), pictures(t, 4)
	for _, c := range []struct {
		name   string
		spoil  func(t *testing.T, path string)
		args   []string
		wanted []string
	}{
		{"sound", nil, []string{dir}, nil},
		{"failed", nil, []string{dir, "gone.png"}, []string{"failed 5 gone.png not_found"}},
		{"double", nil, []string{dir, filepath.Join(dir, "0000.png")}, []string{"double 5 D/0000.png "}},
		{"missing", func(t *testing.T, path string) { os.Remove(path) }, []string{dir}, []string{"missing 0  "}},
		{"incomplete", func(t *testing.T, path string) { os.Rename(path, path+".part") }, []string{dir}, []string{"incomplete 0  "}},
		{"damaged", func(t *testing.T, path string) {
			data, _ := os.ReadFile(path)
			put(t, path, data[:len(data)-9])
		}, []string{dir}, []string{"damaged 4  "}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOptions(e, filepath.Join(t.TempDir(), "o.jsonl"), c.args...)
			run(t, e, o)
			if c.spoil != nil {
				c.spoil(t, o.Output)
			}
			var found []string
			v, err := batch.Verify(t.Context(), o.Output, func(f batch.Finding) error {
				found = append(found, fmt.Sprintf("%s %d %s %s", f.Kind, f.Record, strings.Replace(f.ID, dir, "D", 1), f.Code))
				return nil
			})
			if err != nil || !slices.Equal(found, c.wanted) || int(v.Findings) != len(c.wanted) {
				t.Errorf("%+v, %v: %q, want %q", v, err, found, c.wanted)
			}
		})
	}
}

// TestVerifyNames: a file of a job that names files elsewhere is not believed.
func TestVerifyNames(t *testing.T) {
	out := filepath.Join(t.TempDir(), "o.jsonl")
	for _, job := range []string{`{"outputs":["../x.jsonl"]}`, `{"outputs":["/etc/passwd"]}`, `{}`, `{"outputs":`} {
		put(t, out+".job.json", []byte(job))
		if _, err := batch.Verify(t.Context(), out, func(batch.Finding) error { return nil }); err == nil {
			t.Errorf("%s: no error", job)
		}
	}
}

// TestMergeRefuses incomplete results, and to write over what it reads.
func TestMergeRefuses(t *testing.T) {
	e, dir := open(t), pictures(t, 2)
	out := filepath.Join(t.TempDir(), "o.jsonl")
	run(t, e, newOptions(e, out, dir))
	for _, c := range []struct{ name, from, to, want string }{
		{"itself", out, out, "also an input"},
		{"folder", out, t.TempDir(), "is a folder"},
		{"nothing", "gone.jsonl", "x.jsonl", "no run with this --output has begun"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := batch.Merge(t.Context(), c.from, c.to, true); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}

// TestFormats: each format has all records, and text that is awkward in it.
func TestFormats(t *testing.T) {
	e, dir := open(t), t.TempDir()
	for i := range 3 {
		put(t, filepath.Join(dir, fmt.Sprintf("%d.v1.png", i)), picture(t, i))
	}
	lines := filepath.Join(dir, "q.jsonl")
	put(t, lines, []byte(`{"id":"a/0.v1.png","image":"0.v1.png","prompt":"x","k":[1,"\n,\""]}`+"\n"+`{"id":"\u0000..//é","image":"1.v1.png","prompt":"x"}`+"\n"+`{"id":"bad","image":"gone.png"}`))
	read := func(t *testing.T, ext string) string {
		t.Helper()
		o := newOptions(e, filepath.Join(t.TempDir(), "o"+ext), lines)
		for range 2 { // again: nothing is done anew
			if p := run(t, e, o); p.Done != 3 || p.Failed != 1 {
				t.Fatalf("%+v", p)
			}
		}
		if left, _ := filepath.Glob(o.Output + ".part"); left != nil {
			t.Errorf("left: %q", left)
		}
		return o.Output
	}
	t.Run("json", func(t *testing.T) {
		var got []struct{ ID string }
		data, err := os.ReadFile(read(t, ".json"))
		if err != nil || json.Unmarshal(data, &got) != nil || len(got) != 3 || got[1].ID != "\x00..//é" {
			t.Errorf("%v: %s", err, data)
		}
	})
	t.Run("csv", func(t *testing.T) {
		file, err := os.Open(read(t, ".csv"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		rows, err := csv.NewReader(file).ReadAll()
		if err != nil || len(rows) != 4 || rows[1][12] != `{"k":[1,"\n,\""]}` || rows[3][13] != "not_found" {
			t.Errorf("%v: %q", err, rows)
		}
	})
	t.Run("parquet", func(t *testing.T) {
		type row struct {
			ID    string  `parquet:"id"`
			Text  *string `parquet:"text,optional"`
			Code  *string `parquet:"error_code,optional"`
			Input *string `parquet:"input,optional"`
		}
		rows, err := parquet.ReadFile[row](read(t, ".parquet"))
		if err != nil || len(rows) != 3 || rows[0].Text == nil || *rows[0].Input != `{"k":[1,"\n,\""]}` || rows[2].Text != nil || *rows[2].Code != "not_found" {
			t.Errorf("%v: %+v", err, rows)
		}
	})
	t.Run("tar", func(t *testing.T) {
		names := members(t, read(t, ".tar"))
		if want := []string{"a/0_v1.txt", "a/0_v1.json", "_../é.txt", "_../é.json", "bad.json"}; !slices.Equal(names, want) {
			t.Errorf("%q, want %q", names, want)
		}
	})
}

// TestTableBroken: a process may die at each point of making a table of a journal.
func TestTableBroken(t *testing.T) {
	e, dir := open(t), pictures(t, 3)
	lines := newOptions(e, filepath.Join(t.TempDir(), "o.jsonl"), dir)
	run(t, e, lines)
	journal, err := os.ReadFile(lines.Output)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		breakOff func(t *testing.T, path string) error
	}{
		{"before the table", func(t *testing.T, path string) error { return os.Remove(path) }},
		{"before the journal is removed", func(t *testing.T, path string) error { return nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOptions(e, filepath.Join(t.TempDir(), "o.csv"), dir)
			run(t, e, o)
			whole, err := os.ReadFile(o.Output)
			if err := errors.Join(err, c.breakOff(t, o.Output)); err != nil {
				t.Fatal(err)
			}
			put(t, o.Output+".part", journal)
			if p := run(t, e, o); p.Done != 3 || p.Answered != 0 {
				t.Errorf("%+v", p)
			}
			if again, err := os.ReadFile(o.Output); err != nil || !bytes.Equal(again, whole) {
				t.Errorf("%v: %s, want %s", err, again, whole)
			}
			if _, err := os.Stat(o.Output + ".part"); err == nil {
				t.Error("the journal is still there")
			}
		})
	}
}

// members returns the names in an archive.
func members(t testing.TB, path string) (names []string) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for r := tar.NewReader(file); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
}
