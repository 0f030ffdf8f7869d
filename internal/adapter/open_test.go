package adapter

import (
	"os"
	"path/filepath"
	"testing"
)

// TestTruncated opens every beginning of an adapter's weights but the whole.
func TestTruncated(t *testing.T) {
	f := load(t, "head")
	dir := f.save()
	path := filepath.Join(dir, WeightsName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	step := 1
	for n := 0; n < len(whole); n += step {
		if n > 600 {
			step = 97 // behind the header all are alike
		}
		if err := os.WriteFile(path, whole[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		a, err := Open(dir)
		if err == nil {
			a.Close()
			t.Fatalf("%d of %d bytes are an adapter", n, len(whole))
		}
		refused(t, err, dir)
	}
}

// TestFolders says what else a path may be.
func TestFolders(t *testing.T) {
	write := func(t *testing.T, names ...string) string {
		dir := t.TempDir()
		for _, name := range names {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte("{}"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	for name, test := range map[string]struct {
		names []string
		path  string
		parts []string
	}{
		"nothing there":     {nil, "nothing", []string{"no such file or folder"}},
		"an empty folder":   {nil, "", []string{"adapter_config.json", "adapter_model.safetensors", "name the folder"}},
		"pickles":           {[]string{ConfigName, "adapter_model.bin"}, "", []string{"adapter_model.bin", "pickle", "save_pretrained"}},
		"a pickle":          {[]string{ConfigName, "adapter_model.bin"}, "adapter_model.bin", []string{"pickle", "save_pretrained"}},
		"a configuration":   {[]string{ConfigName}, "", []string{WeightsName, "missing"}},
		"weights alone":     {[]string{WeightsName}, "", []string{ConfigName, "missing"}},
		"folders of them":   {[]string{"checkpoint-10/" + ConfigName, "checkpoint-20/" + ConfigName}, "", []string{"checkpoint-10", "name one"}},
		"a checkpoint":      {[]string{"config.json", "model.safetensors"}, "", []string{"a whole checkpoint"}},
		"a GGUF":            {[]string{"a.gguf"}, "a.gguf", []string{"GGUF"}},
		"another file":      {[]string{"README.md"}, "README.md", []string{"not an adapter"}},
		"broken weights":    {[]string{ConfigName, WeightsName}, "", []string{"peft_type"}},
		"a device, of kind": {nil, "/dev/null", []string{"not a folder or a regular file"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(write(t, test.names...), test.path)
			if filepath.IsAbs(test.path) {
				path = test.path
			}
			_, err := Open(path)
			refused(t, err, append(test.parts, path)...)
		})
	}
	t.Run("Git LFS pointers", func(t *testing.T) {
		for _, name := range []string{ConfigName, WeightsName} {
			dir := load(t, "head").save()
			pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:fd6abf95832c2a085eec96aff4a98a45d21ea251058c09ce05702cd49295e2cb\nsize 1049\n"
			if err := os.WriteFile(filepath.Join(dir, name), []byte(pointer), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := Open(dir)
			refused(t, err, name, "git lfs pull")
		}
	})
	t.Run("a name on the hub", func(t *testing.T) {
		_, err := Open("someone/paligemma-lora")
		refused(t, err, "hf download someone/paligemma-lora --local-dir paligemma-lora")
	})
	t.Run("files", func(t *testing.T) {
		dir := load(t, "lora").save()
		for _, path := range []string{dir, dir + "/", filepath.Join(dir, WeightsName), filepath.Join(dir, ConfigName)} {
			a, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			if a.Name() != filepath.Base(dir) || a.Path() != path || a.Base() != "pg1-tiny" {
				t.Errorf("%s: name %s, path %s, base %s", path, a.Name(), a.Path(), a.Base())
			}
			a.Close()
		}
	})
}

// TestCache opens an adapter in a hub's cache, where files are links, by each of its names.
func TestCache(t *testing.T) {
	cache := t.TempDir()
	repository := filepath.Join(cache, "models--someone--mine")
	snapshot := filepath.Join(repository, "snapshots", "0123")
	for _, dir := range []string{snapshot, filepath.Join(repository, "refs")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(load(t, "lora").save(), filepath.Join(repository, "blobs")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{ConfigName, WeightsName} {
		if err := os.Symlink(filepath.Join("..", "..", "blobs", name), filepath.Join(snapshot, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{repository, snapshot, filepath.Join(snapshot, WeightsName)} {
		a, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if a.Name() != "mine" || a.Files()[1] != filepath.Join(snapshot, WeightsName) {
			t.Errorf("%s: name %s, files %s", path, a.Name(), a.Files())
		}
		a.Close()
	}
	if !IsAdapter(repository) || IsAdapter(cache) {
		t.Error("what is an adapter is another")
	}
	if err := os.Mkdir(filepath.Join(repository, "snapshots", "4567"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := Open(repository)
	refused(t, err, "2 snapshots", "0123")
	if IsAdapter(repository) {
		t.Error("several snapshots are an adapter")
	}
}

// TestTrainingFolder opens what a trainer leaves: its state lies next to the adapter, and
// earlier adapters below it.
func TestTrainingFolder(t *testing.T) {
	dir := load(t, "lora").save()
	for _, name := range []string{"optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin", "trainer_state.json", "README.md",
		"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "preprocessor_config.json"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"checkpoint-500", "checkpoint-1000"} {
		if err := os.Rename(load(t, "rslora").save(), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	a, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if len(a.updates) != 18 || !IsAdapter(dir) {
		t.Errorf("%d modules", len(a.updates))
	}
	for _, name := range []string{ConfigName, WeightsName} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	_, err = Open(dir)
	refused(t, err, "name one of them", "checkpoint-500", "checkpoint-1000")
}
