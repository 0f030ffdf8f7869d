package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// archives are the files of a pack: plug-ins apart, so that each can be carried alone.
var archives = []string{"programs.tar.xz", "plugins.tar.xz"}

// dictionary spans the test binaries and the program, which share much.
const dictionary = "128MiB"

// isPlugin reports whether a file goes into the archive of plug-ins.
func isPlugin(path string) bool { return strings.HasPrefix(filepath.Base(path), "libggml-") }

// pack writes the archives of a folder.
func pack(ctx context.Context, from, dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	for i, name := range archives {
		if err := archive(ctx, from, filepath.Join(dir, name), func(path string) bool { return isPlugin(path) == (i == 1) }); err != nil {
			return err
		}
	}
	return nil
}

// archive compresses the files of a folder that are wanted; none are no archive.
func archive(ctx context.Context, from, to string, wanted func(string) bool) (err error) {
	paths, err := files(from, wanted)
	if err != nil {
		return err
	}
	if len(paths) == 0 {
		if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
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

// files lists the files of a folder in order, the large ones first: what they share is
// near.
func files(from string, wanted func(string) bool) ([]string, error) {
	var large, small []string
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !wanted(path) {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Size() > 4<<20 {
			large = append(large, path)
		} else {
			small = append(small, path)
		}
		return nil
	})
	return append(large, small...), err
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

// unpacked returns the folder of a pack's programs: that of this program, if they were
// unpacked there, else the one given.
func unpacked(ctx context.Context, python, to string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	dir := filepath.Dir(self)
	if _, err := os.Stat(filepath.Join(dir, "bin", "paligemma")); err == nil {
		return dir, nil
	}
	return to, unpack(ctx, python, dir, to)
}

// unpack unpacks the archives of a pack, with xz or Python's lzma, whichever is there.
func unpack(ctx context.Context, python, dir, to string) error {
	for i, name := range archives {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err != nil {
			if i > 0 && errors.Is(err, fs.ErrNotExist) {
				continue // built without plug-ins
			}
			return fmt.Errorf("%w: prepare writes it", err)
		}
		cmd := exec.CommandContext(ctx, "xz", "-dc", path)
		if _, err := exec.LookPath("xz"); err != nil {
			cmd = exec.CommandContext(ctx, python, "-c", "import lzma, shutil, sys; shutil.copyfileobj(lzma.open(sys.argv[1]), sys.stdout.buffer)", path)
		}
		if err := extract(cmd, to); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// extract unpacks what a command writes.
func extract(cmd *exec.Cmd, to string) error {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	err = readTar(out, to)
	if err != nil {
		cmd.Process.Kill()
	}
	if ended := cmd.Wait(); ended != nil && err == nil {
		err = ended
	}
	if err != nil && stderr.Len() > 0 {
		err = errors.New(lastOf(stderr.String(), err.Error()))
	}
	return err
}

func readTar(r io.Reader, to string) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !filepath.IsLocal(h.Name) || h.Typeflag != tar.TypeReg {
			return fmt.Errorf("%q is not a file that prepare packs", h.Name)
		}
		path := filepath.Join(to, h.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return err
		}
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, os.FileMode(h.Mode)&0o755)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, t)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
}

func folderSize(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			n += info.Size()
		}
		return err
	})
	return n, err
}
