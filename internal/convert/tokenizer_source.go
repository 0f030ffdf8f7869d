package convert

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"paligemma/internal/folder"
	"paligemma/internal/quote"
	"paligemma/internal/sentencepiece"
	reader "paligemma/internal/tokenizer"
)

// Names of a tokenizer's file in a folder.
const (
	tokenizerJSON  = "tokenizer.json"
	tokenizerModel = "tokenizer.model" // SentencePiece's; tokenizer.json goes before it
)

// tokenizerSource is a tokenizer's file, read and parsed, with what the JSON
// files next to it add.
type tokenizerSource struct {
	path  string
	name  string // of the file, for messages
	file  *reader.File
	files tokenizerFiles
}

// openTokenizer reads the tokenizer of a checkpoint's folder or, where one is
// named, of that file or folder.
func openTokenizer(dir, named string) (*tokenizerSource, error) {
	path, err := findTokenizer(dir, named)
	if err != nil {
		return nil, err
	}
	t := &tokenizerSource{path: path, name: shown(filepath.Base(path))}
	b, err := readLimited(path, maxTokenizerBytes)
	if err != nil {
		return nil, err
	}
	if t.files, err = readTokenizerFiles(filepath.Dir(path)); err != nil {
		return nil, err
	}
	if !holdsJSON(path, b) {
		if b, err = readSentencePiece(b); err != nil {
			return nil, fmt.Errorf("%s: %w: use the tokenizer.json that was saved with the weights (--tokenizer names one elsewhere)", path, err)
		}
	}
	if t.file, err = parseTokenizer(b); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// CheckTokenizer refuses what Options.Tokenizer cannot be.
func CheckTokenizer(named string) error {
	_, err := openTokenizer("", named)
	return err
}

// holdsJSON reports whether a tokenizer's file is a tokenizer.json, whatever it
// is called; else it is a SentencePiece model.
func holdsJSON(path string, data []byte) bool {
	return filepath.Ext(path) == ".json" || bytes.HasPrefix(bytes.TrimSpace(data), []byte("{"))
}

// readSentencePiece makes a tokenizer.json of a SentencePiece model.
func readSentencePiece(data []byte) ([]byte, error) {
	m, err := sentencepiece.Parse(data)
	if err != nil {
		return nil, err
	}
	b, err := m.JSON()
	if err == nil && len(b) > maxTokenizerBytes {
		err = fmt.Errorf("its tokenizer.json has more than %d bytes", maxTokenizerBytes)
	}
	return b, err
}

// findTokenizer returns the path of the tokenizer's file.
func findTokenizer(dir, named string) (string, error) {
	if named == "" {
		return ownTokenizer(dir)
	}
	info, err := os.Stat(named)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", because(err, "--tokenizer %s: no such file or folder: name a tokenizer.json, a tokenizer.model or a folder with one", quote.Short(named))
	case err != nil:
		return "", err
	case !info.IsDir():
		return named, nil
	}
	if dir, err = folder.Snapshot(named); err != nil {
		return "", err
	}
	path, err := inFolder(dir)
	if err != nil {
		return "", because(err, "--tokenizer %s: the folder has no tokenizer.json or tokenizer.model: name the file, or a folder that has one", quote.Short(named))
	}
	return path, nil
}

// ownTokenizer finds the tokenizer in a checkpoint's folder.
func ownTokenizer(dir string) (string, error) {
	path, err := inFolder(dir)
	if err != nil {
		return "", explainFolder(dir, because(err, "the tokenizer is missing: copy tokenizer.json or tokenizer.model, which came with the model, into the folder, or name one with --tokenizer"))
	}
	return path, nil
}

// needTokenizer says what to type for a file of weights that is no folder's, if there
// is no tokenizer next to it and none is named.
func needTokenizer(dir, named string) error {
	if named != "" {
		return nil
	}
	if _, err := inFolder(dir); err != nil {
		return because(err, "the file has no tokenizer: name one with --tokenizer (tokenizer.json, tokenizer.model or a folder with one)")
	}
	return nil
}

// inFolder returns the path of the tokenizer in a folder; its error is
// fs.ErrNotExist. A file that cannot be looked at is left to whoever reads it.
func inFolder(dir string) (string, error) {
	for _, name := range []string{tokenizerJSON, tokenizerModel} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return path, nil
		}
	}
	return "", fs.ErrNotExist
}
