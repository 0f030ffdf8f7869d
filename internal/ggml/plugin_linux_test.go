package ggml

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"paligemma/internal/emulated"
)

const fakeName = "libggml-fake-" // and the tree's hash

// fakePlugin compiles testdata/plugin.cpp.
func fakePlugin(t testing.TB, path string, defines ...string) {
	t.Helper()
	args := []string{"-shared", "-fPIC", "-o", path, "-I../../build/include", "testdata/plugin.cpp"}
	for _, d := range defines {
		args = append(args, "-D"+d)
	}
	if out, err := exec.Command(cmp.Or(os.Getenv("CXX"), "c++"), args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// TestPluginProblems has files that are not what their names say, and plug-ins that
// do not work: each is a line that says why, and nothing more happens.
func TestPluginProblems(t *testing.T) {
	const made = `TREE="` + tree + `"`
	other := `TREE="` + strings.Repeat("0", len(tree)) + `"`
	for name, c := range map[string]struct {
		file    string
		content []byte
		defines []string // of a plug-in that is compiled
		want    string
	}{
		"empty":              {content: []byte{}, want: "not a shared library"},
		"text":               {content: []byte("INPUT(libc.so.6)\n"), want: "not a shared library"},
		"start of a library": {content: []byte("\x7fELF\x02\x01\x01\x00"), want: "not a shared library"},
		"library":            {defines: []string{"X"}, want: "not a plug-in of paligemma"},
		"other tree":         {defines: []string{other}, want: "another ggml than its name says"},
		"other name":         {file: "libggml-fake-0123456789ab.so", defines: []string{made}, want: "made of another ggml; this program takes libggml-*-" + tree[:treeLength] + ".so"},
		"short name":         {file: "libggml-fake-.so", content: []byte{}, want: "made of another ggml"},
		"no entry point":     {defines: []string{made}, want: "failed to find ggml_backend_init"},
		"other interface":    {defines: []string{made, "API=2", "DEVICES=1"}, want: "incompatible API version (backend: 2"},
		"returns nothing":    {defines: []string{made, "API=3", "DEVICES=1", "NOTHING"}, want: "it found no driver that works"},
		"says why":           {defines: []string{made, "API=3", "DEVICES=1", "NOTHING", `CERR="Error: Vulkan 1.2 required, here is "`}, want: "Error: Vulkan 1.2 required, here is 1"},
		"missing function":   {defines: []string{made, "API=3", "DEVICES=1", "MISSING"}, want: "undefined symbol: ggml_missing"},
		"exception":          {defines: []string{made, "API=3", "DEVICES=1", "THROW"}, want: "the driver is broken"},
		"no device":          {defines: []string{made, "API=3", "DEVICES=0"}, want: "it found no device: its driver lists no GPU"},
		"no driver":          {defines: []string{made, "API=3", "DEVICES=0", `LOG="failed to initialize CUDA: no CUDA-capable device is detected"`}, want: "it found no device: failed to initialize CUDA: no CUDA-capable device is detected"},
		"old driver":         {defines: []string{made, "API=3", "DEVICES=0", `LOG="failed to initialize CUDA: CUDA driver version is insufficient for CUDA runtime version"`}, want: "it found no device: failed to initialize CUDA: CUDA driver version is insufficient for CUDA runtime version"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, cmp.Or(c.file, fakeName+tree[:treeLength]+".so"))
			if c.content == nil {
				fakePlugin(t, path, c.defines...)
			} else if err := os.WriteFile(path, c.content, 0o644); err != nil {
				t.Fatal(err)
			}
			problem := onlyProblem(t, dir)
			if !strings.Contains(problem, c.want) {
				t.Errorf("%q, want %q", problem, c.want)
			}
			if strings.Contains(problem, dir) || strings.Contains(problem, "\n") || len(problem) > 300 {
				t.Errorf("not to the point: %q", problem)
			}
		})
	}
}

// onlyProblem returns what keeps the only plug-in of a folder from being used.
func onlyProblem(t *testing.T, dir string) string {
	t.Helper()
	found := findPlugins([]string{dir})
	if len(found) != 1 || found[0].Problem == "" {
		t.Fatalf("%+v, want one plug-in with a problem", found)
	}
	return found[0].Problem
}

// TestPluginPlaces makes sure of what may lie under the name of a plug-in.
func TestPluginPlaces(t *testing.T) {
	name := fakeName + tree[:treeLength] + ".so"
	for what, c := range map[string]struct {
		make func(path string) error
		want string
	}{
		"folder":     {func(p string) error { return os.Mkdir(p, 0o755) }, "folder"},
		"pipe":       {func(p string) error { return syscall.Mkfifo(p, 0o644) }, "pipe"},
		"dead link":  {func(p string) error { return os.Symlink("nowhere", p) }, "no such file"},
		"anyone's":   {func(p string) error { return cmp.Or(os.WriteFile(p, nil, 0o644), os.Chmod(p, 0o666)) }, "anyone can write to it"},
		"other user": {func(p string) error { return cmp.Or(os.WriteFile(p, nil, 0o644), os.Chown(p, 12345, -1)) }, "belongs to another user"},
	} {
		t.Run(what, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "a[b]*")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := c.make(filepath.Join(dir, name)); err != nil {
				if what == "other user" && os.Geteuid() != 0 {
					return // only root can give a file away
				}
				t.Fatal(err)
			}
			if problem := onlyProblem(t, dir); !strings.Contains(problem, c.want) {
				t.Errorf("%q, want %q", problem, c.want)
			}
		})
	}
}

