package main

import (
	"bytes"
	_ "embed"
	"text/template"
)

//go:embed texts/INSTALL.md
var installText string

// processors says what the binary asks of a processor, as the Makefile builds it.
var processors = map[string]string{
	"amd64": "x86-64 with AVX2, FMA, F16C and BMI2 (x86-64-v3): Intel since 2013 (Haswell), AMD since 2015 (Excavator); Intel's Atom, Pentium and Celeron later",
	"arm64": "64-bit Arm v8.2 with dot products (Neoverse N1, Cortex-A76 and later)",
}

// addDocuments adds the instructions, and the files of the repository that go with the binary.
func (t tree) addDocuments(o options, glibc string) error {
	text, err := template.New("INSTALL.md").Parse(installText)
	if err != nil {
		return err
	}
	var install bytes.Buffer
	err = text.Execute(&install, map[string]any{
		"Name": o.name, "Version": o.version, "Arch": o.arch, "Glibc": glibc, "Processor": processors[o.arch], "Library": o.library,
	})
	if err != nil {
		return err
	}
	t["INSTALL.md"] = entry{install.Bytes(), 0o644}
	for _, name := range []string{"LICENSE", "NOTICE", "CHANGELOG.md"} {
		if err := t.addFile(name, name); err != nil {
			return err
		}
	}
	return t.addFolder("deploy", "deploy")
}
