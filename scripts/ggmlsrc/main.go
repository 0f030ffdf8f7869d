// Command ggmlsrc brings ggml's sources to this machine: it lets cargo fetch
// the crate that third_party/ggml/Cargo.toml pins, finds the crate's folder,
// checks that every file of its ggml tree is the one that was pinned, and
// links the tree at the path given.
//
//	go run ./scripts/ggmlsrc LINK             fetch, verify, link
//	go run ./scripts/ggmlsrc -print-hash LINK print the tree's hash (to move the pin)
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	manifestDir = "third_party/ggml"
	crate       = "llama-cpp-sys-2"
	subtree     = "llama.cpp/ggml"
)

func main() {
	printHash := flag.Bool("print-hash", false, "print the SHA-256 of the fetched tree instead of checking it")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: ggmlsrc [-print-hash] LINK")
		os.Exit(2)
	}
	if err := run(flag.Arg(0), *printHash); err != nil {
		fmt.Fprintln(os.Stderr, "ggmlsrc:", err)
		os.Exit(1)
	}
}

func run(link string, printHash bool) error {
	work := filepath.Join(filepath.Dir(link), "ggml-fetch")
	if err := copyManifest(work); err != nil {
		return err
	}
	manifest := filepath.Join(work, "Cargo.toml")
	if _, err := cargo("fetch", "--quiet", "--manifest-path", manifest); err != nil {
		return err
	}
	dir, err := crateDir(manifest)
	if err != nil {
		return err
	}
	tree := filepath.Join(dir, filepath.FromSlash(subtree))
	sum, err := treeHash(tree)
	if err != nil {
		return fmt.Errorf("hash %s: %w", subtree, err)
	}
	if printHash {
		fmt.Println(sum)
		return nil
	}
	pin, err := os.ReadFile(filepath.Join(manifestDir, "tree.sha256"))
	if err != nil {
		return err
	}
	if want := strings.TrimSpace(string(pin)); sum != want {
		return fmt.Errorf("the fetched ggml tree has SHA-256 %s, %s/tree.sha256 pins %s", sum, manifestDir, want)
	}
	if err := os.RemoveAll(link); err != nil {
		return err
	}
	return os.Symlink(tree, link)
}

// copyManifest works on a copy, so that the lock file cargo writes (it spells
// out a registry's address) stays in the ignored build folder.
func copyManifest(work string) error {
	if err := os.MkdirAll(work, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"Cargo.toml", "lib.rs"} {
		data, err := os.ReadFile(filepath.Join(manifestDir, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(work, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func cargo(args ...string) ([]byte, error) {
	var stderr bytes.Buffer
	cmd := exec.Command("cargo", args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("cargo %s: %w\n%s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}

// crateDir asks cargo where the crate was unpacked.
func crateDir(manifest string) (string, error) {
	out, err := cargo("metadata", "--format-version", "1", "--manifest-path", manifest)
	if err != nil {
		return "", err
	}
	var meta struct {
		Packages []struct {
			Name         string `json:"name"`
			ManifestPath string `json:"manifest_path"`
		} `json:"packages"`
	}
	if err := json.Unmarshal(out, &meta); err != nil {
		return "", fmt.Errorf("cargo metadata: %w", err)
	}
	for _, p := range meta.Packages {
		if p.Name == crate {
			return filepath.Dir(p.ManifestPath), nil
		}
	}
	return "", fmt.Errorf("cargo metadata does not list %s", crate)
}

// treeHash is the SHA-256 over "SHA-256  path\n" of every regular file below
// dir, in the order of filepath.WalkDir (names sorted within each folder).
func treeHash(dir string) (string, error) {
	total := sha256.New()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		fmt.Fprintf(total, "%x  %s\n", h.Sum(nil), filepath.ToSlash(rel))
		return nil
	})
	return hex.EncodeToString(total.Sum(nil)), err
}
