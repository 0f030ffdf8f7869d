package models

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"paligemma/internal/hub"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"google/paligemma2-3b-mix-224":                        "google/paligemma2-3b-mix-224:",
		"google/paligemma2-3b-mix-224:Q4_K_M":                 "google/paligemma2-3b-mix-224:q4_k_m",
		"a/b@refs/pr/1:f32":                                   "a/b@refs/pr/1:f32",
		"a/b@main":                                            "a/b:",
		"https://huggingface.co/google/paligemma-3b-mix-224/": "google/paligemma-3b-mix-224:",
		"hf.co/a/b":                                           "a/b:",
		"a/b#x.npz":                                           "a/b#x.npz:",
		"a/b#x.bf16.npz@fix#12:f32":                           "a/b#x.bf16.npz@fix#12:f32",
		"a/b@fix#12":                                          "a/b@fix#12:",
		"a/b#m.safetensors.index.json":                        "a/b#m.safetensors.index.json:",
	} {
		if n, err := ParseName(text); err != nil || n.String() != want {
			t.Errorf("%q: %v, %v, want %q", text, n, err, want)
		}
	}
	for _, text := range []string{"", "a", ":", "a/b:", "a/b:q9", "a/b@", "a/b@..", "a/b/c", "../b", "/a/b", "a/b@x y", "a/b:f32:f32", "https://example.org/a/b/c", "a/b#", "a/b#x", "a/b#../x.npz", "a/b#x/y.npz", "a/b#.npz", "a/b#nul.npz", "a/b#x.npz#y.npz", "a/b#config.json"} {
		if n, err := ParseName(text); err == nil {
			t.Errorf("%q is %v", text, n)
		}
	}
	for text, want := range map[string]string{"a/b": "a/b", "a/b:0.5": "a/b*0.5", "a/b@v1:-1": "a/b@v1*-1", "a/b:1": "a/b"} {
		if a, err := ParseAdapter(text); err != nil || a.String() != want {
			t.Errorf("%q: %v, %v, want %q", text, a, err, want)
		}
	}
	for _, text := range []string{"", "a", "./a", "a/b:", "a/b:x", "a/b:nan", "a/b:1e300", "a/b:inf"} {
		if a, err := ParseAdapter(text); err == nil {
			t.Errorf("%q is %v", text, a)
		}
	}
}

// TestPaths: a name comes back from its path, and stays in the folder.
func TestPaths(t *testing.T) {
	adapters := []Adapter{{Source{"c/d", "main"}, 1}, {Source{"e/f", "refs/pr/2"}, -0.5}}
	for _, n := range []Name{
		{Base: Source{"a/b", "main"}, Type: "f32"},
		{Base: Source{"a/b", "refs/pr/1"}, Type: "q4_k_m"},
		{Base: Source{"a/b", "main"}, File: "x.npz", Type: "q4_k_m"},
		{Base: Source{"a/b", "50%+x"}, Adapters: adapters, Type: "q8_0"},
	} {
		path, err := n.path()
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(path, string(filepath.Separator))
		if len(parts) != 3 || nameOf(parts[0], parts[1], parts[2]) != n.String() {
			t.Errorf("%v lies at %s, which is %s", n, path, nameOf(parts[0], parts[1], parts[2]))
		}
		if strings.ContainsAny(path, `:\*?"<>|`) || !filepath.IsLocal(path) {
			t.Errorf("%v lies at %s", n, path)
		}
	}
	if _, err := (Name{Base: Source{"a/b", strings.Repeat("/", 100)}, Type: "f32"}).path(); err == nil {
		t.Error("a folder's name of 300 bytes")
	}
	for _, file := range []string{"", ".gguf", ".x.gguf", "x", ".q8_0.gguf.0123abcd.tmp"} {
		if name := nameOf("a", "b", file); name != "" {
			t.Errorf("%q is %q", file, name)
		}
	}
}

