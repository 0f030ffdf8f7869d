package main

import (
	_ "embed"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed texts/MIT.txt
var mitText string

// component is a piece of foreign software that is linked into the binary.
type component struct {
	name     string
	version  string
	purl     string            // package URL
	download string            // where it comes from, or NOASSERTION
	sha256   string            // of the package, or empty
	license  string            // SPDX expression
	terms    string            // the text of a license that SPDX does not list: nvidiaTerms
	texts    map[string][]byte // licenses and notices by file name
}

// isLicense reports whether a file is called as those that hold licenses and notices are.
func isLicense(name string) bool {
	name = strings.ToUpper(name)
	if ext := path.Ext(name); slices.Contains([]string{".GO", ".RS", ".C", ".H", ".PY", ".CMAKE", ".TMPL"}, ext) {
		return false
	}
	return slices.ContainsFunc([]string{"LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE", "PATENTS"},
		func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// addTexts reads the licenses of one folder into a component, under their names below root.
func (c *component) addTexts(root, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || !isLicense(e.Name()) {
			continue
		}
		if err := c.addText(root, filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// addText reads one file into a component, under its name below root.
func (c *component) addText(root, file string) error {
	name, err := filepath.Rel(root, file)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	c.setText(filepath.ToSlash(name), data)
	return nil
}

func (c *component) setText(name string, data []byte) {
	if c.texts == nil {
		c.texts = map[string][]byte{}
	}
	c.texts[name] = data
}

// addAllTexts reads the licenses of a folder and of those below it.
func (c *component) addAllTexts(root string) error {
	return filepath.WalkDir(root, func(dir string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return err
		}
		return c.addTexts(root, dir)
	})
}

// classify returns the SPDX names of the licenses that a text has, sorted.
func classify(text string) []string {
	text = strings.Join(strings.Fields(text), " ")
	has := func(part string) bool { return strings.Contains(text, part) }
	var names []string
	if has("Apache License Version 2.0") || has("Apache License, Version 2.0") {
		names = append(names, "Apache-2.0")
	}
	if has("Redistribution and use in source and binary forms") {
		if has("endorse or promote products") {
			names = append(names, "BSD-3-Clause")
		} else {
			names = append(names, "BSD-2-Clause")
		}
	}
	if has("Permission is hereby granted, free of charge, to any person obtaining a copy of this software") {
		names = append(names, "MIT")
	}
	if has("UNICODE, INC. LICENSE AGREEMENT") {
		names = append(names, "Unicode-DFS-2016")
	}
	return names
}

// declare sets the license of a component from its texts: all that they have.
func (c *component) declare() error {
	var names []string
	for _, text := range c.texts {
		names = append(names, classify(string(text))...)
	}
	slices.Sort(names)
	c.license = strings.Join(slices.Compact(names), " AND ")
	if c.license == "" {
		return fmt.Errorf("%s %s: no license that this script knows in %d files: read them and extend classify", c.name, c.version, len(c.texts))
	}
	return nil
}

// addLicenses adds the texts of all components, each in a folder of its own.
func (t tree) addLicenses(components []component) {
	for _, c := range components {
		for name, text := range c.texts {
			t[path.Join("licenses", strings.ReplaceAll(c.name, "/", "_")+"-"+c.version, name)] = entry{text, 0o644}
		}
	}
}
