package batch_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/batch"
)

// lists writes files of lines, q0.jsonl with two records, q1.jsonl with three and so on.
func lists(t *testing.T, dir string, n int) (paths []string) {
	t.Helper()
	for i := range n {
		path := filepath.Join(dir, fmt.Sprintf("q%d.jsonl", i))
		var lines strings.Builder
		for line := range i + 2 {
			fmt.Fprintf(&lines, `{"id":"%d-%d","image":"%04d.png","prompt":"x"}`+"\n", i, line, i)
		}
		put(t, path, []byte(lines.String()))
		paths = append(paths, path)
	}
	return paths
}

// TestPartsGrow: parts of which some ran before files were added to the inputs and some after
// are together what one run writes, with every record once, whatever the order.
func TestPartsGrow(t *testing.T) {
	e, dir := open(t), pictures(t, 9)
	paths := lists(t, dir, 9)
	for _, c := range []struct {
		name   string
		output string
		each   int64
		parts  int
		before int // files of inputs
		after  int
	}{
		{"a file for each part", "o.jsonl", 0, 2, 4, 7},
		{"a file for each part, three", "o.jsonl", 0, 3, 4, 9},
		{"in tables", "o.parquet", 0, 2, 4, 4},
		{"numbered files", "o", 3, 2, 4, 7},
		{"a file for each file", "o", 0, 2, 4, 7},
		{"fewer files than parts", "o.jsonl", 0, 4, 3, 6},
		{"fewer files than parts, a file for each", "o", 0, 4, 3, 6},
		{"fewer files than parts, numbered", "o", 3, 4, 3, 6},
	} {
		all := 1<<c.parts - 1
		for _, first := range slices.Compact([]int{0, 1, all &^ 1, all}) { // bits of the parts that run before
			t.Run(fmt.Sprintf("%s/%b", c.name, first), func(t *testing.T) {
				tmp := t.TempDir()
				o := newOptions(e, filepath.Join(tmp, "whole.jsonl"), paths[:c.after]...)
				if first == 0 {
					o.Source.Args = paths[:c.before]
				}
				run(t, e, o)
				want := results(t, o.Output)
				o.Output, o.RecordsPerFile = filepath.Join(tmp, c.output), c.each
				if c.each > 0 {
					if err := os.Mkdir(o.Output, 0o777); err != nil {
						t.Fatal(err)
					}
				}
				o.Source.Args = paths[:c.before]
				for i := range c.parts {
					o.Part = batch.Part{I: i, N: c.parts}
					if first>>i&1 == 1 {
						run(t, e, o)
					}
				}
				if first != 0 { // else there is no job that would remember
					o.Source.Args = paths[:c.after]
				}
				for i := range c.parts {
					o.Part = batch.Part{I: i, N: c.parts}
					run(t, e, o)
				}
				verified(t, o.Output)
				merged := filepath.Join(tmp, "merged"+filepath.Ext(c.output))
				if c.output == "o" {
					merged += ".jsonl"
				}
				if err := batch.Merge(t.Context(), o.Output, merged, false); err != nil {
					t.Fatal(err)
				}
				if filepath.Ext(merged) == ".jsonl" {
					if got := results(t, merged); !slices.Equal(got, want) {
						t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
					}
				}
			})
		}
	}
}

