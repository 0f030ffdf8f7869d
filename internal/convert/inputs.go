package convert

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"paligemma/internal/adapter"
	"paligemma/internal/folder"
)

// inputs lists the files that a conversion may read, but for those of the tensors: of
// the checkpoint's folder and the tokenizer's all that could be read.
func (o Options) inputs(checkpoint string) []string {
	files := append(adapterFiles(o.Adapters), checkpoint, o.Projector, o.Tokenizer, o.MaskDecoder)
	for _, path := range []string{checkpoint, o.Tokenizer} {
		files = append(files, settingsNextTo(path)...)
	}
	return files
}

// settingsNextTo lists the configurations and tokenizers in a folder, or in that of a
// file.
func settingsNextTo(path string) []string {
	info, err := os.Stat(path)
	if err != nil {
		return nil
	}
	if !info.IsDir() {
		path = filepath.Dir(path)
	} else if path, err = folder.Snapshot(path); err != nil {
		return nil
	}
	var files []string
	for _, name := range folder.List(path) {
		if slices.Contains([]string{".json", ".model"}, filepath.Ext(name)) {
			files = append(files, filepath.Join(path, name))
		}
	}
	return files
}

// adapterFiles lists the files of adapters.
func adapterFiles(adapters []adapter.Loaded) []string {
	var files []string
	for _, l := range adapters {
		files = append(files, l.Files()...)
	}
	return files
}

// notAnInput refuses to replace a file that is being read.
func notAnInput(out string, inputs []string) error {
	target, err := os.Stat(out)
	if err != nil {
		return nil // there is none
	}
	for _, path := range inputs {
		if in, err := os.Stat(path); err == nil && os.SameFile(in, target) {
			return &OutputError{fmt.Errorf("%s: the output is one of the files that are read: name another", out)}
		}
	}
	return nil
}
