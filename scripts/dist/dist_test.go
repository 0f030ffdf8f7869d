package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var commitTime = time.Unix(1_700_000_000, 0).UTC()

// TestPack packs the same files from two folders, made in another order, at other times
// and with other modes, and wants the same bytes.
func TestPack(t *testing.T) {
	var archives [][]byte
	for i, names := range [][]string{{"bin/paligemma", "share/man/man1/a.1", "LICENSE"}, {"LICENSE", "share/man/man1/a.1", "bin/paligemma"}} {
		dir := t.TempDir()
		for _, name := range names {
			file := filepath.Join(dir, name)
			mode := os.FileMode(0o644 - 0o044*i)
			if name == "bin/paligemma" {
				mode |= 0o100
			}
			if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755-os.FileMode(0o055*i)), os.WriteFile(file, []byte(name), mode),
				os.Chtimes(file, time.Now(), time.Unix(int64(i), 0))); err != nil {
				t.Fatal(err)
			}
		}
		files := tree{}
		out := filepath.Join(dir, "out.tar.gz")
		if err := errors.Join(files.addFolder("", dir), files.pack(out, "top", commitTime)); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		archives = append(archives, data)
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("the archives differ")
	}
	want := []string{"drwxr-xr-x top/", "-rw-r--r-- top/LICENSE", "drwxr-xr-x top/bin/", "-rwxr-xr-x top/bin/paligemma",
		"drwxr-xr-x top/share/", "drwxr-xr-x top/share/man/", "drwxr-xr-x top/share/man/man1/", "-rw-r--r-- top/share/man/man1/a.1"}
	if got := contents(t, archives[0]); !slices.Equal(got, want) {
		t.Errorf("the archive has %q, want %q", got, want)
	}
}

// contents returns the modes and names of an archive, whose entries are root's and of the commit's time.
func contents(t *testing.T, data []byte) (list []string) {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if !zip.ModTime.IsZero() || zip.Name != "" {
		t.Errorf("gzip has the time %v and the name %q", zip.ModTime, zip.Name)
	}
	for archive := tar.NewReader(zip); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		if !h.ModTime.Equal(commitTime) || h.Uid != 0 || h.Gid != 0 || h.Uname != "root" || h.Gname != "root" {
			t.Errorf("%s is of %v and belongs to %d:%d, %s:%s", h.Name, h.ModTime, h.Uid, h.Gid, h.Uname, h.Gname)
		}
		list = append(list, fmt.Sprint(h.FileInfo().Mode(), " ", h.Name))
	}
}

func TestAddFolderRefusesLinks(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := (tree{}).addFolder("", dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("%v", err)
	}
}

func TestSplit(t *testing.T) {
	files := tree{"lib/paligemma/libggml-vulkan.so": {mode: 0o755}, "bin/paligemma": {mode: 0o755}}
	if plugins := files.split("lib/"); len(plugins) != 1 || len(files) != 1 || files["bin/paligemma"].mode == 0 {
		t.Errorf("%v and %v", plugins, files)
	}
}

func TestClassify(t *testing.T) {
	mit := "Copyright\n\n" + mitText
	bsd := "Redistribution and use in source and binary\nforms, with or without modification"
	for _, test := range []struct{ name, text, want string }{
		{"MIT", mit, "MIT"},
		{"Apache", "   Apache License\n      Version 2.0, January 2004", "Apache-2.0"},
		{"Apache, short", "Licensed under the Apache License, Version 2.0 (the \"License\")", "Apache-2.0"},
		{"BSD of two clauses", bsd, "BSD-2-Clause"},
		{"BSD of three clauses", bsd + " … to endorse or\npromote products", "BSD-3-Clause"},
		{"several", bsd + mit, "BSD-2-Clause MIT"},
		{"another", "GNU GENERAL PUBLIC LICENSE", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := strings.Join(classify(test.text), " "); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

// TestDeclare refuses a component whose license is unknown.
func TestDeclare(t *testing.T) {
	c := component{name: "x", version: "1", texts: map[string][]byte{"LICENSE": []byte("all rights reserved")}}
	if err := c.declare(); err == nil || !strings.Contains(err.Error(), "x 1: no license") {
		t.Errorf("%v", err)
	}
	c.setText("COPYING", []byte(mitText))
	if err := c.declare(); err != nil || c.license != "MIT" {
		t.Errorf("%q, %v", c.license, err)
	}
}

func TestCrate(t *testing.T) {
	for _, test := range []struct {
		name, license string
		files         map[string]string
		want, wantErr string
	}{
		{"with a text", "MIT/Apache-2.0", map[string]string{"LICENSE-MIT": mitText}, "MIT OR Apache-2.0", ""},
		{"with a library in it", "MIT OR Apache-2.0", map[string]string{"LICENSE": mitText, "c/COPYING": "Redistribution and use in source and binary forms"}, "(MIT OR Apache-2.0) AND BSD-2-Clause", ""},
		{"MIT without a text", "MIT", nil, "MIT", ""},
		{"another without a text", "Zlib", nil, "", "comes without a text"},
		{"without a license", "", map[string]string{"LICENSE": mitText}, "", "names no license"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range test.files {
				file := filepath.Join(dir, name)
				if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
					t.Fatal(err)
				}
			}
			c, err := crate{Name: "x", Version: "1", License: test.license, Authors: []string{"A. Uthor"}, ManifestPath: filepath.Join(dir, "Cargo.toml")}.component("")
			if test.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), test.wantErr) {
					t.Fatalf("%v, want %q", err, test.wantErr)
				}
				return
			}
			if err != nil || c.license != test.want || len(c.texts) != max(1, len(test.files)) {
				t.Errorf("%q with %d texts, %v", c.license, len(c.texts), err)
			}
			if text := string(c.texts["LICENSE"]); test.files == nil && !strings.Contains(text, "A. Uthor") {
				t.Errorf("the text is %q", text)
			}
		})
	}
}

