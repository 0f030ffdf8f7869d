package batch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/batch"
)

var allFormats = []string{".jsonl", ".json", ".csv", ".parquet", ".tar"}

// content returns the bytes of results, without their timings.
func content(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return timings.ReplaceAllString(string(data), "")
}

// TestRetryFormats: failures in results of any format are asked again, also by a run that
// is broken off, and what is there in the end is what a run without failures writes.
func TestRetryFormats(t *testing.T) {
	e := open(t)
	for _, ext := range allFormats {
		t.Run(ext, func(t *testing.T) {
			dir := pictures(t, 8)
			lines := filepath.Join(dir, "q.jsonl")
			put(t, lines, []byte(`{"id":"two","images":["0001.png","0002.png"],"prompt":"\"a,\n","k":["<",1.50]}`+"\n"+`{"id":"late","image":"later/late.png","prompt":""}`+"\n"))
			o := newOptions(e, filepath.Join(t.TempDir(), "o"+ext), dir, lines)
			bad := []string{filepath.Join(dir, "0003.png"), filepath.Join(dir, "later", "late.png")}
			if err := os.Mkdir(filepath.Dir(bad[1]), 0o777); err != nil {
				t.Fatal(err)
			}
			put(t, bad[0], []byte("broken"))
			if p := run(t, e, o); p.Failed != 2 {
				t.Fatalf("%+v", p)
			}
			before := content(t, o.Output)
			put(t, bad[0], picture(t, 3))
			again := o
			again.RetryFailed = true
			ctx, cancel := context.WithCancel(t.Context())
			broken := again
			stopAfter(&broken, 1, cancel)
			if _, err := batch.Run(ctx, e, broken); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			if ext != ".jsonl" && content(t, o.Output) != before {
				t.Error("the results have changed before the new ones are complete")
			}
			put(t, bad[1], picture(t, 9))
			if p := run(t, e, again); p.Done != 10 || p.Failed != 0 || p.Answered > 2 {
				t.Errorf("%+v", p)
			}
			whole := newOptions(e, filepath.Join(t.TempDir(), "o"+ext), dir, lines)
			run(t, e, whole)
			got, want := content(t, o.Output), content(t, whole.Output)
			if ext != ".tar" && got != want || len(got) == 0 {
				t.Errorf("got\n%.2000q\nwant\n%.2000q", got, want)
			}
			if ext == ".tar" && !slices.Equal(members(t, o.Output), members(t, whole.Output)) {
				t.Errorf("%q", members(t, o.Output))
			}
			if left, _ := filepath.Glob(o.Output + ".*"); len(left) != 1 && ext == ".jsonl" || len(left) != 2 && ext != ".jsonl" {
				t.Errorf("left over: %q", left)
			}
		})
	}
}

// TestMergeFormats: parts of any format are merged, into what an unbroken run writes.
func TestMergeFormats(t *testing.T) {
	e, dir := open(t), pictures(t, 7)
	for _, from := range allFormats {
		outputs := map[string]batch.Options{}
		for _, to := range allFormats {
			o := newOptions(e, filepath.Join(t.TempDir(), "whole"+to), dir, "gone.png")
			run(t, e, o)
			outputs[to] = o
		}
		o := newOptions(e, filepath.Join(t.TempDir(), "o"+from), dir, "gone.png")
		for i := range 3 {
			o.Part = part(t, fmt.Sprintf("%d/3", i))
			run(t, e, o)
		}
		var found []string
		v, err := batch.Verify(t.Context(), o.Output, func(f batch.Finding) error {
			found = append(found, f.Kind+" "+f.ID+" "+f.Code)
			return nil
		})
		if err != nil || v.Records != 8 || !slices.Equal(found, []string{"failed gone.png not_found"}) {
			t.Errorf("%s: %+v, %v, %q", from, v, err, found)
		}
		for _, to := range allFormats {
			t.Run(from+" to "+to, func(t *testing.T) {
				merged := filepath.Join(t.TempDir(), "merged"+to)
				err := batch.Merge(t.Context(), o.Output, merged, false)
				columns := func(ext string) bool { return ext == ".csv" || ext == ".parquet" }
				if columns(from) && !columns(to) {
					if err == nil || !strings.Contains(err.Error(), "have only a part of each record") {
						t.Errorf("%v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if to == ".tar" || from == ".csv" && to == ".parquet" { // times differ in length; a table of text has no null
					if info, err := os.Stat(merged); err != nil || info.Size() == 0 {
						t.Error(err)
					}
				} else if got, want := content(t, merged), content(t, outputs[to].Output); got != want {
					t.Errorf("got\n%.2000q\nwant\n%.2000q", got, want)
				}
			})
		}
	}
}

// TestReread: results that are damaged, or not as they were written, are said to be.
func TestReread(t *testing.T) {
	e, dir := open(t), pictures(t, 3)
	change := func(from, to string) func([]byte) []byte {
		return func(data []byte) []byte { return bytes.Replace(data, []byte(from), []byte(to), 1) }
	}
	cut := func(data []byte) []byte { return data[:len(data)*2/3] }
	for _, c := range []struct {
		name, ext, want string
		spoil           func(data []byte) []byte
	}{
		{"JSON cut off", ".json", "unexpected EOF", cut},
		{"JSON that is an object", ".json", "not an array of records", change("[", "{")},
		{"JSON of others", ".json", "an element is not a record", change(`{"id":`, `{"name":`)},
		{"tar cut off", ".tar", "unexpected EOF", cut},
		{"CSV with other columns", ".csv", "does not name the columns", change("id,", "name,")},
		{"CSV with a text for a number", ".csv", "invalid syntax", change(",length,", ",length,x")},
		{"CSV with CR LF", ".csv", "CR and LF", change("\n", "\r\n")},
		{"CSV with too few fields", ".csv", "wrong number of fields", change(",length,", "length")},
		{"Parquet cut off", ".parquet", "", cut},
		{"Parquet of zeros", ".parquet", "", func(data []byte) []byte { clear(data[8 : len(data)-300]); return data }},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newOptions(e, filepath.Join(t.TempDir(), "o"+c.ext), dir, "gone.png")
			run(t, e, o)
			data, err := os.ReadFile(o.Output)
			if err != nil {
				t.Fatal(err)
			}
			put(t, o.Output, c.spoil(data))
			again := o
			again.RetryFailed = true
			if _, err := batch.Run(t.Context(), e, again); err == nil || !strings.Contains(err.Error(), c.want) || strings.Count(err.Error(), o.Output) != 1 {
				t.Errorf("retry: %v, want %s", err, c.want)
			}
			if err := batch.Merge(t.Context(), o.Output, filepath.Join(t.TempDir(), "m"+c.ext), false); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("merge: %v, want %s", err, c.want)
			}
			damaged := false
			if _, err := batch.Verify(t.Context(), o.Output, func(f batch.Finding) error {
				damaged = damaged || f.Kind == batch.FoundDamaged && strings.Contains(f.Message, c.want)
				return nil
			}); err != nil || !damaged {
				t.Errorf("verify: %v", err)
			}
		})
	}
}
