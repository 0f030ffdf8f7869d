package hub

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"paligemma/internal/atomicfile"
	"paligemma/internal/quote"
	"paligemma/internal/regular"
)

// The hub's cache, as huggingface_hub keeps it, has a folder for each repository
// (models--OWNER--NAME), with the commits of branches in refs, and a folder of links
// to blobs, which are named by their hashes, in snapshots for each commit. It is
// never written to.

// maxRef bounds what is read of a file in refs, which has a commit, in bytes.
const maxRef = 256

// repositoryDir returns the folder of a repository in the cache.
func (c *Client) repositoryDir(id string) string {
	return filepath.Join(c.Cache, "models--"+strings.ReplaceAll(id, "/", "--"))
}

// cachedFile returns where the cache has a file of a snapshot, "" where it has not.
func (c *Client) cachedFile(s *Snapshot, f File) string {
	if c.Cache == "" {
		return ""
	}
	path, err := filepath.EvalSymlinks(filepath.Join(c.repositoryDir(s.ID), "snapshots", s.Commit, f.Path))
	if err != nil {
		return ""
	}
	if path, err = filepath.Abs(path); err != nil {
		return ""
	}
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() || info.Size() != f.Size {
		return ""
	}
	return path
}

// cachedSnapshot lists what the cache has of a revision.
func (c *Client) cachedSnapshot(id, revision string) (*Snapshot, error) {
	absent := refused("HF_HUB_OFFLINE is set, and the hub's cache (%s) has no revision %s of %s", quote.Line(c.Cache, quote.Max), quote.Short(revision), id)
	if c.Cache == "" {
		return nil, absent
	}
	s := &Snapshot{ID: id, Revision: revision, Commit: revision, Cached: true}
	if !IsCommit(revision) {
		b, err := regular.ReadStart(filepath.Join(c.repositoryDir(id), "refs", filepath.FromSlash(revision)), maxRef)
		if s.Commit = strings.TrimSpace(string(b)); err != nil || !IsCommit(s.Commit) {
			return nil, absent
		}
	}
	dir := filepath.Join(c.repositoryDir(id), "snapshots", s.Commit)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, absent
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		info, err := os.Stat(path)
		if err != nil || !info.Mode().IsRegular() || len(s.Files) == maxFiles {
			continue
		}
		f := File{Path: e.Name(), Size: info.Size()}
		if target, err := os.Readlink(path); err == nil {
			switch name := filepath.Base(target); {
			case sha256Pattern.MatchString(name):
				f.SHA256 = name
			case sha1Pattern.MatchString(name):
				f.Blob = name
			}
		}
		s.Files = append(s.Files, f)
	}
	return s, nil
}

// copyFile copies a file, whole or not at all.
func copyFile(from, to string) error {
	in, err := regular.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := atomicfile.Create(to, true)
	if err != nil {
		return err
	}
	defer out.Abort()
	if _, err := io.Copy(out, in); err != nil {
		return fmt.Errorf("%s: %w", to, atomicfile.Cause(err))
	}
	return out.Commit()
}