// testStore is a store with files of the names.
func testStore(t *testing.T, names ...string) *Store {
	t.Helper()
	dir := t.TempDir()
	s := &Store{dir: filepath.Join(dir, "models"), downloads: filepath.Join(dir, "downloads")}
	for _, text := range names {
		n, err := ParseName(text)
		if err != nil {
			t.Fatal(err)
		}
		below, err := n.path()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(s.dir, below)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestFind(t *testing.T) {
	s := testStore(t, "google/mix-224:q8_0", "google/mix-224:f32", "google/mix-448:q8_0", "me/mix-448:f32", "me/pt@refs/pr/1:f32", "me/pt@v2:q8_0", "g/jax#a.npz:f32", "g/jax#b.npz:f32", "g/jax#b.npz:f16")
	for _, tt := range []struct {
		name string
		part bool
		want string // a part of the name or of the error
	}{
		{"google/mix-224:q8_0", false, "google/mix-224:q8_0"},
		{"mix-224:f32", false, "google/mix-224:f32"},
		{"MIX-224:F32", false, "google/mix-224:f32"},
		{"google/mix-448", false, "google/mix-448:q8_0"},
		{"me/mix-448", false, "me/mix-448:f32"},
		{"mix-448", false, "may be google/mix-448:q8_0 or me/mix-448:f32"},
		{"mix-224", false, "may be google/mix-224:f32 or google/mix-224:q8_0"},
		{"mix-22", false, "no such model"},
		{"224:f", true, "google/mix-224:f32"},
		{"mix", true, "may be google/mix-224:f32 or google/mix-224:q8_0 or google/mix-448:q8_0 or me/mix-448:f32"},
		{"pt", false, "may be me/pt@refs/pr/1:f32 or me/pt@v2:q8_0"},
		{"pt:q8_0", false, "me/pt@v2:q8_0"},
		{"pt@v2", false, "me/pt@v2:q8_0"},
		{"jax#a.npz", false, "g/jax#a.npz:f32"},
		{"g/jax", false, "may be g/jax#a.npz:f32 or g/jax#b.npz:f16 or g/jax#b.npz:f32"},
		{"jax:f16", false, "g/jax#b.npz:f16"},
		{"", true, "no such model"},
		{"\x1b", true, "no such model"},
	} {
		m, err := s.Find(tt.name, tt.part)
		got := m.Name
		if err != nil {
			got = err.Error()
		}
		if (err == nil) != (got == tt.want) || !strings.Contains(got, tt.want) {
			t.Errorf("%q: %q, want %q", tt.name, got, tt.want)
		}
	}
	if _, err := testStore(t).Find("x", true); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
}

func TestRemove(t *testing.T) {
	s := testStore(t, "a/b:q8_0", "a/b:f32", "a/c:f32")
	download := filepath.Join(s.download("a/b"), "commit")
	if err := os.MkdirAll(download, 0o700); err != nil {
		t.Fatal(err)
	}
	remove := func(name string) error {
		m, err := s.Find(name, false)
		if err != nil {
			t.Fatal(err)
		}
		return s.Remove(m)
	}
	if err := remove("a/b:q8_0"); err != nil || !s.HasDownload("a/b") {
		t.Errorf("%v; the download of a model that is left is there: %v", err, s.HasDownload("a/b"))
	}
	release, locked, err := tryLock(s.lockPath("a/b"))
	if err != nil || !locked {
		t.Fatal(locked, err)
	}
	if err := remove("a/b"); err == nil || !strings.Contains(err.Error(), "a/b is being pulled") {
		t.Error(err)
	}
	release()
	if err := s.Remove(Model{Name: "a/b"}); err != nil || s.HasDownload("a/b") {
		t.Errorf("%v; the download is there: %v", err, s.HasDownload("a/b"))
	}
	if err := remove("c"); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(s.dir); err != nil || len(entries) != 0 {
		t.Errorf("%v is left, %v", entries, err)
	}
}

// TestNotWritable: where a folder may not be written to, the error says which variable
// names another. A model's folder is tried, and nothing is left of that.
func TestNotWritable(t *testing.T) {
	for err, want := range map[error]bool{
		&fs.PathError{Op: "mkdir", Path: "/x", Err: fs.ErrPermission}: true, syscall.EROFS: true, syscall.ENOSPC: false, context.Canceled: false,
	} {
		if got := notWritable(err, "models", "XDG_DATA_HOME"); !errors.Is(got, err) || strings.HasSuffix(got.Error(), "set XDG_DATA_HOME to a folder for models that you may write to") != want {
			t.Errorf("%v: %v", err, got)
		}
	}
	dir := filepath.Join(t.TempDir(), "a", "b")
	p := &pull{path: filepath.Join(dir, "f32.gguf")}
	if err := p.prepare(); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("%v is left, %v", entries, err)
	}
	p.path = filepath.Join(dir, "file", "f32.gguf")
	if err := os.WriteFile(filepath.Dir(p.path), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.prepare(); err == nil {
		t.Error("a file is taken for the folder")
	}
}

// TestLock: one at a time has the lock, and nothing is left of it.
func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "lock")
	const users = 8
	inside, done := make(chan int, 1), make(chan error)
	for i := range users {
		go func() {
			for range 20 {
				release, err := lock(context.Background(), path, func() {})
				if err != nil {
					done <- err
					return
				}
				select {
				case inside <- i:
				default:
					done <- errors.New("two have the lock")
					return
				}
				<-inside
				release()
			}
			done <- nil
		}()
	}
	for range users {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 0 {
		t.Errorf("%v is left, %v", entries, err)
	}
	release, _, err := tryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	waited := false
	if _, err := lock(ctx, path, func() { waited = true }); !errors.Is(err, context.DeadlineExceeded) || !waited {
		t.Errorf("%v, %v", err, waited)
	}
}

func TestSpace(t *testing.T) {
	dir := t.TempDir()
	free, _, ok := freeSpace(dir)
	if !ok {
		t.Skip("the free space is not known here")
	}
	if err := checkSpace(need{"a", dir, free / 4}, need{"b", dir, free / 4}); err != nil {
		t.Error(err)
	}
	if err := checkSpace(need{"a", dir, 0}, need{"b", dir, 2*free + 1}); err == nil || !strings.Contains(err.Error(), "b needs") {
		t.Error(err)
	}
	if err := checkSpace(need{"a", dir, free/2 + free/4}, need{"b", dir, free/2 + free/4}); err == nil {
		t.Error("what does not fit together is accepted")
	}
	if err := checkSpace(need{"a", filepath.Join(dir, "none"), 1 << 60}); err != nil {
		t.Error(err)
	}
}

// TestChoose: of a repository no more is taken than convert reads.
func TestChoose(t *testing.T) {
	for _, tt := range []struct{ files, want string }{
		{"config.json model.safetensors tokenizer.json tokenizer.model README.md pytorch_model.bin flax_model.msgpack optimizer.pt trainer_state.json", "config.json tokenizer.json model.safetensors"},
		{"config.json model.safetensors tokenizer.model sub/config.json sub/model.safetensors", "config.json tokenizer.model model.safetensors"},
		{"config.json tokenizer.json model.safetensors model.safetensors.index.json model-00001-of-00002.safetensors", "config.json tokenizer.json model.safetensors"},
		{"config.json tokenizer.json model.safetensors.index.json model-00001-of-00002.safetensors model-00002-of-00002.safetensors", "config.json tokenizer.json model.safetensors.index.json"},
		{"config.json tokenizer.json mine.safetensors adapter_model.safetensors adapter_config.json", "config.json tokenizer.json mine.safetensors"},
		{"config.json tokenizer.json a.safetensors b.safetensors", "several files"},
		{"config.json tokenizer.json a-00001-of-00002.safetensors a-00002-of-00002.safetensors", "2 shards but no"},
		{"config.json tokenizer.json a.safetensors b.safetensors --file=b.safetensors", "config.json tokenizer.json b.safetensors"},
		{"config.json tokenizer.json model.safetensors x.safetensors.index.fp16.json --file=x.safetensors.index.fp16.json", "config.json tokenizer.json x.safetensors.index.fp16.json"},
		{"config.json tokenizer.json model-00001-of-00002.safetensors --file=model-00001-of-00002.safetensors", "ask for their index"},
		{"config.json tokenizer.json a.safetensors b.npz adapter_model.safetensors --file=x.npz", "no file \"x.npz\" in revision \"main\": ask for one of its files with --file (a.safetensors, b.npz)"},
		{"config.json README.md --file=x.npz", "no file \"x.npz\" in revision \"main\""},
		{"config.json model.safetensors", "no tokenizer: add --tokenizer"},
		{"config.json model.safetensors --tokenizer=x", "config.json model.safetensors"},
		{"model.safetensors tokenizer.json", "no config.json"},
		{"adapter_config.json adapter_model.safetensors", "is an adapter"},
		{"config.json tokenizer.json tokenizer_config.json processor_config.json pt_224.npz README.md", "tokenizer.json tokenizer_config.json pt_224.npz"},
		{"pt_224.NPZ tokenizer.model", "tokenizer.model pt_224.NPZ"},
		{"pt_224.npz", "no tokenizer: add --tokenizer"},
		{"pt_224.npz --tokenizer=x", "pt_224.npz"},
		{"tokenizer.json config.json model.safetensors pt_224.npz", "config.json tokenizer.json model.safetensors"},
		{"tokenizer.json config.json model.safetensors pt_224.npz --file=pt_224.npz", "tokenizer.json pt_224.npz"},
		{"b.npz a.npz tokenizer.json", "a/b has several checkpoints of big_vision: ask for one of its files with --file (a.npz, b.npz)"},
		{"a.npz b.npz c.npz d.npz e.npz f.npz", "(a.npz, b.npz, c.npz, d.npz or 2 others)"},
		{"sub/a.npz", "\"sub/a.npz\", which is not read"},
		{"sub/model.safetensors config.json", "no weights"},
	} {
		p := &pull{base: &hub.Snapshot{ID: "a/b", Revision: "main"}}
		for name := range strings.FieldsSeq(tt.files) {
			if file, ok := strings.CutPrefix(name, "--file="); ok {
				p.Name.File = file
			} else if path, ok := strings.CutPrefix(name, "--tokenizer="); ok {
				p.Tokenizer = path
			} else {
				p.base.Files = append(p.base.Files, hub.File{Path: name})
			}
		}
		c, err := p.choose()
		var got []string
		for _, f := range append(c.first, c.weight) {
			got = append(got, f.Path)
		}
		text := strings.Join(got, " ")
		if err != nil {
			text = err.Error()
		}
		if text != tt.want && (err == nil || !strings.Contains(text, tt.want)) {
			t.Errorf("%s: %q, want %q", tt.files, text, tt.want)
		}
	}
}
