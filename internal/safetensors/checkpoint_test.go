package safetensors

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	one = "model-00001-of-00002.safetensors"
	two = "model-00002-of-00002.safetensors"
)

// shard writes a file of tensors of one number each.
func shard(t testing.TB, path string, values map[string]int64) {
	t.Helper()
	var all []Data
	for _, name := range slices.Sorted(maps.Keys(values)) {
		all = append(all, NewInt64(name, []int64{1}, []int64{values[name]}))
	}
	writeFile(t, path, all, nil)
}

// sharded makes a folder with two shards and an index.
func sharded(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	shard(t, filepath.Join(dir, one), map[string]int64{"a": 1, "c": 3})
	shard(t, filepath.Join(dir, two), map[string]int64{"b": 2})
	text(t, filepath.Join(dir, indexName), goodIndex)
	return dir
}

const goodIndex = `{"metadata": {"total_size": 24, "more": [1, {"x": null}]}, ` +
	`"weight_map": {"a": "` + one + `", "b": "` + two + `", "c": "` + one + `"}}` + "\n"

func text(t testing.TB, path, s string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(s), 0o644); err != nil {
		t.Fatal(err)
	}
}

// check opens a checkpoint and compares its tensors, "a=1 b=2".
func check(t *testing.T, path, dir, want string) {
	t.Helper()
	c, err := OpenCheckpoint(path)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	var got []string
	for _, e := range c.Tensors() {
		found, ok := c.Lookup(e.Name)
		if !ok || found.Path != e.Path {
			t.Errorf("Lookup(%q) = %v, %v", e.Name, found, ok)
		}
		b, err := c.ReadAll(e)
		if err != nil {
			t.Fatal(err)
		}
		part := make([]byte, 3)
		if err := c.ReadAt(e, part, 5); err != nil || !bytes.Equal(part, b[5:]) {
			t.Errorf("ReadAt gives %v (%v), want %v", part, err, b[5:])
		}
		n, err := Int64s(e.DType, b)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s=%d", e.Name, n[0]))
	}
	if strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	if c.Dir() != dir {
		t.Errorf("Dir is %q, want %q", c.Dir(), dir)
	}
	if _, ok := c.Lookup("nope"); ok {
		t.Error("Lookup finds a missing tensor")
	}
}

