// Command cratetree brings foreign sources to this machine: it lets cargo fetch
// the crate that PIN/Cargo.toml pins, finds the folder of the crate that is wanted
// ([package.metadata.tree] there), checks that every file of it is the one
// that was pinned (PIN/tree.sha256), and links the folder at the path given.
//
//	go run ./scripts/cratetree PIN LINK             fetch, verify, link
//	go run ./scripts/cratetree -print-hash PIN LINK print the tree's hash (to move the pin)
//	go run ./scripts/cratetree -hash FOLDER...      print the hash of other folders
//
// PIN is third_party/ggml or third_party/vulkan.
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

func main() {
	printHash := flag.Bool("print-hash", false, "print the SHA-256 of the fetched tree instead of checking it")
	hash := flag.Bool("hash", false, "print the SHA-256 of folders; fetch nothing")
	flag.Parse()
	var err error
	switch {
	case *hash && flag.NArg() > 0:
		err = printTreeHash(flag.Args()...)
	case !*hash && flag.NArg() == 2:
		err = run(flag.Arg(0), flag.Arg(1), *printHash)
	default:
		fmt.Fprintln(os.Stderr, "usage: cratetree [-print-hash] PIN LINK | -hash FOLDER...")
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cratetree:", err)
		os.Exit(1)
	}
}

func run(pin, link string, printHash bool) error {
	work := link + "-fetch"
	if err := copyManifest(pin, work); err != nil {
		return err
	}
	manifest := filepath.Join(work, "Cargo.toml")
	if _, err := cargo("fetch", "--quiet", "--manifest-path", manifest); err != nil {
		return err
	}
	tree, err := treeDir(manifest)
	if err != nil {
		return err
	}
	if printHash {
		return printTreeHash(tree)
	}
	if err := verify(tree, filepath.Join(pin, "tree.sha256")); err != nil {
		return err
	}
	if err := os.RemoveAll(link); err != nil {
		return err
	}
	return os.Symlink(tree, link)
}

func printTreeHash(trees ...string) error {
	sum, err := treeHash(trees...)
	if err != nil {
		return err
	}
	fmt.Println(sum)
	return nil
}

// verify compares the hash of a tree with that in a file.
func verify(tree, pinned string) error {
	sum, err := treeHash(tree)
	if err != nil {
		return err
	}
	pin, err := os.ReadFile(pinned)
	if err != nil {
		return err
	}
	if want := strings.TrimSpace(string(pin)); sum != want {
		return fmt.Errorf("the fetched tree %s has SHA-256 %s, %s pins %s", tree, sum, pinned, want)
	}
	return nil
}

// copyManifest works on a copy, so that the lock file cargo writes (it spells
// out a registry's address) stays in the ignored build folder.
func copyManifest(pin, work string) error {
	if err := os.MkdirAll(work, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"Cargo.toml", "lib.rs"} {
		data, err := os.ReadFile(filepath.Join(pin, name))
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

// treeDir asks cargo where the pinned crate was unpacked, and which folder of it is wanted.
func treeDir(manifest string) (string, error) {
	out, err := cargo("metadata", "--format-version", "1", "--manifest-path", manifest)
	if err != nil {
		return "", err
	}
	var meta struct {
		Packages []struct {
			Name         string  `json:"name"`
			ManifestPath string  `json:"manifest_path"`
			Source       *string `json:"source"` // null: the pin itself
			Metadata     struct {
				Tree struct {
					Crate  string `json:"crate"`
					Folder string `json:"folder"`
				} `json:"tree"`
			} `json:"metadata"`
		} `json:"packages"`
	}
	if err := json.Unmarshal(out, &meta); err != nil {
		return "", fmt.Errorf("cargo metadata: %w", err)
	}
	crates := map[string]string{}
	var crate, folder string
	for _, p := range meta.Packages {
		crates[p.Name] = filepath.Dir(p.ManifestPath)
		if p.Source == nil {
			crate, folder = p.Metadata.Tree.Crate, p.Metadata.Tree.Folder
		}
	}
	if crates[crate] == "" {
		return "", fmt.Errorf("cargo metadata does not list %s", crate)
	}
	return filepath.Join(crates[crate], filepath.FromSlash(folder)), nil
}

// treeHash returns the SHA-256 over "SHA-256  path\n" of every regular file below
// the folders, in the order of filepath.WalkDir (names sorted within each folder).
func treeHash(dirs ...string) (string, error) {
	total := sha256.New()
	for _, dir := range dirs {
		if err := hashFiles(total, dir); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(total.Sum(nil)), nil
}

func hashFiles(total io.Writer, dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
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
}