// TestPartsChanged: files that are not added after the others are refused before a part is
// answered, as far as parts share files out.
func TestPartsChanged(t *testing.T) {
	e, dir := open(t), pictures(t, 9)
	paths := lists(t, dir, 9)
	for _, c := range []struct {
		name   string
		change []string
		want   string
	}{
		{"before the others", append([]string{paths[8]}, paths[:4]...), "not those that were shared out to --shard, which were 4"},
		{"among them", slices.Concat(paths[:2], paths[8:], paths[2:4]), "which were 4"},
		{"in another order", []string{paths[0], paths[2], paths[1], paths[3]}, "which were 4"},
		{"fewer", paths[:3], "which were 4"},
		{"none", nil, "which were 4"},
		{"the same, by other names of folders", []string{filepath.Join(dir, ".", "..", filepath.Base(dir), "q0.jsonl"), paths[1], paths[2], paths[3]}, ""},
	} {
		for _, each := range []int64{0, 2} {
			t.Run(fmt.Sprintf("%s/%d", c.name, each), func(t *testing.T) {
				o := newOptions(e, filepath.Join(t.TempDir(), "o.jsonl"), paths[:4]...)
				if o.RecordsPerFile = each; each > 0 {
					o.Output = t.TempDir()
				}
				o.Part = batch.Part{I: 0, N: 2}
				run(t, e, o)
				o.Part.I, o.Source.Args = 1, c.change
				_, err := batch.Run(t.Context(), e, o)
				if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
					t.Fatalf("%v, want %q", err, c.want)
				}
				if check := o.Check(); c.want != "" && !errors.As(check, new(*batch.SharedError)) {
					t.Errorf("before the model is opened: %v", check)
				}
				o.Source.Args = paths[:4]
				run(t, e, o)
				verified(t, o.Output)
				o.Source.Args, o.Overwrite = c.change, true // which shares out anew
				if c.change != nil {
					run(t, e, o)
				}
			})
		}
	}
}