func TestCheckpoint(t *testing.T) {
	dir := sharded(t)
	check(t, dir, dir, "a=1 b=2 c=3")
	check(t, filepath.Join(dir, indexName), dir, "a=1 b=2 c=3")
	check(t, filepath.Join(dir, two), dir, "b=2")
	shard(t, filepath.Join(dir, "model.safetensors"), map[string]int64{"x": 9})
	check(t, dir, dir, "x=9") // before the index, as transformers has it

	other := t.TempDir()
	shard(t, filepath.Join(other, "weights.safetensors"), map[string]int64{"w": 5})
	text(t, filepath.Join(other, "config.json"), "{}")
	check(t, other, other, "w=5")

	for _, name := range []string{"model.safetensors.index.bf16.json", "model.bf16.safetensors.index.json"} {
		t.Run(name, func(t *testing.T) {
			dir := sharded(t)
			if err := os.Rename(filepath.Join(dir, indexName), filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
			check(t, dir, dir, "a=1 b=2 c=3")
		})
	}
}

// TestNoIndex checks what is said of several files that no index holds together.
func TestNoIndex(t *testing.T) {
	for _, test := range []struct {
		name  string
		files []string
		want  string
	}{
		{"shards", []string{"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}, "2 shards but no " + indexName},
		{"shards of a variant", []string{"model-00001-of-00010.fp16.safetensors", "model-00002-of-00010.fp16.safetensors"}, "2 shards but no " + indexName},
		{"files", []string{"a.safetensors", "b.safetensors"}, "name the file to use"},
		{"a shard and another file", []string{"a.safetensors", "model-1-of-2.safetensors"}, "name the file to use"},
		{"shards of one", []string{"a-00001-of-00001.safetensors", "b-00001-of-00001.safetensors"}, "name the file to use"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for i, name := range test.files {
				shard(t, filepath.Join(dir, name), map[string]int64{"x": int64(i)})
			}
			if _, err := OpenCheckpoint(dir); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// TestCheckpointCache: the Hugging Face cache keeps the files elsewhere, under
// other names, and a folder of links to them.
func TestCheckpointCache(t *testing.T) {
	from, root := sharded(t), t.TempDir()
	blobs, dir := filepath.Join(root, "blobs"), filepath.Join(root, "snapshots", "abc")
	for _, d := range []string{blobs, dir} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for i, name := range []string{one, two, indexName} {
		blob := fmt.Sprint("blob", i)
		if err := os.Rename(filepath.Join(from, name), filepath.Join(blobs, blob)); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join("..", "..", "blobs", blob), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	check(t, dir, dir, "a=1 b=2 c=3")
	check(t, filepath.Join(dir, indexName), dir, "a=1 b=2 c=3")

	single := filepath.Join(dir, singleName)
	if err := os.Symlink(filepath.Join("..", "..", "blobs", "blob1"), single); err != nil {
		t.Fatal(err)
	}
	check(t, dir, dir, "b=2")
	os.Remove(single)
	os.Symlink("gone", single)
	if _, err := OpenCheckpoint(dir); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), single) {
		t.Errorf("a dangling link gives %v", err)
	}
}

func TestCheckpointRejects(t *testing.T) {
	index := func(old, new string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			s := strings.Replace(goodIndex, old, new, 1)
			if s == goodIndex {
				t.Fatal("the case changes nothing")
			}
			text(t, filepath.Join(dir, indexName), s)
		}
	}
	deep := strings.Repeat("[", 40) + strings.Repeat("]", 40)
	tests := []struct {
		name   string
		change func(t *testing.T, dir string)
		want   string
	}{
		{"shard missing", func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, two)) }, "1 of 2 shards are missing: " + two},
		{"shard damaged", func(t *testing.T, dir string) { os.Truncate(filepath.Join(dir, two), 20) }, two},
		{"shard is a folder", func(t *testing.T, dir string) {
			os.Remove(filepath.Join(dir, two))
			os.Mkdir(filepath.Join(dir, two), 0o755)
		}, "not a regular file"},
		{"tensor in two shards", func(t *testing.T, dir string) {
			shard(t, filepath.Join(dir, two), map[string]int64{"a": 1, "b": 2})
		}, `tensor "a" is in ` + one + " and in " + two},
		{"path up", index(two, "../"+two), "plain name"},
		{"path up by backslash", index(two, `..\\`+two), "plain name"},
		{"path down", index(two, "sub/"+two), "plain name"},
		{"path here", index(two, "./"+two), "plain name"},
		{"absolute path", index(two, "/etc/"+two), "plain name"},
		{"drive", index(two, "c:"+two), "plain name"},
		{"NUL", index(two, `a\u0000.safetensors`), "plain name"},
		{"newline", index(two, `a\n.safetensors`), "plain name"},
		{"long", index(two, strings.Repeat("x", maxFileName)+".safetensors"), "plain name"},
		{"dots", index(two, ".."), "plain name"},
		{"empty name", index(`"`+two, `"`), "plain name"},
		{"not safetensors", index(two, "pytorch_model.bin"), "plain name"},
		{"tensor twice in the index", index(`"c":`, `"a":`), `"a" is there twice`},
		{"weight_map twice", index(`"metadata"`, `"weight_map"`), "weight_map"},
		{"weight_map missing", index(`"weight_map"`, `"weights"`), "no weight_map"},
		{"weight_map empty", func(t *testing.T, dir string) { text(t, filepath.Join(dir, indexName), `{"weight_map":{}}`) }, "empty"},
		{"weight_map a list", func(t *testing.T, dir string) { text(t, filepath.Join(dir, indexName), `{"weight_map":[]}`) }, "weight_map"},
		{"shard is a number", index(`"`+two+`"`, `2`), `tensor "b"`},
		{"key twice in metadata", index(`"more"`, `"total_size"`), `"total_size" is there twice`},
		{"nested too deep", index(`null`, deep), "deep"},
		{"text after the end", index("}}\n", "}} x"), "after the json"},
		{"cut short", index("}}\n", "}"), "bad json"},
		{"not utf-8", index("more", "\xff"), "utf-8"},
		{"empty tensor name", index(`"a":`, `"":`), "empty"},
		{"not json", func(t *testing.T, dir string) { text(t, filepath.Join(dir, indexName), "safetensors") }, "bad json"},
		{"empty file", func(t *testing.T, dir string) { text(t, filepath.Join(dir, indexName), "") }, "bad json"},
		{"too many shards", func(t *testing.T, dir string) {
			var b strings.Builder
			for i := range maxShards + 1 {
				fmt.Fprintf(&b, `,"t%d":"%d.safetensors"`, i, i)
			}
			text(t, filepath.Join(dir, indexName), `{"weight_map":{`+b.String()[1:]+`}}`)
		}, "1001 shards, more than the limit"},
		{"index too long", func(t *testing.T, dir string) { os.Truncate(filepath.Join(dir, indexName), maxHeader+1) }, "more than the limit of 100000000"},
		{"no index and two files", func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, indexName)) }, "2 shards but no " + indexName},
		{"nothing", func(t *testing.T, dir string) {
			for _, name := range []string{one, two, indexName} {
				os.Remove(filepath.Join(dir, name))
			}
		}, "no model.safetensors"},
		{"index is a folder", func(t *testing.T, dir string) {
			os.Remove(filepath.Join(dir, indexName))
			os.Mkdir(filepath.Join(dir, indexName), 0o755)
		}, "not a regular file"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := sharded(t)
			check(t, dir, dir, "a=1 b=2 c=3")
			test.change(t, dir)
			c, err := OpenCheckpoint(dir)
			if err == nil {
				c.Close()
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("got %q, want it to contain %q", err, test.want)
			}
		})
	}
	if _, err := OpenCheckpoint(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing path gives %v", err)
	}
}

