package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"paligemma/internal/adapter"
)

// Models are served under names: those that are given, or else those of their files.
func TestServedNames(t *testing.T) {
	odd := filepath.Join(t.TempDir(), "a=b.gguf")
	if err := os.WriteFile(odd, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Dir(odd))
	for _, c := range []struct {
		name   string
		models []string
		want   []servedModel // nil: an error
		says   string
	}{
		{"none", nil, []servedModel{{builtIn, ""}}, ""},
		{"a file", []string{"dir/model.q4_k_m.gguf"}, []servedModel{{"model.q4_k_m", "dir/model.q4_k_m.gguf"}}, ""},
		{"a name", []string{"pg=dir/model.gguf", "google/paligemma2-3b-mix-224"}, []servedModel{{"pg", "dir/model.gguf"}, {"paligemma2-3b-mix-224", "google/paligemma2-3b-mix-224"}}, ""},
		{"a path with =", []string{"./dir=1/model.gguf"}, []servedModel{{"model", "./dir=1/model.gguf"}}, ""},
		{"a file with =", []string{"a=b.gguf"}, []servedModel{{"a=b", "a=b.gguf"}}, ""},
		{"bytes that are not UTF-8", []string{"dir/m\xff.gguf", "\xfe=m.gguf"}, []servedModel{{"m\uFFFD", "dir/m\xff.gguf"}, {"\uFFFD", "m.gguf"}}, ""},
		{"the same twice", []string{"x/m.gguf", "y/m.gguf"}, nil, "two models are called"},
		{"no name", []string{"=m.gguf"}, nil, "want NAME=MODEL"},
		{"no model", []string{"m="}, nil, "want NAME=MODEL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := servedOptions{Models: c.models}
			got, err := o.named()
			if c.want == nil {
				if err == nil || !strings.Contains(err.Error(), c.says) || exitCode(err) != exitUsage {
					t.Fatalf("%v, %v", got, err)
				}
				return
			}
			if err != nil || len(got) != len(c.want) {
				t.Fatalf("%v, %v", got, err)
			}
			for i := range got {
				if got[i] != c.want[i] {
					t.Errorf("%v, want %v", got[i], c.want[i])
				}
			}
		})
	}
}

// What --adapter, and the numbers of serve, may be.
func TestServedFlags(t *testing.T) {
	valid := servedOptions{Parallel: "1", PrefillShare: 1}
	if err := valid.check(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(o *servedOptions)
		says   string
	}{
		{"adapter without a name", func(o *servedOptions) { o.Adapters = []string{"dir"} }, "NAME=DIR"},
		{"adapter twice", func(o *servedOptions) { o.Adapters = []string{"a=x", "a=y"} }, "twice"},
		{"no texts", func(o *servedOptions) { o.Parallel = "0" }, "--parallel"},
		{"some texts", func(o *servedOptions) { o.Parallel = "some" }, "want auto, or a number"},
		{"no share", func(o *servedOptions) { o.PrefillShare = 0 }, "--prefill-share"},
		{"queue", func(o *servedOptions) { o.MaxQueue = -1 }, "--max-queue"},
		{"cache", func(o *servedOptions) { o.ImageCache = -1 }, "--image-cache"},
		{"time", func(o *servedOptions) { o.KeepAlive = -1 }, "--keep-alive"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := valid
			c.change(&o)
			if err := o.check(); err == nil || !strings.Contains(err.Error(), c.says) || exitCode(err) != exitUsage {
				t.Errorf("%v", err)
			}
		})
	}
}

// An adapter that cannot be opened is an error at the start.
func TestServedAdapters(t *testing.T) {
	o := servedOptions{Adapters: []string{"a=" + filepath.Join(t.TempDir(), "none")}}
	if _, err := new(app).served(modelOptions{}, &o); err == nil || !strings.Contains(err.Error(), `--adapter "a"`) || exitCode(err) != exitModel {
		t.Errorf("%v", err)
	}
}

// A server knows no flags of results: they would mean nothing.
func TestRefusedFlags(t *testing.T) {
	for _, args := range [][]string{
		{"serve", "--format", "json"}, {"serve", "--format=json"}, {"serve", "--json"}, {"serve", "--timings"}, {"serve", "--progress", "never"},
		{"--json", "serve"}, {"serve", "--format"}, {"health", "--timings"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			code, _, errs := runArgs(t, t.Context(), false, append(args, "--port", "99999")...) // which fails, too
			if code != exitUsage || !strings.HasPrefix(errs, "paligemma: unknown flag --") {
				t.Errorf("%d %s", code, errs)
			}
		})
	}
	t.Setenv("PALIGEMMA_FORMAT", "json") // for other commands
	if code, _, errs := runArgs(t, t.Context(), false, "serve", "--port", "99999"); code != exitUsage || !strings.Contains(errs, "--port") {
		t.Errorf("%d %s", code, errs)
	}
	if _, out, _ := runArgs(t, t.Context(), false, "serve", "--help"); strings.Contains(out, "--format") || !strings.Contains(out, "--verbose") {
		t.Error(out)
	}
}

