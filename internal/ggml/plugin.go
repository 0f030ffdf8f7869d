package ggml

/*
#include <stdlib.h>
#include "plugin.h"
*/
import "C"

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"paligemma/internal/regular"
)

// Plugin is a file with a GPU backend, libggml-NAME-TREE.so, or a folder of PluginFolders
// in which none can be found.
type Plugin struct {
	Path    string
	Problem string // why it is not used; "" where it is
}

// PluginFolders is the variable with the folders that plug-ins are looked for in, in
// place of those next to the program. Empty, it stands for none.
const PluginFolders = "PALIGEMMA_BACKENDS"

// treeLength is how much of the hash of ggml's sources the name of a plug-in has.
const treeLength = 12

var (
	pluginsOnce  sync.Once
	foundPlugins atomic.Pointer[[]Plugin]
)

// Plugins returns the plug-ins that [Devices] found; none before it was called.
func Plugins() []Plugin {
	if found := foundPlugins.Load(); found != nil {
		return *found
	}
	return nil
}

// loadPlugins loads the plug-ins there are, once.
func loadPlugins() {
	pluginsOnce.Do(func() {
		found := findPlugins(searched())
		for _, folder := range named() {
			if why := useless(folder); why != "" {
				found = append(found, Plugin{folder, why})
			}
		}
		foundPlugins.Store(&found)
	})
}

// findPlugins loads the plug-ins in folders. Of equal names the first one that works counts.
func findPlugins(folders []string) []Plugin {
	initLibrary()
	var all []Plugin
	loaded := map[string]bool{} // names of files
	for _, folder := range folders {
		for _, path := range pluginsIn(folder) {
			if name := filepath.Base(path); !loaded[name] {
				p := Plugin{Path: path}
				if err := loadPlugin(path); err != nil {
					p.Problem = err.Error()
				}
				loaded[name] = p.Problem == ""
				all = append(all, p)
			}
		}
	}
	return all
}

// pluginsIn lists what has the name of a plug-in in a folder. The path is absolute.
func pluginsIn(folder string) []string {
	if !filepath.IsAbs(folder) {
		return nil
	}
	paths, _ := filepath.Glob(filepath.Join(literal(folder), "libggml-*-*.so")) // sorted
	return paths
}

// useless returns why nothing is found in a folder that PluginFolders names, or "".
func useless(folder string) string {
	if !filepath.IsAbs(folder) {
		return PluginFolders + " takes absolute paths only"
	}
	_, err := os.ReadDir(folder)
	var cause *fs.PathError
	switch {
	case errors.As(err, &cause):
		return PluginFolders + " takes folders that can be read: " + cause.Err.Error()
	case len(pluginsIn(folder)) == 0:
		return "there is no libggml-*-*.so in it"
	}
	return ""
}

// literal escapes what filepath.Glob would take for a pattern.
func literal(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// searched returns the folders to look for plug-ins in. The working folder is not
// among them, whatever the program was called by.
func searched() []string {
	if _, set := os.LookupEnv(PluginFolders); set {
		return named()
	}
	program, err := os.Executable()
	if err == nil {
		program, err = filepath.EvalSymlinks(program)
	}
	if err != nil || !pluginsSupported {
		return nil
	}
	folder := filepath.Dir(program)
	return []string{folder, filepath.Join(folder, "..", "lib", "paligemma")}
}

// named returns the folders in PluginFolders.
func named() []string {
	return slices.DeleteFunc(filepath.SplitList(os.Getenv(PluginFolders)), func(folder string) bool { return folder == "" })
}

// loadPlugin makes the devices of a plug-in known to ggml. Nothing of a file is run
// that does not say that it was made of this program's ggml.
func loadPlugin(path string) error {
	name := strings.TrimSuffix(filepath.Base(path), ".so")
	if made := name[strings.LastIndexByte(name, '-')+1:]; made != tree[:treeLength] {
		return errors.New("it was made of another ggml; this program takes libggml-*-" + tree[:treeLength] + ".so")
	}
	f, err := regular.Open(path)
	if err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), path+": "))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := trusted(info); err != nil {
		return err
	}
	if err := checkPlugin(f, info.Size()); err != nil {
		return err
	}
	cPath := C.CString(path)
	defer C.free(unsafe.Pointer(cPath))
	expectCrashes()
	var text [1024]C.char
	devices := C.pg_plugin_load(cPath, &text[0], C.size_t(len(text)))
	why := complaint(C.GoString(&text[0]), path)
	switch {
	case strings.HasSuffix(why, "ggml_backend_init returned NULL"):
		return errors.New("it found no driver that works")
	case devices < 0:
		return errors.New(cmp.Or(why, "ggml does not load it"))
	case devices == 0:
		return errors.New("it found no device: " + cmp.Or(why, "its driver lists no GPU"))
	}
	return nil
}

// complaint returns what is new in a line of ggml's log: neither the function that
// writes it nor the path.
func complaint(line, path string) string {
	line = strings.TrimSpace(line)
	if i := strings.LastIndex(line, path+": "); i >= 0 {
		return line[i+len(path)+2:]
	}
	return strings.TrimSuffix(withoutFunction(line), " in "+path)
}

// withoutFunction returns a line of ggml's log without the function that writes it.
func withoutFunction(line string) string {
	if function, rest, ok := strings.Cut(line, ": "); ok && !strings.ContainsAny(function, " /") {
		line = rest
	}
	return strings.TrimSuffix(line, ".")
}
