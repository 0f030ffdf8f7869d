package main

import (
	"bytes"
	_ "embed"
	"text/template"
)

var (
	//go:embed texts/INSTALL.md
	installText string
	//go:embed texts/PLUGINS.md
	pluginsText string
)

// processors says what the binary asks of a processor, as the Makefile builds it.
var processors = map[string]string{
	"amd64": "x86-64 with AVX2, FMA, F16C and BMI2 (x86-64-v3): Intel since 2013 (Haswell), AMD since 2015 (Excavator); Intel's Atom, Pentium and Celeron later",
	"arm64": "64-bit Arm v8.2 with dot products (Neoverse N1, Cortex-A76 and later)",
}

// addDocuments adds the instructions, and the files of the repository that go with the binary.
func (t tree) addDocuments(o options, n needs) error {
	err := t.addText("INSTALL.md", installText, map[string]any{
		"Version": o.version, "Arch": o.arch, "Glibc": n.glibc, "GCC": n.gcc, "Processor": processors[o.arch], "Library": o.library,
	})
	if err != nil {
		return err
	}
	for _, name := range []string{"LICENSE", "NOTICE", "CHANGELOG.md"} {
		if err := t.addFile(name, name); err != nil {
			return err
		}
	}
	return t.addFolder("deploy", "deploy")
}

// addText adds a text in which values are filled in.
func (t tree) addText(name, text string, values any) error {
	parsed, err := template.New(name).Parse(text)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := parsed.Execute(&out, values); err != nil {
		return err
	}
	t[name] = entry{out.Bytes(), 0o644}
	return nil
}