// TestPartsElsewhere: parts that were answered in folders of their own, of different files,
// are found once they are together.
func TestPartsElsewhere(t *testing.T) {
	e, dir := open(t), pictures(t, 9)
	paths := lists(t, dir, 9)
	for _, c := range []struct {
		name string
		n    [2]int // files of each part
		part int    // that is found
		kind string
	}{
		{"the same", [2]int{4, 4}, 0, ""},
		{"more for the second", [2]int{4, 6}, 0, batch.FoundOther},
		{"more for the first", [2]int{6, 4}, 0, batch.FoundOther},
		{"records and files", [2]int{1, 4}, 0, batch.FoundOther},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := t.TempDir()
			for i, n := range c.n {
				o := newOptions(e, filepath.Join(t.TempDir(), "o.jsonl"), paths[:n]...)
				o.Part = batch.Part{I: i, N: 2}
				run(t, e, o)
				names, err := filepath.Glob(o.Output[:len(o.Output)-len(".jsonl")] + "*")
				if err != nil {
					t.Fatal(err)
				}
				for _, name := range names {
					data, err := os.ReadFile(name)
					if err != nil {
						t.Fatal(err)
					}
					put(t, filepath.Join(all, filepath.Base(name)), data)
				}
			}
			var kinds []string
			output := filepath.Join(all, "o.jsonl")
			if _, err := batch.Verify(t.Context(), output, func(f batch.Finding) error {
				if f.Kind != batch.FoundDouble {
					kinds = append(kinds, f.Kind+" "+filepath.Base(f.File))
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			err := batch.Merge(t.Context(), output, filepath.Join(all, "merged.jsonl"), false)
			if c.kind == "" && (kinds != nil || err != nil) || c.kind != "" && (!slices.Equal(kinds, []string{c.kind + " o-0-of-2.jsonl"}) || err == nil) {
				t.Errorf("%q, %v", kinds, err)
			}
		})
	}
}

// TestPartsLeft: the last part, which files were added to, is found until it is run again;
// files without records among them are noted.
func TestPartsLeft(t *testing.T) {
	e, dir := open(t), pictures(t, 9)
	paths := append(lists(t, dir, 6), filepath.Join(dir, "empty.jsonl"))
	put(t, paths[6], nil)
	for _, each := range []int64{0, 2} {
		for name, more := range map[string][]string{"records": paths[:5], "none": {paths[0], paths[1], paths[2], paths[3], paths[6]}} {
			t.Run(fmt.Sprintf("%s/%d", name, each), func(t *testing.T) {
				o := newOptions(e, filepath.Join(t.TempDir(), "o.jsonl"), paths[:4]...)
				if o.RecordsPerFile = each; each > 0 {
					o.Output = t.TempDir()
				}
				parts := func() {
					for i := range 2 {
						o.Part = batch.Part{I: i, N: 2}
						run(t, e, o)
					}
				}
				parts()
				o.Source.Args, o.Part.I = more, 0
				run(t, e, o)
				var found []string
				if _, err := batch.Verify(t.Context(), o.Output, func(f batch.Finding) error {
					found = append(found, f.Kind+" "+f.Message)
					return nil
				}); err != nil || len(found) != 1 || found[0] != "incomplete inputs were added: run its command again" {
					t.Errorf("%q, %v", found, err)
				}
				parts()
				verified(t, o.Output)
			})
		}
	}
}

// TestPartsOfEarlierVersions: a job that does not say which files were shared out is gone on
// with, and says so from then on.
func TestPartsOfEarlierVersions(t *testing.T) {
	e, dir := open(t), pictures(t, 9)
	paths := lists(t, dir, 4)
	o := newOptions(e, filepath.Join(t.TempDir(), "o.jsonl"), paths...)
	o.Part = batch.Part{I: 0, N: 2}
	run(t, e, o)
	var names [2]string
	for i, path := range []string{o.Output + ".job.json", filepath.Join(filepath.Dir(o.Output), "o-0-of-2.stats.json")} {
		var job map[string]any
		data, err := os.ReadFile(path)
		if err := errors.Join(err, json.Unmarshal(data, &job)); err != nil {
			t.Fatal(err)
		}
		inner := job
		if i == 1 {
			inner = job["job"].(map[string]any)
		}
		if inner["files"] == nil {
			t.Errorf("%s does not say which files were shared out", path)
		}
		delete(inner, "files")
		if data, err = json.Marshal(job); err != nil {
			t.Fatal(err)
		}
		put(t, path, data)
		names[i] = path
	}
	for i := range 2 {
		o.Part.I = i
		run(t, e, o)
	}
	verified(t, o.Output)
	if data, err := os.ReadFile(names[0]); err != nil || !strings.Contains(string(data), `"files"`) {
		t.Errorf("%s, %v", data, err)
	}
	o.Source.Args = paths[:3]
	if _, err := batch.Run(t.Context(), e, o); err == nil || !strings.Contains(err.Error(), "which were 4") {
		t.Error(err)
	}
}

// TestPartsSaw: parts of records that were dealt out of different inputs are found.
func TestPartsSaw(t *testing.T) {
	e := open(t)
	for _, c := range []struct {
		name   string
		n      [2]int // pictures that each part saw
		remove string // before the second
		want   []string
	}{
		{"the same", [2]int{6, 6}, "", nil},
		{"one more, which is the first's", [2]int{6, 7}, "", []string{"incomplete 0"}},
		{"one more, which is the second's", [2]int{5, 6}, "", nil},
		{"two more", [2]int{6, 8}, "", []string{"incomplete 0"}},
		{"as many others", [2]int{6, 7}, "0002.png", []string{"other 1"}},
		{"none for the first", [2]int{0, 3}, "", []string{"incomplete 0"}},
	} {
		for _, output := range []string{"o.jsonl", "o", "numbered"} {
			t.Run(c.name+"/"+output, func(t *testing.T) {
				dir := t.TempDir()
				o := newOptions(e, filepath.Join(t.TempDir(), output), dir)
				if output == "numbered" {
					o.RecordsPerFile = 2
				}
				have := 0
				for i, n := range c.n {
					for ; have < n; have++ {
						put(t, filepath.Join(dir, fmt.Sprintf("%04d.png", have)), picture(t, have))
					}
					if i == 1 && c.remove != "" {
						if err := os.Remove(filepath.Join(dir, c.remove)); err != nil {
							t.Fatal(err)
						}
					}
					o.Part = batch.Part{I: i, N: 2}
					run(t, e, o)
				}
				var found []string
				if _, err := batch.Verify(t.Context(), o.Output, func(f batch.Finding) error {
					if f.Kind != batch.FoundDouble {
						found = append(found, f.Kind+" "+regexp.MustCompile(`-(\d)-of-2`).FindStringSubmatch(f.File)[1])
					}
					return nil
				}); err != nil || !slices.Equal(found, c.want) {
					t.Errorf("%q, %v, want %q", found, err, c.want)
				}
				if err := batch.Merge(t.Context(), o.Output, filepath.Join(t.TempDir(), "merged.jsonl"), false); (err == nil) != (c.want == nil) {
					t.Error(err)
				}
				if c.remove != "" {
					return
				}
				for i := range c.n {
					o.Part = batch.Part{I: i, N: 2}
					run(t, e, o)
				}
				verified(t, o.Output)
			})
		}
	}
}