// TestLinkedCrates walks from the root over what is linked: macros, build scripts and
// tests stay out, with all that only they need.
func TestLinkedCrates(t *testing.T) {
	meta, err := parseMetadata(`{"packages": [
	{"id": "root", "name": "root"}, {"id": "a", "name": "a"}, {"id": "b", "name": "b"}, {"id": "tool", "name": "tool"},
	{"id": "macro", "name": "macro", "targets": [{"kind": ["proc-macro"]}]}, {"id": "syn", "name": "syn"}],
	"resolve": {"root": "root", "nodes": [
	{"id": "root", "deps": [{"pkg": "a", "dep_kinds": [{"kind": null}]}, {"pkg": "tool", "dep_kinds": [{"kind": "build"}, {"kind": "dev"}]}, {"pkg": "macro", "dep_kinds": [{"kind": null}]}]},
	{"id": "a", "deps": [{"pkg": "b", "dep_kinds": [{"kind": "dev"}, {"kind": null}]}, {"pkg": "a", "dep_kinds": [{"kind": null}]}]},
	{"id": "macro", "deps": [{"pkg": "syn", "dep_kinds": [{"kind": null}]}]}]}}`)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range meta.linked() {
		names = append(names, p.Name)
	}
	if !slices.Equal(names, []string{"a", "b"}) {
		t.Errorf("%q", names)
	}
}

func TestNewest(t *testing.T) {
	for _, test := range []struct {
		versions []string
		want     string
	}{
		{[]string{"GLIBC_2.2.5", "GLIBC_2.34", "GLIBC_2.9", ""}, "2.34"},
		{[]string{"GLIBC_2.2.5", "GLIBC_2.2", "GLIBC_PRIVATE", "GCC_3.0", "GLIBCXX_3.4.30"}, "2.2.5"},
		{nil, ""},
	} {
		if got := newest("GLIBC_", test.versions); got != test.want {
			t.Errorf("%q: %q, want %q", test.versions, got, test.want)
		}
	}
}

// TestBill holds each component to an identifier of its own and a relationship: one that
// two products have is listed once.
func TestBill(t *testing.T) {
	o := options{name: "paligemma-v1-linux-amd64", version: "v1", time: commitTime}
	shared := component{name: "a/b", version: "1", license: "MIT", purl: "pkg:golang/a/b@1"}
	other := component{name: "a-b", version: "2", sha256: "00", license: nvidiaTerms, terms: "all rights"}
	d := bill(o, []product{
		{component{name: "p.so", version: "v1"}, "LIBRARY", []component{shared, other}},
		{component{name: "q.so", version: "v1"}, "LIBRARY", []component{shared}},
	}, "Built with go")
	if d.Creation.Created != "2023-11-14T22:13:20Z" || len(d.Packages) != 4 || len(d.Relationships) != 5 {
		t.Fatalf("%+v", d)
	}
	ids := map[string]bool{"SPDXRef-DOCUMENT": true}
	for _, p := range d.Packages {
		ids[p.ID] = true
	}
	if len(ids) != 5 {
		t.Errorf("identifiers %v", ids)
	}
	for _, r := range d.Relationships {
		if !ids[r.Element] || !ids[r.Related] {
			t.Errorf("relationship %v names what is not there", r)
		}
	}
	if first, last := d.Relationships[1].Related, d.Relationships[4].Related; first != last {
		t.Errorf("a component of two products is %s and %s", first, last)
	}
	if want := []extracted{{nvidiaTerms, "NVIDIA's license of the CUDA toolkit", "all rights"}}; !slices.Equal(d.Extracted, want) {
		t.Errorf("%v, want %v", d.Extracted, want)
	}
}