// TestUselessFolders has what PluginFolders may name by mistake: each is a line.
func TestUselessFolders(t *testing.T) {
	for name, c := range map[string]struct{ folder, want string }{
		"relative": {".", "takes absolute paths only"},
		"missing":  {"/nowhere", "takes folders that can be read: no such file or directory"},
		"a file":   {"/dev/null", "takes folders that can be read: not a directory"},
		"too long": {"/" + strings.Repeat("x", 5000), "takes folders that can be read: file name too long"},
		"empty":    {t.TempDir(), "there is no libggml-*-*.so in it"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := emulated.Command(os.Args[0])
			cmd.Env = append(os.Environ(), childVariable+"=start", PluginFolders+"=:"+c.folder+":")
			out, err := cmd.Output()
			if want := c.folder + " is not used: "; err != nil || !strings.HasPrefix(string(out), want) || !strings.HasSuffix(string(out), c.want+"\n") || strings.Count(string(out), "\n") != 1 {
				t.Errorf("%v, %q", err, out)
			}
		})
	}
}

// TestPluginLoads loads a plug-in, once though it lies in two folders, and finds its device.
func TestPluginLoads(t *testing.T) {
	dir := t.TempDir()
	for _, folder := range []string{"a", "b"} {
		path := filepath.Join(dir, folder, fakeName+tree[:treeLength]+".so")
		if err := os.Mkdir(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		fakePlugin(t, path, `TREE="`+tree+`"`, "API=3", "DEVICES=1")
	}
	found := findPlugins([]string{filepath.Join(dir, "none"), filepath.Join(dir, "a"), filepath.Join(dir, "b")})
	if len(found) != 1 || found[0].Problem != "" || filepath.Base(filepath.Dir(found[0].Path)) != "a" {
		t.Fatalf("%+v, want the one in a", found)
	}
	if !slices.ContainsFunc(known(), func(d Device) bool { return d.Name == "empty0" && d.Backend == "FAKE" && d.Kind == KindAccel }) {
		t.Errorf("devices %v", known())
	}
}

// TestPluginFolders takes folders from the variable, else those next to the program.
func TestPluginFolders(t *testing.T) {
	t.Setenv(PluginFolders, "/a:/b")
	if got := searched(); !slices.Equal(got, []string{"/a", "/b"}) {
		t.Errorf("%q", got)
	}
	t.Setenv(PluginFolders, "")
	if got := searched(); len(got) != 0 {
		t.Errorf("empty: %q", got)
	}
	if err := os.Unsetenv(PluginFolders); err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if got, dir := searched(), filepath.Dir(program); len(got) != 2 || got[0] != dir || got[1] != filepath.Join(dir, "../lib/paligemma") {
		t.Errorf("next to %s: %q", program, got)
	}
}

// TestPluginCutShort cuts a plug-in at every length: none of them is loaded.
func TestPluginCutShort(t *testing.T) {
	path := filepath.Join(t.TempDir(), "whole.so")
	fakePlugin(t, path, `TREE="`+tree+`"`, "API=3", "DEVICES=1")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := checkPlugin(bytes.NewReader(data), int64(len(data))); err != nil {
		t.Fatal(err)
	}
	for n := range data {
		if err := checkPlugin(bytes.NewReader(data[:n]), int64(n)); err == nil {
			t.Fatalf("%d of %d bytes are taken for a plug-in", n, len(data))
		}
	}
	const sizeInFile = 32 // of a segment, in its header of 56 bytes
	headers := binary.LittleEndian.Uint64(data[32:])
	for i := range uint64(binary.LittleEndian.Uint16(data[56:])) {
		long := slices.Clone(data)
		binary.LittleEndian.PutUint64(long[headers+56*i+sizeInFile:], uint64(len(data)+1))
		if err := checkPlugin(bytes.NewReader(long), int64(len(data))); err == nil || !strings.Contains(err.Error(), "cut short") {
			t.Errorf("segment %d ends after the file: %v", i, err)
		}
	}
}

func FuzzPlugin(f *testing.F) {
	path := filepath.Join(f.TempDir(), "whole.so")
	fakePlugin(f, path, `TREE="`+tree+`"`, "API=3", "DEVICES=1")
	data, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte("\x7fELF\x02\x01\x01\x00"))
	f.Fuzz(func(_ *testing.T, data []byte) { _ = checkPlugin(bytes.NewReader(data), int64(len(data))) })
}
