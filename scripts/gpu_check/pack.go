package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// dictionary spans all programs, which share much.
const dictionary = "128MiB"

// sharedFile is a file of the repository that programs contain: the pack has zeros in
// its place, and run copies it there from the repository.
const sharedFile = "internal/demo/demo.gguf"

// blanksFile names the places of sharedFile, in the pack.
const blanksFile = "blanks.json"

type blanks struct {
	SHA256 string           `json:"sha256"`
	Places map[string]int64 `json:"places"` // by program
}

// blank overwrites a file's contents in the programs of a folder with zeros, and notes
// where they were.
func blank(dir, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	noted := blanks{checksum(text), map[string]int64{}}
	paths, err := filesOf(dir)
	if err != nil {
		return err
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		place := bytes.Index(data, text)
		if place < 0 {
			continue
		}
		clear(data[place : place+len(text)])
		if err := os.WriteFile(path, data, 0o777); err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		noted.Places[name] = int64(place)
	}
	data, err := json.Marshal(noted)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, blanksFile), data, 0o666)
}

// restore undoes blank.
func restore(dir, file string) error {
	data, err := os.ReadFile(filepath.Join(dir, blanksFile))
	if err != nil {
		return fmt.Errorf("%w: unpack what prepare wrote, and start the gpu_check in it", err)
	}
	var noted blanks
	if err := json.Unmarshal(data, &noted); err != nil {
		return err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("%w: run it in the repository", err)
	}
	if checksum(text) != noted.SHA256 {
		return fmt.Errorf("%s is not the file that the programs were built with: prepare again", file)
	}
	for name, place := range noted.Places {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteAt(text, place)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

func checksum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// pack compresses a folder into one file.
func pack(ctx context.Context, from, to string) (err error) {
	paths, err := filesOf(from)
	if err != nil {
		return err
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	xz := exec.CommandContext(ctx, "xz", "-c", "--lzma2=preset=6,dict="+dictionary)
	xz.Stdout, xz.Stderr = out, os.Stderr
	in, err := xz.StdinPipe()
	if err != nil {
		return err
	}
	if err := xz.Start(); err != nil {
		return fmt.Errorf("%w: install xz", err)
	}
	err = writeTar(in, from, paths)
	return errors.Join(err, in.Close(), xz.Wait())
}

// filesOf lists the files of a folder, sorted.
func filesOf(dir string) (paths []string, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			paths = append(paths, path)
		}
		return err
	})
	return paths, err
}

func writeTar(w io.Writer, from string, paths []string) error {
	t := tar.NewWriter(w)
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		h := &tar.Header{Name: filepath.ToSlash(name), Mode: int64(info.Mode().Perm()), Size: info.Size()}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		_, err = io.Copy(t, f)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return t.Close()
}

// repositorySize returns the bytes of the repository's files: those that git tracks, and
// others that it does not ignore.
func repositorySize(ctx context.Context) (n int64, err error) {
	list, err := exec.CommandContext(ctx, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		return 0, fmt.Errorf("git ls-files: %w", err)
	}
	for name := range strings.SplitSeq(string(list), "\x00") {
		if info, err := os.Lstat(name); err == nil && info.Mode().IsRegular() {
			n += info.Size()
		}
	}
	return n, nil
}

func folderSize(dir string) (n int64, err error) {
	paths, err := filesOf(dir)
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return 0, err
		}
		n += info.Size()
	}
	return n, err
}