// Adapters that do more than add products of low rank are apart, and all are where the model
// itself has adapters.
func TestServedAdaptersApart(t *testing.T) {
	dir := fixture(t, "ADAPTERS")
	o := servedOptions{Models: []string{fixture(t, "MODEL")}, Adapters: []string{"a=" + filepath.Join(dir, "rslora"), "b=" + filepath.Join(dir, "lora") + ":0.5"}}
	for name, c := range map[string]struct {
		lora  []string
		apart []bool
	}{"none": {nil, []bool{false, true}}, "--lora": {[]string{"x"}, []bool{true, true}}} {
		models, err := new(app).served(modelOptions{LoRA: c.lora}, &o)
		if err != nil {
			t.Fatal(err)
		}
		for i, a := range models[0].Adapters {
			if a.Apart != c.apart[i] || a.Scale != []float64{1, 0.5}[i] {
				t.Errorf("%s: %+v, want apart %v", name, a, c.apart[i])
			}
		}
	}
}

// Adapters that the first model cannot have, and those that are damaged, end the server
// before it answers, with a line that names them.
func TestServedAdaptersRefused(t *testing.T) {
	dir, m := fixture(t, "ADAPTERS"), fixture(t, "MODEL")
	damaged := func(change func(config, weights []byte) ([]byte, []byte)) string {
		to := t.TempDir()
		config, err1 := os.ReadFile(filepath.Join(dir, "lora", adapter.ConfigName))
		weights, err2 := os.ReadFile(filepath.Join(dir, "lora", adapter.WeightsName))
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		config, weights = change(config, weights)
		if err := errors.Join(os.WriteFile(filepath.Join(to, adapter.ConfigName), config, 0o600), os.WriteFile(filepath.Join(to, adapter.WeightsName), weights, 0o600)); err != nil {
			t.Fatal(err)
		}
		return to
	}
	short := damaged(func(c, w []byte) ([]byte, []byte) { return c, w[:len(w)-1] })
	pointer := damaged(func(c, _ []byte) ([]byte, []byte) {
		return c, []byte("version https://git-lfs.github.com/spec/v1\n")
	})
	config := damaged(func(c, w []byte) ([]byte, []byte) { return c[:len(c)/2], w })
	rank := damaged(func(c, w []byte) ([]byte, []byte) {
		return regexp.MustCompile(`"r": \d+`).ReplaceAll(c, []byte(`"r": 7`)), w
	})
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"another family":       {[]string{"--adapter", "a=" + filepath.Join(dir, "pg2_lora")}, "has "},
		"the built-in model":   {[]string{"-m", "", "--adapter", "a=" + filepath.Join(dir, "lora")}, "the adapter was made for a base of other dimensions"},
		"DoRA":                 {[]string{"--adapter", "a=" + filepath.Join(dir, "dora")}, "DoRA"},
		"the second of two":    {[]string{"--adapter", "b=" + filepath.Join(dir, "lora"), "--adapter", "a=" + filepath.Join(dir, "pg2_lora")}, "has "},
		"a scale of 0":         {[]string{"--adapter", "a=" + filepath.Join(dir, "pg2_lora") + ":0"}, "has "},
		"next to --lora":       {[]string{"--lora", filepath.Join(dir, "rslora"), "--adapter", "a=" + filepath.Join(dir, "pg2_lora")}, "has "},
		"cut":                  {[]string{"--adapter", "a=" + short}, "invalid safetensors"},
		"a pointer of Git LFS": {[]string{"--adapter", "a=" + pointer}, "Git LFS"},
		"half a configuration": {[]string{"--adapter", "a=" + config}, adapter.ConfigName},
		"another rank":         {[]string{"--adapter", "a=" + rank}, "has the rank"},
		"no folder":            {[]string{"--adapter", "a=" + filepath.Join(dir, "missing")}, "no such file or folder"},
	} {
		t.Run(name, func(t *testing.T) {
			args := slices.Concat([]string{"serve", "--port", "0"}, c.args)
			if !slices.Contains(args, "-m") {
				args = append(args, "-m", m)
			} else {
				args = slices.DeleteFunc(args, func(a string) bool { return a == "-m" || a == "" })
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // where it serves after all, it ends
			code, _, errs := runArgs(t, ctx, false, args...)
			if code != exitModel || !strings.HasPrefix(errs, `paligemma: --adapter "a": `) || !strings.Contains(errs, c.want) || strings.Count(errs, "\n") != 1 || len(errs) > 500 {
				t.Errorf("exit code %d: %s, want %s", code, errs, c.want)
			}
		})
	}
}
