package cli

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	_ "image/jpeg"
	_ "image/png"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/adrg/xdg"
	"github.com/rogpeppe/go-internal/testscript"

	"paligemma/internal/convert"
	"paligemma/internal/gguf"
	"paligemma/internal/tokenizer"
)

func TestMain(m *testing.M) {
	testscript.Main(tests{m}, map[string]func(){
		"paligemma": func() { os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

// tests runs the tests, not the commands in scripts, which are this program too.
type tests struct{ *testing.M }

// Run keeps the user's settings out and removes the fixtures at the end.
func (m tests) Run() int {
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "PALIGEMMA_") {
			os.Unsetenv(name)
		}
	}
	// Threads wait for each other busily; tests of packages run side by side.
	os.Setenv("PALIGEMMA_THREADS", "1")
	// Nor are the user's models looked at.
	os.Setenv("XDG_DATA_HOME", filepath.Join(os.TempDir(), "paligemma-none"))
	xdg.Reload()
	code := m.M.Run()
	if fixtureDir != "" {
		os.RemoveAll(fixtureDir)
	}
	return code
}

var fixtureDir string

// fixtures are files that all tests read and none writes.
var fixtures = sync.OnceValues(func() (map[string]string, error) {
	dir, err := os.MkdirTemp("", "paligemma-cli")
	if err != nil {
		return nil, err
	}
	fixtureDir = dir
	root, err := filepath.Abs("../../testdata")
	if err != nil {
		return nil, err
	}
	f := map[string]string{
		"IMAGES":     filepath.Join(root, "images"),
		"CHECKPOINT": filepath.Join(root, "checkpoints", "pg1-tiny"),
		"ADAPTERS":   filepath.Join(root, "adapters"),
		"MODEL":      filepath.Join(dir, "tiny.gguf"),    // of CHECKPOINT, f32
		"NAN":        filepath.Join(dir, "nan.gguf"),     // the same with a NaN in the final norm
		"HUGE":       filepath.Join(dir, "huge.gguf"),    // the same with numbers in it that overflow
		"OLD":        filepath.Join(dir, "old.gguf"),     // MODEL as it was before its tokenizer could be compiled
		"LIBRARY":    filepath.Join(dir, "library.gguf"), // OLD with a tokenizer that cannot be compiled
		"OTHER":      filepath.Join(dir, "other.gguf"),   // a sound GGUF of another model
		"LOSSY":      filepath.Join(dir, "missing.gguf"), // MODEL without its tensors
		"CODEC":      filepath.Join(dir, "codec.npz"),    // a mask codec of random weights
		"MASKMODEL":  filepath.Join(dir, "masks.gguf"),   // MODEL with CODEC
	}
	if err := writeCodec(f["CODEC"]); err != nil {
		return nil, err
	}
	if _, err := convert.Convert(context.Background(), f["CHECKPOINT"], f["MASKMODEL"], convert.Options{Type: "f32", MaskDecoder: f["CODEC"]}); err != nil {
		return nil, err
	}
	if _, err := convert.Convert(context.Background(), f["CHECKPOINT"], f["MODEL"], convert.Options{Type: "f32"}); err != nil {
		return nil, err
	}
	return f, errors.Join(writeNorm(f["MODEL"], f["NAN"], float32(math.NaN())), writeNorm(f["MODEL"], f["HUGE"], 3e38, -3e38),
		writeOld(f["MODEL"], f["OLD"], `"byte_fallback":true`), writeOld(f["MODEL"], f["LIBRARY"], `"byte_fallback":false`), writeOther(f["OTHER"], ""), writeOther(f["LOSSY"], f["MODEL"]))
})

// writeNorm writes the model at from with other first numbers in its last norm.
func writeNorm(from, to string, values ...float32) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	f, err := gguf.FromBytes(from, data)
	if err != nil {
		return err
	}
	t, ok := f.Lookup("output_norm.weight")
	if !ok {
		return errors.New("no output_norm.weight")
	}
	for i, v := range values {
		binary.LittleEndian.PutUint32(data[f.DataOffset+t.Offset+int64(4*i):], math.Float32bits(v))
	}
	return os.WriteFile(to, data, 0o600)
}

// writeOld writes the model at from without its compiled tokenizer, the
// tokenizer.json having the flag.
func writeOld(from, to, flag string) error {
	f, err := gguf.Open(from, gguf.Options{})
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := f.String(tokenizer.KeyJSON)
	if err != nil {
		return err
	}
	var w gguf.Writer
	for _, key := range f.Keys() {
		switch key {
		case tokenizer.KeyPipeline, tokenizer.KeyMerges, tokenizer.KeyAdded:
		case tokenizer.KeyJSON:
			w.SetString(key, strings.Replace(text, `"byte_fallback":true`, flag, 1))
		default:
			w.CopyKey(f.Header, key)
		}
	}
	for _, t := range f.Tensors {
		if err := w.AddTensor(t.Name, t.Type, t.Shape...); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	err = w.Encode(&b, func(t gguf.Tensor, dst io.Writer) error {
		same, _ := f.Lookup(t.Name)
		_, err := dst.Write(f.Data(same))
		return err
	})
	return errors.Join(err, os.WriteFile(to, b.Bytes(), 0o600))
}

// writeOther writes a GGUF without tensors: of an architecture that is not
// ours, or with the keys of the model at from.
func writeOther(to, from string) error {
	var w gguf.Writer
	if from == "" {
		w.SetString("general.architecture", "llama")
	} else {
		m, err := gguf.Open(from, gguf.Options{})
		if err != nil {
			return err
		}
		defer m.Close()
		for _, key := range m.Keys() {
			w.CopyKey(m.Header, key)
		}
	}
	var b bytes.Buffer
	if err := w.Encode(&b, nil); err != nil {
		return err
	}
	return os.WriteFile(to, b.Bytes(), 0o600)
}

func fixture(t testing.TB, name string) string {
	t.Helper()
	f, err := fixtures()
	if err != nil {
		t.Fatal(err)
	}
	return f[name]
}

func TestScript(t *testing.T) {
	h := testHub(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			f, err := fixtures()
			for name, path := range f {
				env.Setenv(name, path)
			}
			env.Setenv("PALIGEMMA_THREADS", os.Getenv("PALIGEMMA_THREADS"))
			env.Setenv("HUB", os.Getenv("HF_ENDPOINT"))
			env.Setenv("HF_ENDPOINT", os.Getenv("HF_ENDPOINT"))
			env.Setenv("COMMIT_ONE", h.Commit("test/one"))
			env.Setenv("XDG_DATA_HOME", filepath.Join(env.WorkDir, "data"))
			env.Setenv("XDG_CACHE_HOME", filepath.Join(env.WorkDir, "cache"))
			env.Setenv("HF_HOME", filepath.Join(env.WorkDir, "hf"))
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": cmdCode,
			"json": cmdJSON,
			"cut":  cmdCut,
			"dir":  cmdDir,
			"size": cmdSize,
			"long": cmdLong,
		},
	})
}

