package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// entry is a file of the archive.
type entry struct {
	data []byte
	mode int64
}

// sha256 returns the hash of the contents.
func (e entry) sha256() string { return fmt.Sprintf("%x", sha256.Sum256(e.data)) }

// tree is the files of an archive by their paths, which have slashes.
type tree map[string]entry

// addFile adds a file of the disk. Of its mode only the execution counts: the rest is the umask's.
func (t tree) addFile(name, file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	mode := int64(0o644)
	if info.Mode()&0o100 != 0 {
		mode = 0o755
	}
	t[name] = entry{data, mode}
	return nil
}

// addFolder adds all files of a folder of the disk, below one of the tree.
func (t tree) addFolder(to, dir string) error {
	return filepath.WalkDir(dir, func(file string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if !e.Type().IsRegular() {
			return fmt.Errorf("%s is not a regular file", file)
		}
		name, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		return t.addFile(path.Join(to, filepath.ToSlash(name)), file)
	})
}

// split takes the files below a folder out of the tree and returns them.
func (t tree) split(folder string) tree {
	out := tree{}
	for name, e := range t {
		if strings.HasPrefix(name, folder) {
			out[name] = e
			delete(t, name)
		}
	}
	return out
}

// pack writes the tree as a compressed archive, all below the folder top. It depends
// on nothing but the files and the time.
func (t tree) pack(file, top string, modified time.Time) error {
	var out bytes.Buffer
	zip, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(zip)
	header := func(name string, mode, size int64, kind byte) error {
		return archive.WriteHeader(&tar.Header{Typeflag: kind, Name: name, Mode: mode, Size: size, ModTime: modified, Uname: "root", Gname: "root", Format: tar.FormatUSTAR})
	}
	folders := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(t)) {
		full := path.Join(top, name)
		for _, dir := range parents(full) {
			if !folders[dir] {
				folders[dir] = true
				if err := header(dir+"/", 0o755, 0, tar.TypeDir); err != nil {
					return err
				}
			}
		}
		if err := header(full, t[name].mode, int64(len(t[name].data)), tar.TypeReg); err != nil {
			return fmt.Errorf("%s: %w", full, err)
		}
		if _, err := archive.Write(t[name].data); err != nil {
			return err
		}
	}
	if err := archive.Close(); err != nil {
		return err
	}
	if err := zip.Close(); err != nil {
		return err
	}
	return os.WriteFile(file, out.Bytes(), 0o644)
}

// parents returns the folders that a path lies in, outermost first.
func parents(name string) []string {
	var dirs []string
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		dirs = append(dirs, dir)
	}
	slices.Reverse(dirs)
	return dirs
}