// TestIndexDiffers: which tensors there are is what the shards say, and a note
// tells in what the index differs.
func TestIndexDiffers(t *testing.T) {
	index := func(old, new string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			text(t, filepath.Join(dir, indexName), strings.Replace(goodIndex, old, new, 1))
		}
	}
	for _, test := range []struct {
		name   string
		change func(t *testing.T, dir string)
		want   string // the tensors
		note   string
	}{
		{"lists more", func(t *testing.T, dir string) {
			shard(t, filepath.Join(dir, one), map[string]int64{"a": 1})
		}, "a=1 b=2", `are in no shard (1: "c")`},
		{"lists less", func(t *testing.T, dir string) {
			shard(t, filepath.Join(dir, two), map[string]int64{"b": 2, "d": 2})
		}, "a=1 b=2 c=3 d=2", `are in its shards (1: "d")`},
		{"another shard", index(`"b": "`+two, `"b": "`+one), "a=1 c=3", `are in no shard (1: "b")`},
		{"swapped", func(t *testing.T, dir string) {
			shard(t, filepath.Join(dir, one), map[string]int64{"b": 1, "c": 3})
			shard(t, filepath.Join(dir, two), map[string]int64{"a": 2})
		}, "a=2 b=1 c=3", `in other shards than they are in (2: "a"; "b")`},
		{"many", func(t *testing.T, dir string) {
			values := map[string]int64{"a": 1, "c": 3}
			for i := range 1000 {
				values[fmt.Sprint("b", 1000+i, strings.Repeat("x", 200))] = 1
			}
			shard(t, filepath.Join(dir, one), values)
		}, "", `; and 997 more)`},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := sharded(t)
			test.change(t, dir)
			if test.want != "" {
				check(t, dir, dir, test.want)
			}
			c, err := OpenCheckpoint(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if notes := c.Notes(); len(notes) != 1 || !strings.Contains(notes[0], test.note) || len(notes[0]) > 500 {
				t.Errorf("notes %.600q, want %q", notes, test.note)
			}
		})
	}
	c, err := OpenCheckpoint(sharded(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if notes := c.Notes(); len(notes) > 0 {
		t.Errorf("a sound index gives the notes %q", notes)
	}
}

// TestAliases: metadata may give a tensor a second name.
func TestAliases(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	meta := map[string]string{"format": "pt", "embed": "head", "other": "none", "": "head"}
	writeFile(t, path, []Data{NewInt64("head", []int64{1}, []int64{7})}, meta)
	c, err := OpenCheckpoint(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	a := c.Aliases()
	if len(a) != 1 || a[0].Name != "embed" || a[0].Entry.Name != "head" {
		t.Fatalf("aliases %v", a)
	}
	if b, err := c.ReadAll(a[0].Entry); err != nil || len(b) != 8 || b[0] != 7 {
		t.Errorf("read by its alias: %v, %v", b, err)
	}
}

// TestProblemsAreLimited: a thousand wrong tensors make a short message.
func TestProblemsAreLimited(t *testing.T) {
	dir := sharded(t)
	values := make(map[string]int64)
	for i := range 1000 {
		values[fmt.Sprint("x", i, strings.Repeat("y", 1000))] = 1
	}
	shard(t, filepath.Join(dir, one), values)
	shard(t, filepath.Join(dir, two), values)
	_, err := OpenCheckpoint(dir)
	var format *FormatError
	if !errors.As(err, &format) || len(err.Error()) > 900 || !strings.Contains(err.Error(), "and 997 more") {
		t.Errorf("got %v", err)
	}
}

func TestReadAtBounds(t *testing.T) {
	dir := sharded(t)
	c, err := OpenCheckpoint(dir)
	if err != nil {
		t.Fatal(err)
	}
	e, _ := c.Lookup("a")
	for _, bad := range []struct {
		off int64
		n   int
	}{{-1, 1}, {0, 9}, {8, 1}, {9, 0}, {1 << 62, 1}, {-1 << 63, 1}, {1<<63 - 1, 8}} {
		if err := c.ReadAt(e, make([]byte, bad.n), bad.off); err == nil || !strings.Contains(err.Error(), `"a"`) {
			t.Errorf("%d bytes at %d: %v", bad.n, bad.off, err)
		}
	}
	if err := c.ReadAt(e, nil, 8); err != nil {
		t.Errorf("no bytes at the end: %v", err)
	}
	forged := e
	forged.Size = 1 << 50
	if _, err := c.ReadAll(forged); err == nil {
		t.Error("a forged size is read")
	}
	forged = e
	forged.Offset = 8
	if err := c.ReadAt(forged, make([]byte, 8), 0); err == nil {
		t.Error("a forged offset is read")
	}
	if _, err := c.ReadAll(Entry{Tensor: e.Tensor, Path: "elsewhere"}); err == nil {
		t.Error("a forged path is read")
	}
	// The file shrinks under us.
	if err := os.Truncate(e.Path, 100); err != nil {
		t.Fatal(err)
	}
	last, _ := c.Lookup("c")
	if _, err := c.ReadAll(last); err == nil || !strings.Contains(err.Error(), `"c"`) || !strings.Contains(err.Error(), e.Path) {
		t.Errorf("a file that shrank gives %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.ReadAll(e); err == nil {
		t.Error("read after Close")
	}
	if err := c.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file gives %v", err)
	}
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder gives %v", err)
	}
	path := filepath.Join(dir, "x.safetensors")
	text(t, path, "junk")
	var format *FormatError
	if _, err := Open(path); !errors.As(err, &format) || !strings.Contains(err.Error(), path) {
		t.Errorf("junk gives %v", err)
	}
}