// cmdCode is: code N COMMAND..., which must end with exit code N.
func cmdCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// cmdJSON is: json FILE [PATH [VALUE]], where PATH is dotted names and indexes.
// Without VALUE it checks that the path is there (! json: that it is not). A
// file of several values (JSONL) counts as an array.
func cmdJSON(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 1 || len(args) > 3 {
		ts.Fatalf("usage: json FILE [PATH [VALUE]]")
	}
	dec := json.NewDecoder(strings.NewReader(ts.ReadFile(args[0])))
	var values []any
	for dec.More() {
		var v any
		ts.Check(dec.Decode(&v))
		values = append(values, v)
	}
	var value any = values
	if len(values) == 1 {
		value = values[0]
	}
	ok := true
	if len(args) > 1 {
		for part := range strings.SplitSeq(args[1], ".") {
			value, ok = child(value, part)
			if !ok {
				break
			}
		}
	}
	text := fmt.Sprint(value)
	if f, isFloat := value.(float64); isFloat {
		text = strconv.FormatFloat(f, 'g', -1, 64)
	}
	match := ok && (len(args) < 3 || text == args[2])
	if match == neg {
		ts.Fatalf("json %s: found %v, %q", strings.Join(args, " "), ok, text)
	}
}

func child(v any, name string) (any, bool) {
	switch v := v.(type) {
	case map[string]any:
		c, ok := v[name]
		return c, ok
	case []any:
		if name == "len" {
			return float64(len(v)), true
		}
		i, err := strconv.Atoi(name)
		if err != nil || i < 0 || i >= len(v) {
			return nil, false
		}
		return v[i], true
	}
	return nil, false
}

// cmdCut is: cut FROM TO N, the first N bytes of a file.
func cmdCut(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: cut FROM TO N")
	}
	data := ts.ReadFile(args[0])
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(data[:n]), 0o600))
}

// cmdSize is: size FILE WIDTH HEIGHT, of a PNG or JPEG that can be decoded.
func cmdSize(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: size FILE WIDTH HEIGHT")
	}
	img, format, err := image.Decode(strings.NewReader(ts.ReadFile(args[0])))
	ts.Check(err)
	got := fmt.Sprintf("%d %d", img.Bounds().Dx(), img.Bounds().Dy())
	if want := args[1] + " " + args[2]; got != want {
		ts.Fatalf("%s is %s, want %s", args[0], got, want)
	}
	if png := strings.HasSuffix(args[0], ".png"); png != (format == "png") {
		ts.Fatalf("%s is %s", args[0], format)
	}
}

// cmdLong is: long FILE N: a line of N bytes between two with an object.
func cmdLong(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: long FILE N")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	const cat = "<loc0000><loc0000><loc1000><loc1000> cat\n"
	text := cat + strings.Repeat("x", n) + "\n" + cat
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// cmdDir is: dir DIR [NAME...]: the folder holds these files and no others, hidden
// ones included.
func cmdDir(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: dir DIR [NAME...]")
	}
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got, want := strings.Join(names, " "), strings.Join(args[1:], " "); got != want {
		ts.Fatalf("%s holds %q, want %q", args[0], got, want)
	}
}
