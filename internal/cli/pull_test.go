package cli

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/adrg/xdg"

	"paligemma/internal/hub/hubtest"
)

// testHub is a hub with tiny models: test/one, test/two, test/gated (token hf_right)
// and some that cannot be used.
func testHub(t testing.TB) *hubtest.Hub {
	t.Helper()
	h := hubtest.New()
	server, storage := httptest.NewServer(h), httptest.NewServer(h)
	h.Storage = storage.URL
	t.Cleanup(server.Close)
	t.Cleanup(storage.Close)
	for id, dir := range map[string]string{"test/one": "pg1-tiny", "test/two": "pg2-tiny", "test/gated": "pg1-tiny", "other/one": "pg1-odd"} {
		if err := h.AddFolder(id, filepath.Join("..", "..", "testdata", "checkpoints", dir)); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.AddFolder("test/lora", filepath.Join("..", "..", "testdata", "adapters", "lora")); err != nil {
		t.Fatal(err)
	}
	testdata := filepath.Join("..", "..", "testdata")
	npz, err := os.ReadFile(filepath.Join(testdata, "bigvision", "gemma.npz"))
	if err != nil {
		t.Fatal(err)
	}
	tokenizer, err := os.ReadFile(filepath.Join(testdata, "checkpoints", "pg1-tiny", "tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	h.Add("test/jax", map[string][]byte{"pt_224.npz": npz, "tokenizer.json": tokenizer, "README.md": []byte("x")})
	h.Add("test/jaxes", map[string][]byte{"pt_224.f32.npz": npz, "pt_448.npz": []byte("x")})
	h.Gate("test/gated", "hf_right")
	h.Add("test/pickle", map[string][]byte{"config.json": []byte("{}"), "pytorch_model.bin": []byte("x")})
	h.Add("test/adapter", map[string][]byte{"adapter_config.json": []byte("{}"), "adapter_model.safetensors": []byte("x")})
	h.Add("test/empty", map[string][]byte{"README.md": []byte("x")})
	h.Add("test/part", map[string][]byte{
		"tokenizer.json": []byte("{}"), "config.json": []byte("{}"),
		"model.safetensors.index.json":     []byte(`{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}`),
		"model-00001-of-00002.safetensors": []byte("x"),
	})
	h.Add("test/outside", map[string][]byte{
		"tokenizer.json": []byte("{}"), "config.json": []byte("{}"),
		"model.safetensors.index.json": []byte(`{"weight_map": {"a": "../x.safetensors"}}`),
	})
	h.Add("test/device", map[string][]byte{"tokenizer.json": []byte("{}"), "config.json": []byte("{}"), "nul.safetensors": []byte("x")})
	h.Add("test/broken", map[string][]byte{"tokenizer.json": []byte("{}"), "config.json": []byte("{}"), "model.safetensors": []byte("x")})
	t.Setenv("HF_ENDPOINT", server.URL)
	return h
}

// userFolders gives the test folders for models and downloads, and no hub's cache.
func userFolders(t testing.TB) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, value := range map[string]string{"XDG_DATA_HOME": "data", "XDG_CACHE_HOME": "cache", "HF_HOME": "hf"} {
		t.Setenv(name, filepath.Join(dir, value))
	}
	for _, name := range []string{"HF_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_CACHE", "HF_TOKEN_PATH", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_CACHE"} {
		t.Setenv(name, "")
	}
	xdg.Reload()
	t.Cleanup(xdg.Reload)
	return dir
}

// TestCompleteModels: --model completes names and files, and the commands names.
func TestCompleteModels(t *testing.T) {
	dir := userFolders(t)
	for _, name := range []string{"google/paligemma2-3b-mix-224/q8_0.gguf", "google/paligemma2-3b-mix-448/q4_k_m.gguf", "me/mine@refs%2Fpr%2F1/f16.gguf"} {
		path := filepath.Join(dir, "data", "paligemma", "models", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(completionFolder(t))
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"caption", "-m", ""}, "google/paligemma2-3b-mix-224:q8_0\ngoogle/paligemma2-3b-mix-448:q4_k_m\nme/mine@refs/pr/1:f16\nBIG.GGUF\nmodel.gguf\nmodels/\nmy dir/\n:6\n"},
		{[]string{"caption", "-m", "google/"}, "google/paligemma2-3b-mix-224:q8_0\ngoogle/paligemma2-3b-mix-448:q4_k_m\n:4\n"},
		{[]string{"caption", "-m", "m"}, "me/mine@refs/pr/1:f16\nmodel.gguf\nmodels/\nmy dir/\n:6\n"},
		{[]string{"caption", "-m", "./m"}, "gguf\nGGUF\n:8\n"},
		{[]string{"show", "pali"}, "paligemma2-3b-mix-224:q8_0\npaligemma2-3b-mix-448:q4_k_m\n:4\n"},
		{[]string{"show", "mi"}, "mine@refs/pr/1:f16\n:4\n"},
		{[]string{"rm", "x", "me"}, "me/mine@refs/pr/1:f16\n:4\n"},
	} {
		code, out, errs := runArgs(t, t.Context(), false, append([]string{"__completeNoDesc"}, tt.args...)...)
		if code != 0 || out != tt.want {
			t.Errorf("%q: %d, %q, want %q; %s", tt.args, code, out, tt.want, errs)
		}
	}
}
